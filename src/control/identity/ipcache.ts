/** The ipcache as a plan: which prefix is whom. */
import {
  type EndpointId,
  formatPrefix,
  hostPrefix,
  type Identity,
  type IpAddress,
  type NumericIdentity,
  type Prefix,
  Reserved,
} from "#core/model";

/** What is known of addresses. Where two sources speak of the same prefix, the earlier field here wins. */
export interface IpcacheSources {
  /** All addresses of the node itself. */
  readonly nodeAddresses: Iterable<IpAddress>;
  /** Endpoints of this node. */
  readonly endpoints: Iterable<{
    readonly prefix: Prefix;
    readonly identity: NumericIdentity;
    readonly endpointId: EndpointId;
  }>;
  /** Whatever else has a known identity: pods and nodes elsewhere. */
  readonly others?: Iterable<{ readonly prefix: Prefix; readonly identity: NumericIdentity }>;
  /** Prefixes that rules name. */
  readonly prefixes: Iterable<Identity>;
}

/** One row; `endpointId` 0 = no endpoint of this node. */
export interface IpcachePlanRow {
  readonly identity: NumericIdentity;
  readonly endpointId: EndpointId;
}

const none = 0 as EndpointId;

/** Canonical prefix -> row. Always holds the defaults 0.0.0.0/0 and ::/0 (world). */
export function planIpcache(sources: IpcacheSources): Map<string, IpcachePlanRow> {
  const rows = new Map<string, IpcachePlanRow>();
  const put = (prefix: string, identity: NumericIdentity, endpointId = none) => {
    if (!rows.has(prefix)) rows.set(prefix, { identity, endpointId });
  };
  for (const address of sources.nodeAddresses) put(formatPrefix(hostPrefix(address)), Reserved.host);
  for (const { prefix, identity, endpointId } of sources.endpoints) put(formatPrefix(prefix), identity, endpointId);
  for (const { prefix, identity } of sources.others ?? []) put(formatPrefix(prefix), identity);
  for (const { prefix, id } of sources.prefixes) if (prefix !== undefined) put(prefix, id);
  put("0.0.0.0/0", Reserved["world-ipv4"]);
  put("::/0", Reserved["world-ipv6"]);
  return rows;
}
