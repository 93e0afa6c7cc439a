/** The rules of one subject with every selector and name resolved: who, which ports, what. Entries and filters are made of these. */
import { type Direction, type NumericIdentity, Reserved } from "#core/model";
import { findConflicts, type MergeConflict } from "./merge.ts";
import type { KnownIdentity } from "./peers.ts";
import { levels } from "./policy-set.ts";
import type { Authentication, PortList, PortMatch, Rule, RuleRef, Statement } from "./rule.ts";

/** One order, wherever it stands. */
export interface Order {
  readonly direction: Direction;
  /** `default-deny`: where tier Admin passes on what nobody allows, this must be said, as wider orders stand below. */
  readonly kind: "allow" | "deny" | "l7" | "pass" | "default-deny";
  readonly peers: "any" | ReadonlySet<NumericIdentity>;
  /** IP protocol number; 0 = any. */
  readonly protocol: number;
  /** First and last port (ICMP: type); 0 and 65535 = any. */
  readonly first: number;
  readonly last: number;
  /** Absent: no rule ordered it. */
  readonly ref?: RuleRef;
  /** With `l7`: what passes on which kind of connection. */
  readonly l7?: PortList["l7"];
  readonly tls?: PortList["tls"];
  readonly listener?: PortList["listener"];
  readonly authentication?: Authentication;
}

/** One order in its place: of those that match, the ones of the smallest level count. */
export interface Grant extends Order {
  readonly kind: Exclude<Order["kind"], "pass">;
  /** 24 bits. */
  readonly level: number;
}

/** A statement whose peers are resolved. */
export interface ResolvedStatement {
  readonly statement: Statement;
  readonly peers: "any" | readonly { readonly key: string; readonly matches: ReadonlySet<NumericIdentity> }[];
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
  readonly conflicts: readonly MergeConflict[];
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
  if (context.enforcement === "never") return { enforced: false, grants: [], conflicts: [] };
  const isInit = context.subject.labels.get("init")?.some((label) => label.source === "reserved") ?? false;
  // Where a policy of everyone denies what it does not allow, nothing is left for tier Baseline.
  const closed = rules.some(({ rule }) => rule.defaultDeny[direction]);
  const defaultDeny = closed || context.enforcement === "always" || isInit;
  const speaking = rules
    .flatMap(({ statements }) => statements)
    .filter(({ statement }) => statement.direction === direction);
  if (!defaultDeny && speaking.length === 0) return { enforced: false, grants: [], conflicts: [] };

  const conflicts = findConflicts(speaking);
  const admin = new Map<number, Order[]>();
  const normal: Order[] = [];
  const baseline = new Map<number, Order[]>();
  for (const resolved of speaking) {
    const { standing } = resolved.statement;
    if (standing === undefined) resolveStatement(resolved, defaultDeny, context, normal, conflicts);
    else if (standing.tier === "admin")
      resolveStatement(resolved, defaultDeny, context, layerOf(admin, standing.order));
    else if (!closed) resolveStatement(resolved, defaultDeny, context, layerOf(baseline, standing.order));
  }
  const everything = { direction, peers: "any", protocol: 0, first: 0, last: 65535 } as const;
  const closing: Order = defaultDeny
    ? { ...everything, kind: "default-deny" }
    : { ...everything, kind: "allow", ref: { kind: "implicit", name: `allow-any-${direction}`, path: "" } };
  const fromHost: Order[] =
    direction === "ingress" ? [{ ...everything, kind: "allow", peers: host, ref: allowLocalhost }] : [];
  const below = [fromHost, ...stack(inOrder(baseline), [[closing]])].filter((layer) => layer.length > 0);
  const above = stack(inOrder(admin), [normal, ...below, [closing]]);
  const grants = [
    ...placed(above, levels.rules - above.length),
    ...placed([normal], levels.rules),
    ...placed(below, levels.implicit - below.length),
    // What is found nowhere is denied anyway.
    ...(defaultDeny ? [] : placed([[closing]], levels.implicit)),
  ];
  return { enforced: true, grants, conflicts: [...conflicts.values()] };
}

function layerOf(tier: Map<number, Order[]>, order: number): Order[] {
  const known = tier.get(order);
  if (known !== undefined) return known;
  const layer: Order[] = [];
  tier.set(order, layer);
  return layer;
}

function inOrder(tier: ReadonlyMap<number, Order[]>): Order[][] {
  return [...tier].sort(([a], [b]) => a - b).map(([, layer]) => layer);
}

