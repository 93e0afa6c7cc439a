/** The smallest policy that would allow a flow, and the names of those it speaks of. */
import { type Identity, type NumericIdentity, protocolName, protocolNumbers, reservedName } from "#core/model";
import type { ExplainedFlow } from "./compare.ts";
import type { PolicyEngine } from "./engine.ts";
import { describeIdentity, k8sLabel, tellingLabels } from "./naming.ts";
import { clusterKey, namespaceKey } from "./parse-peers.ts";
import { formatYaml } from "./yaml.ts";

/** The smallest policy that would allow a flow. */
export interface Remedy {
  /** A CiliumNetworkPolicy, or a clusterwide one where the subject has no namespace. */
  readonly object: object;
  readonly yaml: string;
}

/** A policy with one item that allows exactly this flow; where rules deny it explicitly, it goes on being denied. */
export function smallestPolicy(engine: PolicyEngine, flow: ExplainedFlow): Remedy {
  const known = (id: NumericIdentity): Identity => engine.identity(id) ?? { id, labels: [] };
  const subject = known(flow.subject);
  const peer = known(flow.peer);
  const { clusterName } = engine.options;
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

function portFields({ protocol, port, request }: ExplainedFlow): object {
  if (protocol === protocolNumbers.ICMP || protocol === protocolNumbers.ICMPV6)
    return { icmps: [{ fields: [{ family: protocol === protocolNumbers.ICMP ? "IPv4" : "IPv6", type: port }] }] };
  const ports = [{ port: String(port), protocol: protocolName(protocol) }];
  if (request === undefined || protocol !== protocolNumbers.TCP) return { toPorts: [{ ports }] };
  const literal = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return {
    toPorts: [{ ports, rules: { http: [{ method: literal(request.method), path: literal(request.target) }] } }],
  };
}
