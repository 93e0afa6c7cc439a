/** The words of a question about a connection: ports and requests. Each parser returns a sentence where the words mean nothing. */
import { protocolNumbers } from "#core/model";
import type { HttpRequest } from "./connection.ts";
import type { Party } from "./party.ts";
import type { World } from "./world.ts";

/** Protocol and destination port (ICMP: type). */
export interface Transport {
  readonly protocol: number;
  readonly port: number;
}

/** Reads `80`, `80/tcp`, `53/udp`, or a name that the destination gives a port (`http/tcp`). */
export function parseTransport(text: string, world: World, to: Party): Transport | string {
  const [name = "", transport = "tcp", ...rest] = text.toLowerCase().split("/");
  const protocol = { tcp: protocolNumbers.TCP, udp: protocolNumbers.UDP, sctp: protocolNumbers.SCTP }[transport];
  if (protocol === undefined || rest.length > 0)
    return `a port is PORT or PORT/PROTOCOL with tcp, udp or sctp, but this is "${text}"`;
  if (/^\d+$/.test(name)) {
    const port = Number(name);
    if (port < 1 || port > 65535) return `a port is a number from 1 to 65535, found ${name}`;
    return { protocol, port };
  }
  const ports = world.groups.find(({ identity }) => identity === to.identity)?.ports ?? [];
  const found = ports.find((one) => one.name === name && one.protocol === protocol);
  if (found !== undefined) return { protocol, port: found.port };
  const names = ports.flatMap((one) => one.name ?? []);
  const known = names.length === 0 ? "it names no port" : `it names ${names.join(", ")}`;
  return `${to.name} has no ${transport} port named "${name}": ${known}`;
}

/** Reads an ICMP type; without one the echo request of the destination's family. */
export function parseIcmp(text: string | undefined, to: Party): Transport | string {
  const v6 = to.address?.includes(":") === true || to.name.includes("::");
  const protocol = v6 ? protocolNumbers.ICMPV6 : protocolNumbers.ICMP;
  if (text === undefined) return { protocol, port: v6 ? 128 : 8 };
  if (!/^\d{1,3}$/.test(text) || Number(text) > 255) return `an ICMP type is a number from 0 to 255, found "${text}"`;
  return { protocol, port: Number(text) };
}

/** Reads `GET /path` or `GET http://host/path`, with headers as `Name: value`. */
export function parseRequest(text: string, headers: readonly string[] = []): HttpRequest | string {
  const match = /^([A-Za-z]+) +(?:https?:\/\/([^/ ]+))?(\/\S*|\*)?$/.exec(text.trim());
  if (match === null) return `a request is a method and a path, e.g. "GET /path", but this is "${text}"`;
  const given = new Map<string, string>();
  for (const header of headers) {
    const at = header.indexOf(":");
    if (at <= 0) return `a header is "Name: value", but this is "${header}"`;
    given.set(header.slice(0, at).trim().toLowerCase(), header.slice(at + 1).trim());
  }
  return { method: match[1]!, target: match[3] ?? "/", host: match[2] ?? given.get("host") ?? "", headers: given };
}
