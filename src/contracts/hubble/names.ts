/** Codes of Hubble's events that are plain numbers in the protocol, and the words that its CLI has for them. */
import { DropReason } from "./generated/flow/flow.ts";

/** Event types: `CiliumEventType.type`. */
export const MessageType = {
  unspecified: 0,
  drop: 1,
  debug: 2,
  capture: 3,
  trace: 4,
  "policy-verdict": 5,
  "trace-sock": 7,
  l7: 129,
  agent: 130,
} as const;

/** Subtypes of trace events. Not the numbers of the enum TraceObservationPoint, where `to-endpoint` is 101. */
export const TracePoint = {
  "to-endpoint": 0,
  "to-proxy": 1,
  "to-host": 2,
  "to-stack": 3,
  "to-overlay": 4,
  "from-endpoint": 5,
  "from-proxy": 6,
  "from-host": 7,
  "from-stack": 8,
  "from-overlay": 9,
  "from-network": 10,
  "to-network": 11,
  "from-crypto": 12,
  "to-crypto": 13,
} as const;

const pointNames = new Map<number, string>(Object.entries(TracePoint).map(([name, code]) => [code, name]));
const matchNames = ["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];
const reasonNames = new Map<number, string>(Object.entries(DropReason).map(([name, code]) => [code, name]));

/** Name of a trace subtype; the number as text if it has none. */
export function tracePointName(code: number): string {
  return pointNames.get(code) ?? String(code);
}

/** Name of a policy match type; the number as text if it has none. */
export function policyMatchName(code: number): string {
  return matchNames[code] ?? String(code);
}

/** Name of a drop reason, as flows spell it: 133 -> POLICY_DENIED; the number as text if it has none. */
export function dropReasonName(code: number): string {
  return reasonNames.get(code) ?? String(code);
}

const ownTexts = new Map<number, string>([
  [DropReason.POLICY_DENY, "Policy denied by a deny rule"],
  [DropReason.DROP_EP_NOT_READY, "Endpoint not ready"],
]);
const acronyms = /\b(ct|ip|l2|l3|l4|icmpv4|icmpv6|tcp|nat|snat|vlan|vni|lb|fib|dsr|edt|sid|ttl|igmp|ipv6)\b/g;

/** A drop reason in words: 133 -> "Policy denied". */
export function dropReasonText(code: number): string {
  const own = ownTexts.get(code);
  if (own !== undefined) return own;
  const words = dropReasonName(code)
    .replace(/^DROP_/, "")
    .toLowerCase()
    .replaceAll("_", " ");
  const text = words.replaceAll(acronyms, (word) => word.toUpperCase().replace("ICMPV", "ICMPv").replace("IPV", "IPv"));
  return text.charAt(0).toUpperCase() + text.slice(1);
}
