/** The service observer.Observer: its methods on encoded messages. */
import {
  GetFlowsRequest,
  GetFlowsResponse,
  GetNamespacesResponse,
  GetNodesResponse,
  NodeState,
  ServerStatusResponse,
} from "#contracts/hubble";
import type { FlowStore } from "./flow-store.ts";
import { getFlows } from "./get-flows.ts";
import type { Method } from "./grpc.ts";
import { GrpcError } from "./grpc-status.ts";
import type { ObserverStatus } from "./status.ts";

/** What the service answers from. */
interface ServiceSources {
  readonly store: FlowStore;
  readonly nodeName: string;
  readonly version: string;
  status(): ObserverStatus;
  /** Sorted. */
  namespacesSeen(): readonly string[];
}

/** The methods by path. Hubble's other methods are UNIMPLEMENTED, as every path that is not here. */
export function observerMethods({
  store,
  nodeName,
  version,
  status,
  namespacesSeen,
}: ServiceSources): ReadonlyMap<string, Method> {
  const numbers = ({ flows, capacity, flowsSeen, uptimeNs }: ObserverStatus) => ({
    num_flows: BigInt(flows),
    max_flows: BigInt(capacity),
    seen_flows: BigInt(flowsSeen),
    uptime_ns: uptimeNs,
  });
  const unary = (answer: () => Uint8Array): Method => ({ kind: "unary", call: answer });
  return new Map<string, Method>([
    [
      "/observer.Observer/GetFlows",
      {
        kind: "stream",
        async *call(bytes, signal) {
          const request = decodeRequest(bytes);
          for await (const batch of getFlows(store, request, nodeName, signal))
            yield batch.map((response) => GetFlowsResponse.encode(response).finish());
        },
      },
    ],
    [
      "/observer.Observer/ServerStatus",
      unary(() => {
        const now = status();
        return ServerStatusResponse.encode({
          ...numbers(now),
          version: `tsilium ${version}`,
          flows_rate: now.flowsPerSecond,
          num_connected_nodes: 1,
          num_unavailable_nodes: 0,
        }).finish();
      }),
    ],
    [
      "/observer.Observer/GetNodes",
      unary(() => {
        const node = { name: nodeName, version, state: NodeState.NODE_CONNECTED, tls: { enabled: false } };
        return GetNodesResponse.encode({ nodes: [{ ...numbers(status()), ...node }] }).finish();
      }),
    ],
    [
      "/observer.Observer/GetNamespaces",
      unary(() => {
        const namespaces = namespacesSeen().map((namespace) => ({ namespace }));
        return GetNamespacesResponse.encode({ namespaces }).finish();
      }),
    ],
  ]);
}

function decodeRequest(bytes: Uint8Array): GetFlowsRequest {
  try {
    return GetFlowsRequest.decode(bytes);
  } catch (error) {
    throw new GrpcError("INVALID_ARGUMENT", "the request is no GetFlowsRequest", error);
  }
}
