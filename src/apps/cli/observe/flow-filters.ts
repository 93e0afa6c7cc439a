/**
 * Filter flags -> the lists of a GetFlows request. The flags' order matters: `--not` turns the next one. Flags that name
 * either end (`--pod`) make two filters, one for each end, of which one must match. As in `hubble observe`.
 */
import {
  DropReason,
  type FlowFilter,
  IPVersion,
  MessageType,
  type TCPFlags,
  TracePoint,
  TrafficDirection,
  Verdict,
} from "#contracts/hubble";
import { Reserved } from "#core/model";
import { usageError } from "../failure.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Filter = Mutable<FlowFilter>;
/** Fields that are lists, and what one holds. */
type ListField = {
  [F in keyof FlowFilter]-?: NonNullable<FlowFilter[F]> extends readonly unknown[] ? F : never;
}[keyof FlowFilter];
type Item<F extends ListField> = NonNullable<FlowFilter[F]> extends readonly (infer T)[] ? T : never;

/** One list, as it grows: a flow must match `left` or `right`. */
interface FilterPair {
  readonly left: Filter;
  readonly right: Filter;
  readonly namespaces: string[];
  readonly fromNamespaces: string[];
  readonly toNamespaces: string[];
  readonly flags: Set<string>;
}

const newPair = (): FilterPair => ({
  left: {},
  right: {},
  namespaces: [],
  fromNamespaces: [],
  toNamespaces: [],
  flags: new Set(),
});

/** Flags that say the same of the same end in two ways. */
const conflicts: readonly (readonly string[])[] = [
  ["from-fqdn", "from-ip", "ip", "fqdn", "from-namespace", "namespace", "from-all-namespaces", "all-namespaces"],
  ["from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"],
  ["to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace", "to-all-namespaces", "all-namespaces"],
  ["to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"],
  ["to-pod", "namespace", "all-namespaces"],
  ["from-pod", "namespace", "all-namespaces"],
  ["label", "from-label"],
  ["label", "to-label"],
  ["port", "from-port"],
  ["port", "to-port"],
  ["identity", "from-identity"],
  ["identity", "to-identity"],
  ["workload", "from-workload"],
  ["workload", "to-workload"],
];

/** What one flag does to the pair. */
type Setter = (pair: FilterPair, value: string) => void;

function append(filter: Filter, field: ListField, value: unknown): void {
  (filter as Record<string, unknown>)[field] = [...(filter[field] ?? []), value];
}

/** Of both filters of the pair. */
function both<F extends ListField>(field: F, parse: (value: string) => Item<F>): Setter {
  return ({ left, right }, text) => {
    const value = parse(text);
    append(left, field, value);
    append(right, field, value);
  };
}

/** Of the source in one, of the destination in the other. */
function either<F extends ListField, G extends ListField>(
  source: F,
  destination: G,
  parse: (value: string) => Item<F> & Item<G>,
): Setter {
  return ({ left, right }, text) => {
    const value = parse(text);
    append(left, source, value);
    append(right, destination, value);
  };
}

const same = (value: string): string => value;

