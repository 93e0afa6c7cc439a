/** Which ports to ask about: the fewest that stand for all, since no rule tells two ports of one class apart. */
import { meansPeer, type Statement } from "#control/policy";
import { type NumericIdentity, protocolName, protocolNumbers } from "#core/model";
import type { World } from "./world.ts";

/** Ports of a protocol that every rule treats alike. */
export interface PortClass {
  readonly protocol: number;
  /** Of ICMP: types. */
  readonly first: number;
  readonly last: number;
  /** Stands for all ports of the protocol that nobody names; then `first` is one of them. */
  readonly others: boolean;
}

interface Span {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

/** `5432/TCP`, `8000-8999/UDP`, `other TCP`, `ICMP 8`. */
export function formatPortClass({ protocol, first, last, others }: PortClass): string {
  const name = protocolName(protocol);
  if (others) return `other ${name}`;
  if (isIcmp(protocol)) return `${name} ${first}`;
  return `${first === last ? first : `${first}-${last}`}/${name}`;
}

const isIcmp = (protocol: number) => protocol === protocolNumbers.ICMP || protocol === protocolNumbers.ICMPV6;

/** Classes of ports over all rules and workloads of the worlds: TCP and UDP always, other protocols where a rule names them. */
export function classifyPorts(worlds: readonly World[]): PortClass[] {
  const byProtocol = new Map<number, Span[]>([
    [protocolNumbers.TCP, []],
    [protocolNumbers.UDP, []],
  ]);
  const add = (span: Span) => {
    const spans = byProtocol.get(span.protocol);
    if (spans === undefined) byProtocol.set(span.protocol, [span]);
    else spans.push(span);
  };
  for (const world of worlds) {
    for (const { ports } of world.groups) for (const port of ports) add(spanOf(port));
    for (const { rules } of world.policies)
      for (const { statements } of rules)
        for (const statement of statements) for (const span of namedSpans(statement)) add(span);
  }
  return [...byProtocol].sort(([a], [b]) => a - b).flatMap(([protocol, spans]) => partition(protocol, spans));
}

const spanOf = ({ protocol, port }: { readonly protocol: number; readonly port: number }): Span => ({
  protocol,
  first: port,
  last: port,
});

/** The ports that a statement lists. Names are left to the workloads that give them. */
function namedSpans({ ports }: Statement): Span[] {
  const out: Span[] = [];
  for (const match of ports === "any" ? [] : ports.flatMap(({ matches }) => matches)) {
    const { protocol } = match;
    if (match.kind === "ports") out.push({ protocol, first: match.first, last: match.last });
    else if (match.kind === "icmp") out.push({ protocol, first: match.type, last: match.type });
    // No port, but the protocol is to be asked about.
    else if (match.kind === "protocol") out.push({ protocol, first: 1, last: 0 });
  }
  return out;
}

function partition(protocol: number, spans: readonly Span[]): PortClass[] {
  const steps = new Map<number, number>();
  const step = (at: number, by: number) => steps.set(at, (steps.get(at) ?? 0) + by);
  for (const { first, last } of spans) {
    if (first > last) continue;
    step(first, 1);
    step(last + 1, -1);
  }
  const out: PortClass[] = [];
  const highest = isIcmp(protocol) ? 255 : 65535;
  let at = isIcmp(protocol) ? 0 : 1;
  let open = 0;
  let other: number | undefined;
  for (const [border, by] of [...steps].sort(([a], [b]) => a - b)) {
    if (border > at) {
      if (open > 0) out.push({ protocol, first: at, last: border - 1, others: false });
      else other ??= at;
      at = border;
    }
    open += by;
  }
  if (at <= highest) other ??= at;
  if (other !== undefined) out.push({ protocol, first: other, last: other, others: true });
  return out;
}

/** Tells which classes have a meaning at a destination: its own ports, and those that rules name when they speak of it. */
export function createPortFilter(
  world: World,
  sources: readonly NumericIdentity[],
): (destination: NumericIdentity, port: PortClass) => boolean {
  const egress = new Set<Statement>();
  for (const id of sources)
    for (const { statements } of world.engine.rulesFor(id))
      for (const statement of statements) if (statement.direction === "egress") egress.add(statement);
  const known = new Map<NumericIdentity, readonly Span[]>();
  const spansOf = (id: NumericIdentity): readonly Span[] => {
    const identity = world.engine.identity(id);
    const ingress = world.engine
      .rulesFor(id)
      .flatMap(({ statements }) => statements.filter((s) => s.direction === "ingress"));
    const about = [...egress].filter(
      (one) => identity !== undefined && meansPeer(one, identity, world.engine.options.clusterName),
    );
    const own = world.groups.find((group) => group.identity === id)?.ports ?? [];
    return [...own.map(spanOf), ...[...ingress, ...about].flatMap(namedSpans)];
  };
  return (destination, port) => {
    let spans = known.get(destination);
    if (spans === undefined) {
      spans = spansOf(destination);
      known.set(destination, spans);
    }
    if (port.others) return true;
    return spans.some((one) => one.protocol === port.protocol && one.first <= port.first && one.last >= port.last);
  };
}
