/** Why something was denied: a sentence for people, with its parts for programs. */
import { DropReason as Kernel } from "#contracts/bpf";
import { dropReasonText, type Flow, StringValue, sentenceTypeUrl, type Why } from "#contracts/hubble";
import type { AccessLogRecord } from "#contracts/proxy";
import { protocolName } from "#core/model";
import type { DatapathEvent } from "#observer/decode";
import type { DenialQuestion, DeniedPeer, Explain, Explanation, RuleRef } from "./lookups.ts";

/** `CiliumNetworkPolicy default/web spec.ingress[0]`. */
export function formatRule(ref: RuleRef): string {
  if (ref.kind === "implicit") return `implicit rule ${ref.name}`;
  const name = ref.namespace === undefined || ref.namespace === "" ? ref.name : `${ref.namespace}/${ref.name}`;
  return `${ref.kind} ${name}${ref.path === "" ? "" : ` ${ref.path}`}`;
}

/** A Why in both its forms: the sentence where every Hubble client sees it, the parts in our own field. */
export function withWhy(why: Why): Pick<Flow, "why" | "extensions"> {
  const value = Buffer.from(StringValue.encode({ value: why.sentence ?? "" }).finish());
  return { why, extensions: { type_url: sentenceTypeUrl, value } };
}

/** Why a policy refused a connection. */
export function explainDenial(question: DenialQuestion, explain: Explain | undefined): Why {
  const explained = explain?.(question) ?? { sentence: plainSentence(question) };
  return toWhy(explained, question.kind === "default-deny" ? [] : question.rules);
}

function toWhy({ sentence, nearest, hint }: Explanation, rules: readonly RuleRef[]): Why {
  return {
    sentence,
    ...(rules.length > 0 && { rules: rules.map(ruleOf) }),
    ...(nearest !== undefined && {
      nearest: {
        rule: ruleOf(nearest.ref),
        field: nearest.field,
        expected: nearest.expected,
        found: nearest.found,
      },
    }),
    ...(hint !== undefined && { hint }),
  };
}

function ruleOf({ kind, name, namespace, path }: RuleRef) {
  return { kind, name, path, ...(namespace !== undefined && { namespace }) };
}

function plainSentence({ direction, kind, source, destination, protocol, port, rules }: DenialQuestion): string {
  const [subject, peer] = direction === "ingress" ? [destination, source] : [source, destination];
  const what = portText(protocol, port);
  const way = direction === "ingress" ? `from ${peerText(peer)}` : `to ${peerText(peer)}`;
  const deny = `${rules.map(formatRule).join(" and ")} denies ${direction} ${what} ${way}`;
  const nothing = `no rule allows ${direction} ${what} ${way} at ${peerText(subject)}, which is in ${direction} default deny`;
  switch (kind) {
    case "explicit-deny":
      return rules.length > 0 ? deny : `an explicit deny forbids ${direction} ${what} ${way}`;
    case "default-deny":
      return nothing;
    case "audit":
      return `only audited: ${rules.length > 0 ? deny : nothing}`;
  }
}

function portText(protocol: number, port: number): string {
  const name = protocolName(protocol);
  if (name.startsWith("ICMP")) return `${name} type ${port}`;
  return port === 0 ? name : `${name} ${port}`;
}

function peerText({ endpoint, identity, labels, address }: DeniedPeer): string {
  if (endpoint !== undefined && endpoint.podName !== "") return `${endpoint.namespace}/${endpoint.podName}`;
  const reserved = labels.find((label) => label.startsWith("reserved:"));
  const who = reserved?.slice("reserved:".length) ?? (identity === 0 ? "" : `identity ${identity}`);
  return (
    [who, address === "" ? "" : who === "" ? address : `(${address})`].filter(Boolean).join(" ") || "an unknown peer"
  );
}