const setters: Readonly<Record<string, Setter>> = {
  uuid: both("uuid", same),
  pod: either("source_pod", "destination_pod", same),
  "from-pod": both("source_pod", same),
  "to-pod": both("destination_pod", same),
  namespace: ({ namespaces }, value) => void namespaces.push(value),
  "from-namespace": ({ fromNamespaces }, value) => void fromNamespaces.push(value),
  "to-namespace": ({ toNamespaces }, value) => void toNamespaces.push(value),
  "all-namespaces": ({ namespaces }) => void namespaces.push(""),
  "from-all-namespaces": ({ fromNamespaces }) => void fromNamespaces.push(""),
  "to-all-namespaces": ({ toNamespaces }) => void toNamespaces.push(""),
  label: either("source_label", "destination_label", same),
  "from-label": both("source_label", same),
  "to-label": both("destination_label", same),
  ip: either("source_ip", "destination_ip", same),
  "from-ip": both("source_ip", same),
  "to-ip": both("destination_ip", same),
  "snat-ip": both("source_ip_xlated", same),
  ipv4: both("ip_version", () => IPVersion.IPv4),
  ipv6: both("ip_version", () => IPVersion.IPv6),
  "ip-version": both("ip_version", parseIpVersion),
  fqdn: either("source_fqdn", "destination_fqdn", same),
  "from-fqdn": both("source_fqdn", same),
  "to-fqdn": both("destination_fqdn", same),
  port: either("source_port", "destination_port", same),
  "from-port": both("source_port", same),
  "to-port": both("destination_port", same),
  identity: either("source_identity", "destination_identity", parseIdentity),
  "from-identity": both("source_identity", parseIdentity),
  "to-identity": both("destination_identity", parseIdentity),
  workload: either("source_workload", "destination_workload", parseWorkload),
  "from-workload": both("source_workload", parseWorkload),
  "to-workload": both("destination_workload", parseWorkload),
  verdict: both("verdict", (value) => named(Verdict, value.toUpperCase(), "--verdict")),
  "drop-reason-desc": both("drop_reason_desc", (value) => named(DropReason, value.toUpperCase(), "--drop-reason-desc")),
  protocol: both("protocol", same),
  type: both("event_type", parseEventType),
  "tcp-flags": both("tcp_flags", parseTcpFlags),
  "traffic-direction": both("traffic_direction", (value) =>
    named(
      { INGRESS: TrafficDirection.INGRESS, EGRESS: TrafficDirection.EGRESS },
      value.toUpperCase(),
      "--traffic-direction",
    ),
  ),
  reply: both("reply", () => true),
  "not-reply": both("reply", () => false),
  "http-method": both("http_method", same),
  "http-path": both("http_path", same),
  "http-url": both("http_url", same),
  "http-status": both("http_status_code", same),
  "http-header": both("http_header", parseHeader),
  "node-name": both("node_name", same),
  "node-label": both("node_labels", same),
  interface: both("interface", (name) => ({ name })),
  "trace-id": both("trace_id", same),
};

/** Names of the filter flags. */
export const filterFlags: readonly string[] = Object.keys(setters);

/** Collects filter flags in the order of the command line. */
export class FilterBuilder {
  #whitelist: FilterPair | undefined;
  #blacklist: FilterPair | undefined;
  #negated = false;

