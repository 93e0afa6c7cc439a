/** One port of a list: protocol, number or name, end of a range. */
import { type Direction, type ProtocolName, protocolNumbers } from "#core/model";
import { nearest } from "./fields.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { PortMatch } from "./rule.ts";

const maxItems = 40;
const transports: Readonly<Record<string, readonly number[]>> = {
  TCP: [protocolNumbers.TCP],
  UDP: [protocolNumbers.UDP],
  SCTP: [protocolNumbers.SCTP],
  ANY: [protocolNumbers.TCP, protocolNumbers.UDP, protocolNumbers.SCTP],
};

/** Protocols that have no ports: Cilium's "extended" ones. */
export const portlessProtocols = ["VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH"] as const satisfies ProtocolName[];

/** What is to be judged beyond the port: requests of a protocol, or the handshake of TLS. */
export type JudgedBy = "dns" | "requests" | "tls" | undefined;

/** Where the ports stand: not everything may be said everywhere. */
export interface PortScope {
  readonly action: "allow" | "deny";
  readonly direction: Direction;
  /** In a host policy. */
  readonly ofNodes: boolean;
}

/** Reads an item of ports; one match for each protocol that it stands for. */
export function parsePort(reader: Reader, value: unknown, path: string, judgedBy: JudgedBy): PortMatch[] {
  const fields = reader.object(value, path, "port");
  if (fields === undefined) return [];
  const protocols = parseProtocol(reader, fields, path);
  if (protocols === undefined) return [];
  const written = typeof fields.protocol === "string" && fields.protocol !== "" ? fields.protocol : "ANY";
  const portless = portlessProtocols.find((name) => name === written.toUpperCase());
  if ((judgedBy === "requests" || judgedBy === "tls") && written.toUpperCase() !== "TCP")
    reader.error(
      fields.protocol === undefined ? path : at(path, "protocol"),
      "conflict",
      judgedBy === "tls"
        ? `TLS rules can only apply to TCP (not ${written})`
        : `L7 rules can only apply to TCP (not ${written}) except for DNS rules`,
      "write protocol: TCP",
    );
  if (portless !== undefined) return parsePortless(reader, fields, path, protocolNumbers[portless], judgedBy);
  const port = parsePortNumber(reader, fields, path);
  if (port === undefined) return [];
  const endPort = parseEndPort(reader, fields, path, port);
  if (judgedBy === "dns" && endPort !== undefined && endPort !== port)
    reader.error(
      at(path, "endPort"),
      "conflict",
      "DNS rules do not support port ranges",
      'name the port, usually port: "53"',
    );
  if (judgedBy !== undefined && port === 0) {
    reader.error(
      at(path, "port"),
      "conflict",
      "L7 rules can not be used when a port is 0",
      "name the ports on which the protocol is spoken",
    );
    return [];
  }
  return protocols.map((protocol): PortMatch => {
    if (typeof port === "string") return { kind: "named", protocol, name: port, path };
    if (port === 0) return { kind: "protocol", protocol, path };
    return { kind: "ports", protocol, first: port, last: endPort ?? port, path };
  });
}

function parsePortless(
  reader: Reader,
  fields: Fields,
  path: string,
  protocol: number,
  judgedBy: JudgedBy,
): PortMatch[] {
  const port = reader.field(fields, path, "port");
  if (port !== undefined && port !== "" && port !== "0")
    reader.error(
      at(path, "port"),
      "conflict",
      "port must be empty or 0",
      `${fields.protocol} has no ports: remove port`,
    );
  if (judgedBy === "dns")
    reader.error(at(path, "protocol"), "conflict", `DNS rules can only apply to UDP and TCP (not ${fields.protocol})`);
  return [{ kind: "protocol", protocol, path }];
}

function parseProtocol(reader: Reader, fields: Fields, path: string): readonly number[] | undefined {
  const text = reader.string(fields, path, "protocol");
  if (text === undefined) return fields.protocol === undefined || fields.protocol === null ? transports.ANY : undefined;
  const name = text === "" ? "ANY" : text.toUpperCase();
  const place = at(path, "protocol");
  const known = Object.hasOwn(transports, name) ? transports[name] : undefined;
  if (known !== undefined) return known;
  const portless = portlessProtocols.find((one) => one === name);
  if (portless !== undefined) return [protocolNumbers[portless]];
  if (name === "ICMP" || name === "ICMPV6") {
    const family = name === "ICMP" ? "IPv4" : "IPv6";
    reader.error(
      place,
      "invalid-value",
      `${show(text)} has no ports`,
      `use icmps: [{fields: [{family: ${family}, type: EchoRequest}]}]`,
    );
  } else {
    const near = nearest(name, [...Object.keys(transports), ...portlessProtocols]);
    reader.error(
      place,
      "invalid-value",
      `invalid protocol ${show(text)}, must be { tcp | udp | sctp | ${portlessProtocols.join(" | ").toLowerCase()} | any }`,
      near === undefined ? "" : `write ${near}`,
    );
  }
  return undefined;
}

