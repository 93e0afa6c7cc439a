/** The words of a question about a connection: ports and requests. */
import type { HttpRequest, Party, World } from "#control/workbench";
import { protocolNumbers } from "#core/model";
import { usageError } from "../failure.ts";

/** Protocol and destination port (ICMP: type). */
export interface Transport {
  readonly protocol: number;
  readonly port: number;
}

/** Reads `80`, `80/tcp`, `53/udp`, or a name that the destination gives a port (`http/tcp`). Throws USAGE. */
export function parseTransport(text: string, world: World, to: Party): Transport {
  const [name = "", transport = "tcp", ...rest] = text.toLowerCase().split("/");
  const protocol = { tcp: protocolNumbers.TCP, udp: protocolNumbers.UDP, sctp: protocolNumbers.SCTP }[transport];
  if (protocol === undefined || rest.length > 0)
    throw usageError(`--port takes PORT or PORT/PROTOCOL with tcp, udp or sctp, but was given "${text}"`);
  if (/^\d+$/.test(name)) {
    const port = Number(name);
    if (port < 1 || port > 65535) throw usageError(`a port is a number from 1 to 65535, found ${name}`);
    return { protocol, port };
  }
  const ports = world.groups.find(({ identity }) => identity === to.identity)?.ports ?? [];
  const found = ports.find((one) => one.name === name && one.protocol === protocol);
  if (found !== undefined) return { protocol, port: found.port };
  const names = ports.flatMap((one) => one.name ?? []);
  const known = names.length === 0 ? "it names no port" : `it names ${names.join(", ")}`;
  throw usageError(`${to.name} has no ${transport} port named "${name}": ${known}`);
}

/** Reads an ICMP type; without one the echo request of the destination's family. Throws USAGE. */
export function parseIcmp(text: string | true, to: Party): Transport {
  const v6 = to.address?.includes(":") === true || to.name.includes("::");
  const protocol = v6 ? protocolNumbers.ICMPV6 : protocolNumbers.ICMP;
  if (text === true) return { protocol, port: v6 ? 128 : 8 };
  if (!/^\d{1,3}$/.test(text) || Number(text) > 255)
    throw usageError(`--icmp takes a type from 0 to 255, found "${text}"`);
  return { protocol, port: Number(text) };
}

/** Reads `GET /path` or `GET http://host/path`, with headers as `Name: value`. Throws USAGE. */
export function parseRequest(text: string, headers: readonly string[] = []): HttpRequest {
  const match = /^([A-Za-z]+) +(?:https?:\/\/([^/ ]+))?(\/\S*|\*)?$/.exec(text.trim());
  if (match === null)
    throw usageError(`--http takes a method and a path, e.g. --http "GET /path", but was given "${text}"`);
  const pairs = headers.map((header) => {
    const at = header.indexOf(":");
    if (at <= 0) throw usageError(`--header takes "Name: value", but was given "${header}"`);
    return [header.slice(0, at).trim().toLowerCase(), header.slice(at + 1).trim()] as const;
  });
  const given = new Map(pairs);
  return {
    method: match[1]!,
    target: match[3] ?? "/",
    host: match[2] ?? given.get("host") ?? "",
    headers: given,
  };
}