  /** The next filter flag excludes. Throws USAGE after another `--not`. */
  not(): void {
    if (this.#negated) throw usageError("--not stands twice in a row; it turns one flag, the next");
    this.#negated = true;
  }

  /** Takes a flag. Throws USAGE for a value that can't be, or together with a flag that it contradicts. */
  set(flag: string, value: string): void {
    if (this.#negated) this.#blacklist ??= newPair();
    else this.#whitelist ??= newPair();
    const pair = (this.#negated ? this.#blacklist : this.#whitelist)!;
    this.#negated = false;
    pair.flags.add(flag);
    for (const group of conflicts) {
      if (!group.includes(flag)) continue;
      const other = group.find((name) => name !== flag && pair.flags.has(name));
      if (other !== undefined) throw usageError(`filters --${other} and --${flag} can't be combined`);
    }
    setters[flag]!(pair, value);
  }

  /** The lists. Throws USAGE if a `--not` is left over. */
  build(): { readonly whitelist: readonly FlowFilter[]; readonly blacklist: readonly FlowFilter[] } {
    if (this.#negated) throw usageError("there is no filter behind the last --not");
    return { whitelist: filtersOf(this.#whitelist), blacklist: filtersOf(this.#blacklist) };
  }
}

function filtersOf(pair: FilterPair | undefined): FlowFilter[] {
  if (pair === undefined) return [];
  const { left, right, namespaces, fromNamespaces, toNamespaces } = pair;
  within(left, "source_pod", fromNamespaces);
  within(right, "source_pod", fromNamespaces);
  within(left, "destination_pod", toNamespaces);
  within(right, "destination_pod", toNamespaces);
  within(left, "source_pod", namespaces);
  within(right, "destination_pod", namespaces);
  return JSON.stringify(left) === JSON.stringify(right) ? [left] : [left, right];
}

/** Puts namespaces before pod names that have none; without pod names they stand for all of their pods. */
function within(filter: Filter, field: "source_pod" | "destination_pod", namespaces: readonly string[]): void {
  if (namespaces.length === 0) return;
  const names = filter[field] ?? [""];
  filter[field] = names.flatMap((name) =>
    name.includes("/") ? [name] : namespaces.map((namespace) => `${namespace}/${name}`),
  );
}

function named<T extends number>(codes: Readonly<Record<string, T>>, name: string, flag: string): T {
  const code = name === "UNRECOGNIZED" ? undefined : codes[name];
  if (code !== undefined) return code;
  const known = Object.keys(codes).filter((key) => key !== "UNRECOGNIZED" && codes[key] !== 0);
  throw usageError(`${flag} does not know "${name}"; it knows ${known.join(", ")}`);
}

function parseIpVersion(text: string): IPVersion {
  const version = /^(?:ip)?v?([46])$/i.exec(text)?.[1];
  if (version !== undefined) return version === "4" ? IPVersion.IPv4 : IPVersion.IPv6;
  if (text.toLowerCase() === "none") return IPVersion.IP_NOT_USED;
  throw usageError(`--ip-version takes v4, v6 or none, but was given "${text}"`);
}

function parseIdentity(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff) return Number(text);
  const reserved: number | undefined = Object.hasOwn(Reserved, text)
    ? Reserved[text as keyof typeof Reserved]
    : undefined;
  if (reserved !== undefined) return reserved;
  throw usageError(`"${text}" is no identity: give its number or one of ${Object.keys(Reserved).join(", ")}`);
}

/** `kind/name`, `kind/` or `name`. */
function parseWorkload(text: string): { readonly name: string; readonly kind: string } {
  const slash = text.indexOf("/");
  return slash < 0 ? { name: text, kind: "" } : { kind: text.slice(0, slash), name: text.slice(slash + 1) };
}

function parseEventType(text: string): NonNullable<FlowFilter["event_type"]>[number] {
  const colon = text.indexOf(":");
  const [name, sub] = colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)];
  const type = codeOf(MessageType, name!);
  if (type === undefined)
    throw usageError(`--type does not know "${name}"; it knows ${Object.keys(MessageType).join(", ")}`);
  if (sub === undefined) return { type };
  const subType = type === MessageType.trace ? codeOf(TracePoint, sub) : codeOf(DropReason, sub);
  if (subType === undefined) throw usageError(`--type ${name} has no subtype "${sub}"`);
  return { type, match_sub_type: true, sub_type: subType };
}

function codeOf(codes: Readonly<Record<string, number>>, text: string): number | undefined {
  return /^\d{1,5}$/.test(text) ? Number(text) : Object.hasOwn(codes, text) ? codes[text] : undefined;
}

function parseTcpFlags(text: string): TCPFlags {
  const known = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];
  const names = text.toUpperCase().split(",");
  const strange = names.find((name) => !known.includes(name));
  if (strange !== undefined) throw usageError(`--tcp-flags does not know "${strange}"; it knows ${known.join(", ")}`);
  return Object.fromEntries(names.map((name) => [name, true]));
}

function parseHeader(text: string): { readonly key: string; readonly value: string } {
  const colon = text.indexOf(":");
  if (colon < 1) throw usageError(`--http-header takes NAME:VALUE, but was given "${text}"`);
  return { key: text.slice(0, colon), value: text.slice(colon + 1) };
}
