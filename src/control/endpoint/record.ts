/** The record of an endpoint that outlives the agent: JSON text, one file an endpoint. */
import { type EndpointId, formatAddress, parseAddress } from "#core/model";
import type { EndpointFacts } from "./endpoint.ts";

/** The record as text. */
export function formatEndpointRecord(facts: EndpointFacts): string {
  const { id, containerId, pod, netnsPath, interfaceName, mac, hostMac, ipv4, ipv6, createdAtMs } = facts;
  const addresses = { ...(ipv4 && { ipv4: formatAddress(ipv4) }), ...(ipv6 && { ipv6: formatAddress(ipv6) }) };
  return `${JSON.stringify({ version: 1, id, containerId, pod, netnsPath, interfaceName, mac, hostMac, ...addresses, createdAtMs }, null, 2)}\n`;
}

/** Reads a record; undefined if the text is not one (cut short by a crash, of another version). */
export function parseEndpointRecord(text: string): EndpointFacts | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof raw !== "object" || raw === null) return undefined;
  const record = raw as Record<string, unknown>;
  const pod = record.pod as Record<string, unknown> | undefined;
  const texts = ["containerId", "netnsPath", "interfaceName", "mac", "hostMac"] as const;
  if (record.version !== 1 || !Number.isInteger(record.id) || typeof record.createdAtMs !== "number") return undefined;
  if (texts.some((field) => typeof record[field] !== "string")) return undefined;
  if (typeof pod?.namespace !== "string" || typeof pod.name !== "string" || typeof pod.uid !== "string")
    return undefined;
  const address = (field: "ipv4" | "ipv6") =>
    typeof record[field] === "string" ? parseAddress(record[field]) : undefined;
  const ipv4 = address("ipv4");
  const ipv6 = address("ipv6");
  return {
    id: record.id as EndpointId,
    containerId: record.containerId as string,
    pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
    netnsPath: record.netnsPath as string,
    interfaceName: record.interfaceName as string,
    mac: record.mac as string,
    hostMac: record.hostMac as string,
    ...(ipv4 && { ipv4 }),
    ...(ipv6 && { ipv6 }),
    createdAtMs: record.createdAtMs,
  };
}
