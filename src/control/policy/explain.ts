/** Why a flow was judged as it was: the rules that decided, or the rule that came nearest and what would allow it. */
import {
  type Direction,
  formatPrefix,
  type Identity,
  type NumericIdentity,
  protocolName,
  protocolNumbers,
  reservedName,
} from "#core/model";
import { type Decision, decide } from "./decide.ts";
import { formatPortMatch } from "./describe.ts";
import type { PolicyEngine } from "./engine.ts";
import { unenforcedPolicy } from "./engine.ts";
import { clusterKey, namespaceKey } from "./parse-peers.ts";
import { isPeer, type KnownIdentity, knowIdentity } from "./peers.ts";
import type { Peer, PortMatch, RuleRef, Statement } from "./rule.ts";
import { describeFound, formatRequirement, meets } from "./selector.ts";
import { formatYaml } from "./yaml.ts";

/** What is asked about: one direction of a connection, as its subject sees it. */
export interface ExplainedFlow {
  readonly subject: NumericIdentity;
  readonly direction: Direction;
  readonly peer: NumericIdentity;
  readonly protocol: number;
  /** Destination port; ICMP: type. */
  readonly port: number;
  /** The peer's address, for a remedy that names it where the peer is the world. */
  readonly peerAddress?: string;
}

/** A field of a rule that a flow failed to match. */
export interface Mismatch {
  /** Field path in the object. */
  readonly path: string;
  readonly expected: string;
  readonly found: string;
}

/** The rule that came nearest to allowing a flow. */
export interface NearestStatement {
  readonly ref: RuleRef;
  /** What kept it from matching; at least one. */
  readonly mismatches: readonly Mismatch[];
}

/** The smallest policy that would allow a flow. */
export interface Remedy {
  /** A CiliumNetworkPolicy, or a clusterwide one where the subject has no namespace. */
  readonly object: object;
  readonly yaml: string;
}

/** The answer. */
export type Explanation =
  /** No rule selects the subject in this direction. */
  | { readonly kind: "unenforced"; readonly decision: Decision }
  /** Rules decided: those in `refs`. */
  | { readonly kind: "decided"; readonly decision: Decision; readonly refs: readonly RuleRef[] }
  /** No rule allows the flow, and rules demand that there be one: those in `enforcedBy`. */
  | {
      readonly kind: "default-deny";
      readonly decision: Decision;
      readonly enforcedBy: readonly RuleRef[];
      readonly nearest?: NearestStatement;
      readonly remedy: Remedy;
    };

/** Explains a flow by the policy in force (as of the last `flush`). Subject and peer should be known identities. */
export function explainFlow(engine: PolicyEngine, flow: ExplainedFlow): Explanation {
  const set = engine.policyOf(flow.subject) ?? unenforcedPolicy;
  const decision = decide(set, flow.direction, flow.peer, flow.protocol, flow.port);
  if (decision.entry?.unenforced) return { kind: "unenforced", decision };
  if (decision.entry !== undefined && decision.entry.cookie !== 0)
    return { kind: "decided", decision, refs: set.provenance[decision.entry.cookie] ?? [] };

  const known = (id: NumericIdentity) => knowIdentity(engine.identity(id) ?? { id, labels: [] });
  const subject = known(flow.subject);
  const peer = known(flow.peer);
  const rules = engine.rulesFor(flow.subject);
  const enforcedBy = rules
    .filter((rule) => rule.defaultDeny[flow.direction])
    .map((rule): RuleRef => {
      const { kind, name, namespace, path } = rule;
      return { kind, name, path, ...(namespace === undefined ? {} : { namespace }) };
    });
  const nearest = findNearest(
    rules.flatMap((rule) => rule.statements),
    flow,
    subject,
    peer,
    engine.options.clusterName,
  );
  const remedy = smallestPolicy(flow, subject.identity, peer.identity, engine.options.clusterName);
  return { kind: "default-deny", decision, enforcedBy, ...(nearest === undefined ? {} : { nearest }), remedy };
}

/** How far a part of a statement is from matching; 0 and no mismatches: it matches. */
interface Distance {
  readonly cost: number;
  readonly mismatches: readonly Mismatch[];
}

const matches: Distance = { cost: 0, mismatches: [] };