/** Words for drops that no policy ordered, with what usually lies behind them. */
const dropSentences: ReadonlyMap<number, string> = new Map([
  [Kernel.INVALID_SOURCE_IP, "the packet's source is not an address of the endpoint that sent it"],
  [Kernel.INVALID_PACKET, "lengths or headers of the packet contradict each other"],
  [Kernel.CT_INVALID_HEADER, "the packet is too short for the header of its own protocol"],
  [Kernel.UNKNOWN_L4, "connections of this protocol can't be tracked"],
  [Kernel.WRITE_ERROR, "the kernel refused to rewrite the packet"],
  [Kernel.UNSUPPORTED_L3, "the packet is neither IPv4 nor IPv6 nor ARP"],
  [
    Kernel.STALE_OR_UNROUTABLE,
    "no endpoint of this node has the destination address: its workload has ended, or never was",
  ],
  [Kernel.CT_MAP_INSERTION_FAILED, "the connection table took no further entry"],
  [Kernel.IPV6_EXTENSION_HEADER, "the packet's IPv6 extension headers are not supported"],
  [Kernel.FRAGMENT, "a fragment came whose first part was not seen"],
  [Kernel.NAT_NO_MAPPING, "no port is left to masquerade the connection with"],
  [Kernel.NAT_UNSUPPORTED, "connections of this protocol can't be masqueraded"],
  [Kernel.UNSUPPORTED_L2, "the frame has VLAN tags, or is of a link layer that is not supported"],
  [
    Kernel.PROXY_LOOKUP_FAILED,
    "the policy sends this connection to the L7 proxy, but no proxy is listening: `tsilium status` says why",
  ],
  [Kernel.PROXY_ASSIGN_FAILED, "the policy sends this connection to the L7 proxy, but the kernel refused its socket"],
  [Kernel.PROXY_NOT_SUPPORTED, "the policy sends this connection to the L7 proxy, which doesn't speak its protocol"],
  [Kernel.EP_NOT_READY, "the endpoint's policy has not reached the kernel yet"],
]);

/** Why a packet was dropped for a reason that is no policy's. */
export function explainDrop({ reason, rejudged }: DatapathEvent): Why {
  const sentence = dropSentences.get(reason) ?? dropReasonText(reason).toLowerCase();
  return { sentence: rejudged ? `${sentence}, after a change of policy` : sentence };
}

/** Why the proxy refused a request; undefined if it did not. */
export function explainRequest(record: AccessLogRecord): Why | undefined {
  const { kind, reason, nearest, rules, direction, method, path } = record;
  switch (kind) {
    case "request":
    case "response":
      return reason === "" ? undefined : { sentence: reason };
    case "malformed":
      return { sentence: `not a request with one meaning: ${reason}` };
    case "denied": {
      const denied = rules.length > 0 ? `${rules.map(formatRule).join(" and ")} denies it` : reason;
      if (nearest === undefined) return toWhy({ sentence: denied }, rules);
      const { ref, field, expected, found } = nearest;
      return toWhy(
        {
          sentence: `no HTTP rule of ${direction} allows it; nearest is ${formatRule(ref)}, whose ${field} is ${expected || "(empty)"}, not ${found || "(none)"}`,
          nearest: { ref, field, expected, found },
          hint: `to allow it, add {method: ${JSON.stringify(method)}, path: ${JSON.stringify(quoteRe2(path))}} beside ${ref.path}`,
        },
        rules,
      );
    }
  }
}

/** The regular expression that matches this text and no other. */
function quoteRe2(text: string): string {
  return text.replaceAll(/[\\.+*?()|[\]{}^$]/g, "\\$&");
}

/** The kind of a policy's refusal; undefined for other reasons. */
export function denialKind({ verdict, reason, kind }: DatapathEvent): DenialQuestion["kind"] | undefined {
  if (verdict === "AUDIT") return "audit";
  if (verdict !== "DROPPED") return undefined;
  if (reason === Kernel.POLICY_DENIED) return "default-deny";
  if (reason === Kernel.POLICY_DENY) return "explicit-deny";
  return kind === "verdict" && reason === Kernel.NONE ? "default-deny" : undefined;
}