/** A number from 0 to 65535, or the name of a port. */
function parsePortNumber(reader: Reader, fields: Fields, path: string): number | string | undefined {
  const place = at(path, "port");
  const value = reader.field(fields, path, "port");
  if (value === undefined || value === "") {
    reader.error(
      path,
      "missing-field",
      "port must be specified",
      'add port: "80"; "0" stands for every port of the protocol',
    );
    return undefined;
  }
  if (typeof value === "number") {
    reader.error(place, "wrong-type", `found ${show(value)}, expected a string`, `put it in quotes: "${value}"`);
    return undefined;
  }
  if (typeof value !== "string") {
    reader.notString(value, place);
    return undefined;
  }
  return readPort(reader, value, place);
}

/** Reads a port as text: number or name. */
export function readPort(reader: Reader, text: string, path: string): number | string | undefined {
  const bad = (why: string, hint: string): undefined => {
    reader.error(path, "invalid-value", `unable to parse port: found ${show(text)}, ${why}`, hint);
    return undefined;
  };
  const range = /^(\d+)\s*[-:]\s*(\d+)$/.exec(text);
  if (range) return bad("a range is not written in one string", `write port: "${range[1]}" and endPort: ${range[2]}`);
  if (/^\d+(\s*,\s*\d+)+$/.test(text))
    return bad("a list is not written in one string", "write one item of ports for each");
  const withProtocol = /^(\d+)\s*[/ ]\s*([A-Za-z]+)$/.exec(text);
  if (withProtocol)
    return bad(
      "expected a number or name alone",
      `write port: "${withProtocol[1]}" and protocol: ${withProtocol[2]!.toUpperCase()}`,
    );
  if (/^\d+$/.test(text)) {
    if (text.length > 1 && text.startsWith("0")) {
      const octal = Number.parseInt(text, 8);
      return bad(`a number with a leading zero (Cilium reads it as octal: ${octal})`, `write "${Number(text)}"`);
    }
    const port = Number(text);
    return port <= 65535
      ? port
      : bad("the highest port is 65535", "correct the number; for a range use port and endPort");
  }
  const name = text.toLowerCase();
  if (/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name) && name.length <= 15 && /[a-z]/.test(name) && !name.includes("--")) {
    if (/^0x[0-9a-f]+$/.test(name))
      reader.warn(
        path,
        "named-port",
        `${show(text)} counts as the name of a port, not as a number`,
        `the number is "${Number(name)}"`,
      );
    return name;
  }
  return bad(
    "expected a number from 0 to 65535 or a port name",
    "a name has at most 15 lower-case letters, digits and single dashes, with at least one letter",
  );
}

function parseEndPort(reader: Reader, fields: Fields, path: string, port: number | string): number | undefined {
  const value = reader.field(fields, path, "endPort");
  if (value === undefined) return undefined;
  const place = at(path, "endPort");
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 65535) {
    const hint = typeof value === "string" && /^\d+$/.test(value) ? `remove the quotes: endPort: ${value}` : "";
    reader.error(place, "invalid-value", `found ${show(value)}, expected a whole number up to 65535`, hint);
    return undefined;
  }
  if (value === 0) return undefined;
  if (typeof port === "string") {
    reader.warn(
      place,
      "ignored",
      "endPort has no effect beside a named port",
      "remove it, or give the ports as numbers",
    );
    return undefined;
  }
  if (port === 0) {
    reader.warn(
      place,
      "ignored",
      'endPort has no effect beside port "0", which already stands for every port',
      "remove it",
    );
    return undefined;
  }
  if (value < port) {
    reader.warn(
      place,
      "ignored",
      `endPort ${value} is below port ${port}: only port ${port} is meant by this`,
      "swap the two, or remove endPort",
    );
    return undefined;
  }
  return value;
}

/** Notes a list that is longer than Cilium takes. */
export function tooMany(reader: Reader, items: readonly unknown[], path: string, what: string): void {
  if (items.length > maxItems)
    reader.error(
      path,
      "too-many",
      `too many ${what}, the max is ${maxItems}; found ${items.length}`,
      "split them over several items, or use endPort",
    );
}
