/** A flow against the statements of rules, one by one: which match, and what keeps the others from matching. */
import { type Direction, formatPrefix, type Identity, type NumericIdentity, protocolName } from "#core/model";
import { formatPortMatch } from "./describe.ts";
import type { PolicyEngine } from "./engine.ts";
import { describeIdentity } from "./naming.ts";
import { isPeer, type KnownIdentity, knowIdentity, showDnsMatch } from "./peers.ts";
import type { Peer, PortMatch, RuleRef, Statement } from "./rule.ts";
import { describeFound, formatRequirement, meets, type Selector } from "./selector.ts";

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
  /** The HTTP request that the connection is for: a remedy then allows no other. */
  readonly request?: { readonly method: string; readonly target: string };
}

/** A field of a rule that a flow failed to match. */
export interface Mismatch {
  /** Field path in the object. */
  readonly path: string;
  readonly expected: string;
  readonly found: string;
}

/** What one statement says of a flow. */
export interface ComparedStatement {
  readonly ref: RuleRef;
  readonly action: Statement["action"];
  /** Whether it lists requests for the port: then it speaks of these alone. */
  readonly l7: boolean;
  /** What keeps it from matching; empty: it matches. */
  readonly mismatches: readonly Mismatch[];
  /** How far it is from matching; infinite if it names no peer or no port at all. */
  readonly distance: number;
}

/** The rule that came nearest to allowing a flow. */
export interface NearestStatement {
  readonly ref: RuleRef;
  /** What kept it from matching; at least one. */
  readonly mismatches: readonly Mismatch[];
}

/** Compares a flow with every statement on its direction of the rules that select its subject, in the engine's order. */
export function compareStatements(engine: PolicyEngine, flow: ExplainedFlow): ComparedStatement[] {
  const known = (id: NumericIdentity) => knowIdentity(engine.identity(id) ?? { id, labels: [] });
  const subject = known(flow.subject);
  const peer = known(flow.peer);
  return engine
    .rulesFor(flow.subject)
    .flatMap((rule) => rule.statements)
    .filter((statement) => statement.direction === flow.direction)
    .map((statement) => compareStatement(statement, flow, subject, peer, engine.options.clusterName));
}

/** The requirements of a selector that an identity does not meet; empty: it is selected. `path` is where the selector stands. */
export function compareSelector(selector: Selector, identity: Identity, path = ""): Mismatch[] {
  return unmet(selector, knowIdentity(identity), path);
}

/** Whether one of the statement's peers stands for the identity. */
export function meansPeer(statement: Statement, identity: Identity, clusterName: string): boolean {
  if (statement.peers === "any") return true;
  const known = knowIdentity(identity);
  return statement.peers.some((peer) => isPeer(peer, known, clusterName));
}

/** The allow that is nearest to matching; those that match are no answer to why a flow is denied. */
export function nearestStatement(compared: readonly ComparedStatement[]): NearestStatement | undefined {
  let best: ComparedStatement | undefined;
  for (const one of compared) {
    if (one.action !== "allow" || one.distance === 0 || one.distance === Number.POSITIVE_INFINITY) continue;
    if (best === undefined || one.distance < best.distance) best = one;
  }
  return best && { ref: best.ref, mismatches: best.mismatches };
}

function compareStatement(
  { action, peers, ports, ref }: Statement,
  flow: ExplainedFlow,
  subject: KnownIdentity,
  peer: KnownIdentity,
  clusterName: string,
): ComparedStatement {
  const toPeer = peers === "any" ? matches : shortest(peers.map((one) => distanceToPeer(one, peer, clusterName)));
  const lists =
    ports === "any"
      ? undefined
      : ports.flatMap(({ matches: listed, l7, tls }) => listed.map((match) => ({ match, judged: l7 ?? tls })));
  const toPort =
    lists === undefined ? matches : shortest(lists.map(({ match }) => distanceToPort(match, flow, subject, peer)));
  const speaking = lists?.filter(({ match }) => distanceToPort(match, flow, subject, peer).cost === 0) ?? [];
  const l7 = speaking.length > 0 && speaking.every((one) => one.judged !== undefined);
  // Without a single peer or port there is nothing to come near to.
  const distance = (toPeer?.cost ?? Number.POSITIVE_INFINITY) + (toPort?.cost ?? Number.POSITIVE_INFINITY);
  const missing = (what: string, found: string): Mismatch[] => [
    { path: ref.path, expected: `no ${what} at all`, found },
  ];
  return {
    ref,
    action,
    l7,
    mismatches: [
      ...(toPeer?.mismatches ?? missing("peer", describeIdentity(peer.identity))),
      ...(toPort?.mismatches ?? missing("port", formatTransport(flow))),
    ],
    distance,
  };
}

/** How far a part of a statement is from matching; 0 and no mismatches: it matches. */
interface Distance {
  readonly cost: number;
  readonly mismatches: readonly Mismatch[];
}

const matches: Distance = { cost: 0, mismatches: [] };

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
      const mismatches = unmet(peer.selector, known, peer.path);
      return { cost: mismatches.length, mismatches };
    }
    case "entity":
      return { cost: 1, mismatches: [{ path: peer.path, expected: `entity ${peer.entity}`, found }] };
    case "cidr": {
      const except = peer.except.map((prefix) => ` except ${formatPrefix(prefix)}`).join("");
      return { cost: 1, mismatches: [{ path: peer.path, expected: `${formatPrefix(peer.prefix)}${except}`, found }] };
    }
    case "fqdn": {
      const expected = `an address of ${showDnsMatch(peer.name)}`;
      return { cost: 1, mismatches: [{ path: peer.path, expected, found }] };
    }
  }
}

function unmet(selector: Selector, known: KnownIdentity, path: string): Mismatch[] {
  return selector.requirements
    .filter((requirement) => !meets(requirement, known.labels))
    .map((requirement) => ({
      path: requirement.path ?? path,
      expected: formatRequirement(requirement),
      found: describeFound(requirement, known.labels),
    }));
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
