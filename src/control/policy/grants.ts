/** The rules of one subject with every selector and name resolved: who, which ports, what. Entries and filters are made of these. */
import { type Direction, type NumericIdentity, Reserved } from "#core/model";
import type { KnownIdentity } from "./peers.ts";
import type { HttpRule, PortMatch, Rule, RuleRef, Statement } from "./rule.ts";

/** One order. */
export interface Grant {
  readonly direction: Direction;
  readonly kind: "allow" | "deny" | "http";
  readonly tier: "rules" | "implicit";
  readonly peers: "any" | ReadonlySet<NumericIdentity>;
  /** IP protocol number; 0 = any. */
  readonly protocol: number;
  /** First and last port (ICMP: type); 0 and 65535 = any. */
  readonly first: number;
  readonly last: number;
  readonly ref: RuleRef;
  /** With `http`: the requests that pass. */
  readonly http?: readonly HttpRule[];
}

/** A statement whose peers are resolved. */
export interface ResolvedStatement {
  readonly statement: Statement;
  readonly peers: "any" | readonly { readonly matches: ReadonlySet<NumericIdentity> }[];
}

/** A rule whose statements are resolved. */
export interface ResolvedRule {
  readonly rule: Rule;
  readonly statements: readonly ResolvedStatement[];
}

/** When a direction denies what no rule allows. `default`: when a rule says so. */
export type Enforcement = "default" | "always" | "never";

/** What resolving asks of its surroundings. */
export interface GrantContext {
  readonly enforcement: Enforcement;
  readonly subject: KnownIdentity;
  readonly identity: (id: NumericIdentity) => KnownIdentity | undefined;
  /** Everyone who names ports. */
  readonly named: () => Iterable<NumericIdentity>;
}

/** A direction's state and orders. */
export interface DirectionGrants {
  readonly enforced: boolean;
  readonly grants: readonly Grant[];
}

/** The host may always come in: kubelet's probes must not depend on policies. An explicit rule about the host outranks it. */
const allowLocalhost: RuleRef = { kind: "implicit", name: "allow-localhost-ingress", path: "" };
const host: ReadonlySet<NumericIdentity> = new Set([Reserved.host]);

/** Resolves what `rules`, all of which select the subject, say on one direction. */
export function resolveDirection(
  direction: Direction,
  rules: readonly ResolvedRule[],
  context: GrantContext,
): DirectionGrants {
  if (context.enforcement === "never") return { enforced: false, grants: [] };
  const isInit = context.subject.labels.get("init")?.some((label) => label.source === "reserved") ?? false;
  const defaultDeny =
    context.enforcement === "always" || isInit || rules.some(({ rule }) => rule.defaultDeny[direction]);
  const speaking = rules
    .flatMap(({ statements }) => statements)
    .filter(({ statement }) => statement.direction === direction);
  if (!defaultDeny && speaking.length === 0) return { enforced: false, grants: [] };

  const grants: Grant[] = [];
  for (const resolved of speaking) resolveStatement(resolved, defaultDeny, context, grants);
  const implicit = { direction, kind: "allow", tier: "implicit", protocol: 0, first: 0, last: 65535 } as const;
  if (!defaultDeny)
    grants.push({ ...implicit, peers: "any", ref: { kind: "implicit", name: `allow-any-${direction}`, path: "" } });
  if (direction === "ingress") grants.push({ ...implicit, peers: host, ref: allowLocalhost });
  return { enforced: true, grants };
}

function resolveStatement(
  resolved: ResolvedStatement,
  defaultDeny: boolean,
  context: GrantContext,
  out: Grant[],
): void {
  const { statement } = resolved;
  const { direction, ref } = statement;
  const peers = unite(resolved);
  if (peers !== "any" && peers.size === 0) return;
  const base = { direction, tier: "rules", ref } as const;
  if (statement.ports === "any") {
    out.push({ ...base, kind: statement.action, peers, protocol: 0, first: 0, last: 65535 });
    return;
  }
  for (const list of statement.ports) {
    const what = list.http === undefined ? { kind: statement.action } : { kind: "http" as const, http: list.http };
    for (const match of list.matches)
      for (const ports of resolvePorts(match, direction, peers, context)) {
        out.push({ ...base, ...what, ...ports });
        // Where nothing is denied by default, HTTP rules show requests, but hold none back.
        if (what.kind === "http" && !defaultDeny) out.push({ ...base, kind: "allow", ...ports });
      }
  }
}

function unite({ peers }: ResolvedStatement): "any" | ReadonlySet<NumericIdentity> {
  if (peers === "any") return "any";
  if (peers.length === 1) return peers[0]!.matches;
  const all = new Set<NumericIdentity>();
  for (const { matches } of peers) for (const id of matches) all.add(id);
  return all;
}

type Ports = Pick<Grant, "peers" | "protocol" | "first" | "last">;

function resolvePorts(match: PortMatch, direction: Direction, peers: Grant["peers"], context: GrantContext): Ports[] {
  switch (match.kind) {
    case "ports":
      return [{ peers, protocol: match.protocol, first: match.first, last: match.last }];
    case "protocol":
      return [{ peers, protocol: match.protocol, first: 0, last: 65535 }];
    case "icmp":
      return [{ peers, protocol: match.protocol, first: match.type, last: match.type }];
    case "named":
      return resolveName(match, direction, peers, context);
  }
}

/** On ingress the subject's own port; on egress the port that each peer gives the name. Who does not know the name is not meant. */
function resolveName(
  match: Extract<PortMatch, { kind: "named" }>,
  direction: Direction,
  peers: Grant["peers"],
  context: GrantContext,
): Ports[] {
  const portsOf = (known: KnownIdentity | undefined) =>
    (known?.namedPorts ?? [])
      .filter((port) => port.name === match.name && port.protocol === match.protocol)
      .map(({ port }) => port);
  const one = (port: number, who: Grant["peers"]): Ports => ({
    peers: who,
    protocol: match.protocol,
    first: port,
    last: port,
  });
  if (direction === "ingress") return portsOf(context.subject).map((port) => one(port, peers));
  const byPort = new Map<number, Set<NumericIdentity>>();
  for (const id of peers === "any" ? context.named() : peers)
    for (const port of portsOf(context.identity(id))) {
      const holders = byPort.get(port);
      if (holders === undefined) byPort.set(port, new Set([id]));
      else holders.add(id);
    }
  return [...byPort].sort(([a], [b]) => a - b).map(([port, holders]) => one(port, holders));
}