function placed(layers: readonly (readonly Order[])[], level: number): Grant[] {
  return layers.flatMap((layer, i) =>
    layer.map((order): Grant => {
      if (order.kind === "pass") throw new Error("a pass has no place of its own");
      return { ...order, kind: order.kind, level: level + i };
    }),
  );
}

/**
 * The layers of a tier without its passes: right behind a layer that passes something on stands a copy of all that follows the
 * tier, cut to what is passed. The kernel then needs to know of levels only. What nothing else in the tier speaks of reaches
 * the next one by itself and is not copied.
 */
function stack(tier: readonly (readonly Order[])[], next: readonly (readonly Order[])[]): Order[][] {
  const out: Order[][] = [];
  for (const [i, layer] of tier.entries()) {
    out.push(layer.filter((order) => order.kind !== "pass"));
    const later = tier.slice(i + 1).flatMap((orders) => orders.filter((order) => order.kind !== "pass"));
    const passed = layer
      .filter((order) => order.kind === "pass")
      .map((order) => ({ ...order, peers: spokenOf(order, later) }))
      .filter(({ peers }) => peers === "any" || peers.size > 0);
    if (passed.length > 0)
      for (const orders of next) out.push(passed.flatMap((area) => orders.flatMap((order) => cut(order, area))));
  }
  return out.filter((layer) => layer.length > 0);
}

/** The peers of a pass about which one of the orders says something, on ports that are passed. */
function spokenOf(pass: Order, orders: readonly Order[]): Order["peers"] {
  const out = new Set<NumericIdentity>();
  for (const order of orders) {
    const [common] = cut(order, pass);
    if (common === undefined) continue;
    if (common.peers === "any") return "any";
    for (const id of common.peers) out.add(id);
  }
  return out;
}

/** The order where it lies within the area; nothing if they have nothing in common. */
function cut(order: Order, area: Order): readonly Order[] {
  if (order.protocol !== 0 && area.protocol !== 0 && order.protocol !== area.protocol) return [];
  const first = Math.max(order.first, area.first);
  const last = Math.min(order.last, area.last);
  const peers = intersect(order.peers, area.peers);
  if (first > last || (peers !== "any" && peers.size === 0)) return [];
  return [{ ...order, peers, protocol: order.protocol || area.protocol, first, last }];
}

function intersect(a: Order["peers"], b: Order["peers"]): Order["peers"] {
  if (a === "any") return b;
  if (b === "any") return a;
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  return new Set([...small].filter((id) => large.has(id)));
}

function resolveStatement(
  resolved: ResolvedStatement,
  defaultDeny: boolean,
  context: GrantContext,
  out: Order[],
  conflicts: ReturnType<typeof findConflicts> = noConflicts,
): void {
  const { statement } = resolved;
  const { direction, ref, authentication } = statement;
  if (conflicts.has(statement)) return;
  const peers = unite(resolved);
  if (peers !== "any" && peers.size === 0) return;
  const base = { direction, ref, ...(authentication === undefined ? {} : { authentication }) } as const;
  if (statement.ports === "any") {
    out.push({ ...base, kind: statement.action, peers, protocol: 0, first: 0, last: 65535 });
    return;
  }
  for (const list of statement.ports) {
    if (conflicts.has(list)) continue;
    const { l7, tls, listener } = list;
    const isPlain = l7 === undefined && tls === undefined && listener === undefined;
    const what = isPlain ? { kind: statement.action } : { kind: "l7" as const, l7, tls, listener };
    for (const match of list.matches)
      for (const ports of resolvePorts(match, direction, peers, context)) {
        out.push({ ...base, ...what, ...ports });
        // Where nothing is denied by default, L7 rules show requests, but hold none back.
        if (what.kind === "l7" && !defaultDeny) out.push({ ...base, kind: "allow", ...ports });
      }
  }
}

const noConflicts: ReturnType<typeof findConflicts> = new Map();

function unite({ peers }: ResolvedStatement): "any" | ReadonlySet<NumericIdentity> {
  if (peers === "any") return "any";
  if (peers.length === 1) return peers[0]!.matches;
  const all = new Set<NumericIdentity>();
  for (const { matches } of peers) for (const id of matches) all.add(id);
  return all;
}

type Ports = Pick<Order, "peers" | "protocol" | "first" | "last">;

function resolvePorts(match: PortMatch, direction: Direction, peers: Order["peers"], context: GrantContext): Ports[] {
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
  peers: Order["peers"],
  context: GrantContext,
): Ports[] {
  const portsOf = (known: KnownIdentity | undefined) =>
    (known?.namedPorts ?? [])
      .filter((port) => port.name === match.name && port.protocol === match.protocol)
      .map(({ port }) => port);
  const one = (port: number, who: Order["peers"]): Ports => ({
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