function findNearest(
  statements: readonly Statement[],
  flow: ExplainedFlow,
  subject: KnownIdentity,
  peer: KnownIdentity,
  clusterName: string,
): NearestStatement | undefined {
  let best: (NearestStatement & { readonly cost: number }) | undefined;
  for (const { direction, action, peers, ports, ref } of statements) {
    if (direction !== flow.direction || action !== "allow") continue;
    const toPeer = peers === "any" ? matches : shortest(peers.map((one) => distanceToPeer(one, peer, clusterName)));
    const listed = ports === "any" ? undefined : ports.flatMap((list) => list.matches);
    const toPort =
      listed === undefined ? matches : shortest(listed.map((one) => distanceToPort(one, flow, subject, peer)));
    // Without a single peer or port there is nothing to come near to.
    if (toPeer === undefined || toPort === undefined) continue;
    const cost = toPeer.cost + toPort.cost;
    if (cost > 0 && (best === undefined || cost < best.cost))
      best = { ref, cost, mismatches: [...toPeer.mismatches, ...toPort.mismatches] };
  }
  return best && { ref: best.ref, mismatches: best.mismatches };
}

function shortest(distances: readonly Distance[]): Distance | undefined {
  return distances.reduce<Distance | undefined>(
    (best, one) => (best === undefined || one.cost < best.cost ? one : best),
    undefined,
  );
}

function distanceToPeer(peer: Peer, known: KnownIdentity, clusterName: string): Distance {
  if (isPeer(peer, known, clusterName)) return matches;
  const found = describeIdentity(known.identity);
  switch (peer.kind) {
    case "labels": {
      const failed = peer.selector.requirements.filter((requirement) => !meets(requirement, known.labels));
      return {
        cost: failed.length,
        mismatches: failed.map((requirement) => ({
          path: requirement.path ?? peer.path,
          expected: formatRequirement(requirement),
          found: describeFound(requirement, known.labels),
        })),
      };
    }
    case "entity":
      return { cost: 1, mismatches: [{ path: peer.path, expected: `entity ${peer.entity}`, found }] };
    case "cidr": {
      const except = peer.except.map((prefix) => ` except ${formatPrefix(prefix)}`).join("");
      return { cost: 1, mismatches: [{ path: peer.path, expected: `${formatPrefix(peer.prefix)}${except}`, found }] };
    }
  }
}

function distanceToPort(match: PortMatch, flow: ExplainedFlow, subject: KnownIdentity, peer: KnownIdentity): Distance {
  const mismatch = { path: match.path, expected: formatPortMatch(match), found: formatTransport(flow) };
  // A wrong port of the right protocol is nearer than a wrong protocol.
  if (match.protocol !== flow.protocol) return { cost: 2, mismatches: [mismatch] };
  return coversPort(match, flow, subject, peer) ? matches : { cost: 1, mismatches: [mismatch] };
}

function coversPort(match: PortMatch, flow: ExplainedFlow, subject: KnownIdentity, peer: KnownIdentity): boolean {
  switch (match.kind) {
    case "protocol":
      return true;
    case "ports":
      return flow.port >= match.first && flow.port <= match.last;
    case "icmp":
      return flow.port === match.type;
    case "named": {
      const owner = flow.direction === "ingress" ? subject : peer;
      const named = owner.namedPorts.filter((port) => port.name === match.name && port.protocol === match.protocol);
      return named.some((port) => port.port === flow.port);
    }
  }
}

/** `tcp/80`, `icmp/8`. */
export function formatTransport({ protocol, port }: Pick<ExplainedFlow, "protocol" | "port">): string {
  return `${protocolName(protocol).toLowerCase()}/${port}`;
}

/** An identity for people: a reserved name, a prefix, or its telling labels with the namespace. */
export function describeIdentity(identity: Identity): string {
  const reserved = reservedName(identity.id);
  if (reserved !== undefined && identity.id !== 0) return reserved;
  if (identity.prefix !== undefined) return identity.prefix;
  const labels = Object.entries(tellingLabels(identity)).map(([key, value]) => `${key}=${value}`);
  const namespace = k8sLabel(identity, namespaceKey);
  return `${labels.join(",") || `identity ${identity.id}`}${namespace === undefined ? "" : ` in namespace ${namespace}`}`;
}

function k8sLabel(identity: Identity, key: string): string | undefined {
  return identity.labels.find((label) => label.source === "k8s" && label.key === key)?.value;
}

const naming = ["app", "app.kubernetes.io/name", "k8s-app", "name", "io.cilium.k8s.policy.serviceaccount"];

