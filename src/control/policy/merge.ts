/** Rules on the same peers and port that judge it in ways that can't be joined: the later one is left out, and says why. */
import { formatPortMatch } from "./describe.ts";
import type { Authentication, ListenerRef, PortList, RuleRef, Statement } from "./rule.ts";

/** Two places of which only the first is in force. */
export interface MergeConflict {
  /** What differs: "L7 protocols (http, kafka)". */
  readonly what: string;
  /** Peers and port in question, for people. */
  readonly port: string;
  /** Left out: it allows nothing. Its rule's default deny holds all the same. */
  readonly ref: RuleRef;
  readonly path: string;
  /** In force. */
  readonly otherRef: RuleRef;
  readonly otherPath: string;
}

/** A statement whose peers are resolved; selectors with equal keys are the same. */
interface ResolvedStatement {
  readonly statement: Statement;
  readonly peers: "any" | readonly { readonly key: string }[];
}

/** A statement's ports, or the statement itself where it names none. */
type Part = PortList | Statement;

/** What is asked on one port of one selector, each with who asked first. */
interface Demands {
  protocol?: Demand<string>;
  terminatingTLS?: Demand<string>;
  originatingTLS?: Demand<string>;
  authentication?: Demand<Authentication>;
  listeners: Map<number, Demand<string>>;
}
interface Demand<T> {
  readonly value: T;
  readonly ref: RuleRef;
  readonly path: string;
}

/** The parts that can't be joined with an earlier one. `statements` are in the engine's order, which does not depend on when they came. */
export function findConflicts(statements: readonly ResolvedStatement[]): ReadonlyMap<Part, MergeConflict> {
  const conflicts = new Map<Part, MergeConflict>();
  if (!statements.some(({ statement }) => isDemanding(statement))) return conflicts;
  const seen = new Map<string, Demands>();
  for (const { statement, peers } of statements) {
    if (statement.action !== "allow") continue;
    const selectors = peers === "any" ? [""] : peers.map(({ key }) => key);
    const lists = statement.ports === "any" ? [undefined] : statement.ports;
    for (const list of lists) {
      const ports = list === undefined ? ["every port"] : list.matches.map(formatPortMatch);
      const keys = ports.flatMap((port) => selectors.map((selector) => ({ port, key: `${port} ${selector}` })));
      const conflict = keys
        .map(({ port, key }) => compare(seen.get(key), port, statement, list))
        .find((found) => found !== undefined);
      if (conflict !== undefined) conflicts.set(list ?? statement, conflict);
      else for (const { key } of keys) remember(seen, key, statement, list);
    }
  }
  return conflicts;
}

function isDemanding({ authentication, ports }: Statement): boolean {
  if (authentication !== undefined) return true;
  return ports !== "any" && ports.some(({ l7, tls, listener }) => (l7 ?? tls ?? listener) !== undefined);
}

const protocolOf = ({ l7 }: PortList): string | undefined =>
  l7?.protocol === "custom" ? `custom ${l7.parser}` : l7?.protocol;

const aspects = ["protocol", "terminatingTLS", "originatingTLS", "authentication"] as const;
const names: Readonly<Record<(typeof aspects)[number], string>> = {
  protocol: "L7 protocols",
  terminatingTLS: "terminating TLS contexts",
  originatingTLS: "originating TLS contexts",
  authentication: "authentication modes",
};

/** What a part asks, aspect by aspect. */
function demandsOf(statement: Statement, list: PortList | undefined) {
  const text = (value: object | undefined) => (value === undefined ? undefined : JSON.stringify(value));
  return {
    protocol: list && protocolOf(list),
    terminatingTLS: text(list?.tls?.terminating),
    originatingTLS: text(list?.tls?.originating),
    authentication: statement.authentication,
  };
}

function compare(
  known: Demands | undefined,
  port: string,
  statement: Statement,
  list: PortList | undefined,
): MergeConflict | undefined {
  if (known === undefined) return undefined;
  const own = { port, ref: statement.ref, path: list?.path ?? statement.ref.path };
  const asked = demandsOf(statement, list);
  const report = (what: string, other: Demand<unknown>): MergeConflict => ({
    ...own,
    what,
    otherRef: other.ref,
    otherPath: other.path,
  });
  for (const aspect of aspects) {
    const other = known[aspect];
    if (other === undefined || asked[aspect] === undefined || other.value === asked[aspect]) continue;
    const values = aspect === "protocol" || aspect === "authentication" ? ` (${other.value}, ${asked[aspect]})` : "";
    return report(`${names[aspect]}${values}`, other);
  }
  const listener = list?.listener;
  const other = listener && known.listeners.get(listener.priority ?? 0);
  if (other === undefined || other.value === listenerText(listener!)) return undefined;
  return report(`listeners of equal priority (${other.value}, ${listenerText(listener!)})`, other);
}

const listenerText = ({ config, name }: ListenerRef): string => `${config}/${name}`;

function remember(seen: Map<string, Demands>, key: string, statement: Statement, list: PortList | undefined): void {
  const known: Demands = seen.get(key) ?? { listeners: new Map() };
  seen.set(key, known);
  const asked = demandsOf(statement, list);
  const place = { ref: statement.ref, path: list?.path ?? statement.ref.path };
  if (asked.authentication !== undefined) known.authentication ??= { value: asked.authentication, ...place };
  for (const aspect of ["protocol", "terminatingTLS", "originatingTLS"] as const) {
    const value = asked[aspect];
    if (value !== undefined) known[aspect] ??= { value, ...place };
  }
  const listener = list?.listener;
  const priority = listener?.priority ?? 0;
  if (listener !== undefined && !known.listeners.has(priority))
    known.listeners.set(priority, { value: listenerText(listener), ...place });
}

/** For the status of the policy that is left out. */
export function formatConflict({ what, port, otherRef, otherPath }: MergeConflict): string {
  const name = otherRef.namespace === undefined ? otherRef.name : `${otherRef.namespace}/${otherRef.name}`;
  return `cannot merge conflicting ${what} on ${port} with ${otherRef.kind} ${name} ${otherPath}: this item allows nothing`;
}