/** The labels by which people would select an identity: a name, or all that are not technical. */
function tellingLabels(identity: Identity): Record<string, string> {
  for (const key of naming) {
    const value = k8sLabel(identity, key);
    if (value !== undefined) return { [key]: value };
  }
  const own = identity.labels.filter(
    (label) => label.source === "k8s" && label.key !== namespaceKey && !label.key.startsWith("io.cilium."),
  );
  return Object.fromEntries(own.map((label) => [label.key, label.value]));
}

/** A policy with one item that allows exactly this flow. */
function smallestPolicy(flow: ExplainedFlow, subject: Identity, peer: Identity, clusterName: string): Remedy {
  const namespace = k8sLabel(subject, namespaceKey);
  const side = flow.direction === "ingress" ? "from" : "to";
  const item = { ...peerFields(side, flow, peer, namespace, clusterName), ...portFields(flow) };
  const name = `allow-${[side, describeIdentity(peer)]
    .join("-")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")}`.slice(0, 60);
  const object = {
    apiVersion: "cilium.io/v2",
    kind: namespace === undefined ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    metadata: { name: name.replace(/-+$/, ""), ...(namespace === undefined ? {} : { namespace }) },
    spec: { endpointSelector: { matchLabels: tellingLabels(subject) }, [flow.direction]: [item] },
  };
  return { object, yaml: formatYaml(object) };
}

function peerFields(
  side: "from" | "to",
  flow: ExplainedFlow,
  peer: Identity,
  namespace: string | undefined,
  clusterName: string,
): object {
  const reserved = reservedName(peer.id);
  const isWorld = reserved === "world" || reserved === "world-ipv4" || reserved === "world-ipv6";
  if (isWorld && flow.peerAddress !== undefined)
    return { [`${side}CIDR`]: [`${flow.peerAddress}/${flow.peerAddress.includes(":") ? 128 : 32}`] };
  if (isWorld) return { [`${side}Entities`]: ["world"] };
  if (reserved !== undefined && reserved !== "unknown") return { [`${side}Entities`]: [reserved] };
  if (peer.prefix !== undefined) return { [`${side}CIDR`]: [peer.prefix] };
  const theirs = k8sLabel(peer, namespaceKey);
  const foreign = theirs !== undefined && theirs !== namespace ? { [`k8s:${namespaceKey}`]: theirs } : {};
  const cluster = k8sLabel(peer, clusterKey);
  const elsewhere = cluster !== undefined && cluster !== clusterName ? { [`k8s:${clusterKey}`]: cluster } : {};
  return { [`${side}Endpoints`]: [{ matchLabels: { ...tellingLabels(peer), ...foreign, ...elsewhere } }] };
}

function portFields({ protocol, port }: ExplainedFlow): object {
  if (protocol === protocolNumbers.ICMP || protocol === protocolNumbers.ICMPV6)
    return { icmps: [{ fields: [{ family: protocol === protocolNumbers.ICMP ? "IPv4" : "IPv6", type: port }] }] };
  return { toPorts: [{ ports: [{ port: String(port), protocol: protocolName(protocol) }] }] };
}

/** A rule's place for people: `CiliumNetworkPolicy default/web spec.ingress[0]`. */
export function formatRuleRef(ref: RuleRef): string {
  const name = ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`;
  const kind = ref.kind === "implicit" ? "implicit rule" : ref.kind;
  return [kind, name, ref.path].filter((part) => part !== "").join(" ");
}

/** An explanation for people; one thought a line, without the remedy's YAML. */
export function formatExplanation(explanation: Explanation): string[] {
  switch (explanation.kind) {
    case "unenforced":
      return ["allowed: no policy selects the endpoint in this direction"];
    case "decided": {
      const { decision, refs } = explanation;
      const verbs = {
        FORWARDED: "allowed by",
        REDIRECTED: "sent to the proxy by",
        AUDIT: "audited: would be denied by",
        DROPPED: "denied by",
      };
      const verb = verbs[decision.verdict as keyof typeof verbs] ?? `${decision.verdict} by`;
      return refs.map((ref) => `${verb} ${formatRuleRef(ref)}`);
    }
    case "default-deny": {
      const { decision, enforcedBy, nearest } = explanation;
      const out = [`${decision.verdict === "AUDIT" ? "audited" : "denied"}: no rule allows it`];
      if (enforcedBy.length > 0) out.push(`default deny because of ${enforcedBy.map(formatRuleRef).join(", ")}`);
      if (nearest !== undefined) {
        out.push(`nearest: ${formatRuleRef(nearest.ref)}`);
        for (const { path, expected, found } of nearest.mismatches)
          out.push(`${path}: expected ${expected}, found ${found}`);
      }
      return out;
    }
  }
}
