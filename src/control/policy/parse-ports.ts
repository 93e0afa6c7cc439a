/** The ports of a statement: toPorts with its HTTP rules, and icmps. */
import { protocolNumbers } from "#core/model";
import { nearest } from "./fields.ts";
import { icmpTypes, icmpv6Types } from "./icmp-types.ts";
import { parseHttpRules } from "./parse-http.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { PortList, PortMatch } from "./rule.ts";

const maxItems = 40;
const transports: Readonly<Record<string, readonly number[]>> = {
  TCP: [protocolNumbers.TCP],
  UDP: [protocolNumbers.UDP],
  SCTP: [protocolNumbers.SCTP],
  ANY: [protocolNumbers.TCP, protocolNumbers.UDP, protocolNumbers.SCTP],
};
const otherProtocols = ["VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH"];

/** Reads toPorts and icmps. "any" if they set no limit. */
export function parsePorts(
  reader: Reader,
  fields: Fields,
  path: string,
  action: "allow" | "deny",
): "any" | readonly PortList[] {
  const toPorts = reader.list(fields, path, "toPorts");
  const icmps = reader.list(fields, path, "icmps");
  if (toPorts !== undefined && toPorts.length > 0 && icmps !== undefined && icmps.length > 0)
    reader.error(
      at(path, "icmps"),
      "conflict",
      "the ICMPs block may only be present without ToPorts",
      "define a separate item for one of the two",
      "key",
    );
  const lists: PortList[] = [];
  for (const [i, item] of (toPorts ?? []).entries()) {
    const list = parsePortList(reader, item, `${at(path, "toPorts")}[${i}]`, action);
    if (list !== undefined) lists.push(list);
  }
  for (const [i, item] of (icmps ?? []).entries()) {
    const list = parseIcmp(reader, item, `${at(path, "icmps")}[${i}]`);
    if (list !== undefined) lists.push(list);
  }
  const limited = (toPorts?.length ?? 0) + (icmps?.length ?? 0) > 0;
  return limited ? lists : "any";
}

function parsePortList(reader: Reader, value: unknown, path: string, action: "allow" | "deny"): PortList | undefined {
  const fields = reader.object(value, path, "portRule");
  if (fields === undefined) return undefined;
  const ports = reader.list(fields, path, "ports") ?? [];
  if (ports.length === 0)
    reader.warn(
      path,
      "matches-no-port",
      "this item of toPorts lists no ports: it matches no packet at all",
      'list ports, e.g. ports: [{port: "80", protocol: TCP}]; for every port remove toPorts',
    );
  tooMany(reader, ports, at(path, "ports"), "ports");
  const hasHttp = isHttp(fields.rules);
  const matches = ports.flatMap((item, i) => parsePort(reader, item, `${at(path, "ports")}[${i}]`, hasHttp));
  const l7 = parseL7(reader, fields, path, action);
  return l7 === undefined ? { matches } : { matches, l7 };
}

function isHttp(rules: unknown): boolean {
  if (typeof rules !== "object" || rules === null) return false;
  const { http } = rules as { readonly http?: unknown };
  return Array.isArray(http) && http.length > 0;
}

function parseL7(reader: Reader, fields: Fields, path: string, action: "allow" | "deny"): PortList["l7"] {
  const value = reader.field(fields, path, "rules");
  if (value === undefined) return undefined;
  const place = at(path, "rules");
  if (action === "deny") {
    reader.error(
      place,
      "conflict",
      "deny rules cannot carry L7 rules",
      "deny the whole port, or allow only the requests that are wanted",
      "key",
    );
    return undefined;
  }
  const rules = reader.object(value, place, "l7");
  if (rules === undefined) return undefined;
  const given = ["http", "dns", "kafka", "l7"].filter((key) => rules[key] !== undefined && rules[key] !== null);
  if (given.length > 1)
    reader.error(
      place,
      "conflict",
      "multiple L7 protocol rule types specified in single rule",
      `keep one of ${given.join(", ")}`,
    );
  const http = reader.list(rules, place, "http");
  if (given.length === 0 && Object.keys(rules).every((key) => key === "http" || key === "dns"))
    reader.error(
      place,
      "missing-field",
      "rules is empty, expected http",
      "add http rules, or remove rules to allow the ports as they are",
    );
  if (http === undefined) return undefined;
  if (http.length === 0) {
    reader.warn(
      at(place, "http"),
      "fails-open",
      "http is an empty list, which counts as no HTTP rules: every request on these ports is allowed",
      "list the requests that are allowed; to let all pass, but through the proxy, write http: [{}]",
    );
    return undefined;
  }
  return { protocol: "http", rules: parseHttpRules(reader, http, at(place, "http")) };
}

function parsePort(reader: Reader, value: unknown, path: string, hasHttp: boolean): PortMatch[] {
  const fields = reader.object(value, path, "port");
  if (fields === undefined) return [];
  const protocols = parseProtocol(reader, fields, path);
  if (protocols === undefined) return [];
  const written = typeof fields.protocol === "string" ? fields.protocol : "ANY";
  if (hasHttp && written.toUpperCase() !== "TCP")
    reader.error(
      fields.protocol === undefined ? path : at(path, "protocol"),
      "conflict",
      `L7 rules can only apply to TCP (not ${written})`,
      "write protocol: TCP",
    );
  const port = parsePortNumber(reader, fields, path);
  if (port === undefined) return [];
  const endPort = parseEndPort(reader, fields, path, port);
  if (hasHttp && port === 0) {
    reader.error(
      at(path, "port"),
      "conflict",
      "L7 rules can not be used when a port is 0",
      "name the ports on which HTTP is spoken",
    );
    return [];
  }
  return protocols.map((protocol): PortMatch => {
    if (typeof port === "string") return { kind: "named", protocol, name: port, path };
    if (port === 0) return { kind: "protocol", protocol, path };
    return { kind: "ports", protocol, first: port, last: endPort ?? port, path };
  });
}

function parseProtocol(reader: Reader, fields: Fields, path: string): readonly number[] | undefined {
  const text = reader.string(fields, path, "protocol");
  if (text === undefined) return fields.protocol === undefined || fields.protocol === null ? transports.ANY : undefined;
  const name = text === "" ? "ANY" : text.toUpperCase();
  const place = at(path, "protocol");
  const known = Object.hasOwn(transports, name) ? transports[name] : undefined;
  if (known !== undefined) return known;
  if (name === "ICMP" || name === "ICMPV6") {
    const family = name === "ICMP" ? "IPv4" : "IPv6";
    reader.error(
      place,
      "invalid-value",
      `${show(text)} has no ports`,
      `use icmps: [{fields: [{family: ${family}, type: EchoRequest}]}]`,
    );
  } else if (otherProtocols.includes(name)) {
    reader.error(
      place,
      "unsupported-field",
      `protocol ${show(text)} is known to Cilium, but not enforced by this version: refusing rather than failing open`,
      "TCP, UDP, SCTP and ICMP can be told apart",
    );
  } else {
    const near = nearest(name, Object.keys(transports));
    reader.error(
      place,
      "invalid-value",
      `invalid protocol ${show(text)}, must be { tcp | udp | sctp | any }`,
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

function parseIcmp(reader: Reader, value: unknown, path: string): PortList | undefined {
  const fields = reader.object(value, path, "icmp");
  if (fields === undefined) return undefined;
  const items = reader.list(fields, path, "fields") ?? [];
  tooMany(reader, items, at(path, "fields"), "types");
  if (items.length === 0)
    reader.warn(
      path,
      "matches-no-port",
      "this item of icmps lists no fields: it matches no packet at all",
      "list types under fields",
    );
  return { matches: items.flatMap((item, i) => parseIcmpField(reader, item, `${at(path, "fields")}[${i}]`)) };
}

function parseIcmpField(reader: Reader, value: unknown, path: string): PortMatch[] {
  const fields = reader.object(value, path, "icmpField");
  if (fields === undefined) return [];
  const family = reader.string(fields, path, "family") ?? "IPv4";
  if (family !== "IPv4" && family !== "IPv6") {
    const near = /6$/.test(family) ? "IPv6" : "IPv4";
    reader.error(at(path, "family"), "invalid-value", `wrong family: ${show(family)}`, `write ${near}`);
    return [];
  }
  const protocol = family === "IPv4" ? protocolNumbers.ICMP : protocolNumbers.ICMPV6;
  const names = family === "IPv4" ? icmpTypes : icmpv6Types;
  const place = at(path, "type");
  const type = reader.field(fields, path, "type");
  if (type === undefined) {
    reader.error(path, "missing-field", "the ICMP type is missing", "add type: 8, or type: EchoRequest");
    return [];
  }
  const number =
    typeof type === "string" && !/^\d+$/.test(type)
      ? Object.hasOwn(names, type)
        ? names[type]
        : undefined
      : Number(type);
  if (number === undefined && typeof type === "string") {
    const other = family === "IPv4" ? icmpv6Types : icmpTypes;
    const near = nearest(type, Object.keys(names));
    const hint = Object.hasOwn(other, type)
      ? `the other family has it: family: ${family === "IPv4" ? "IPv6" : "IPv4"}`
      : near === undefined
        ? `known names: ${Object.keys(names).slice(0, 5).join(", ")}...; or the number`
        : `write ${near}`;
    reader.error(place, "invalid-value", `ICMP type ${show(type)} not found in ${family}`, hint);
    return [];
  }
  const valid = typeof type === "number" || typeof type === "string";
  if (!valid || number === undefined || !Number.isInteger(number) || number < 0 || number > 255) {
    reader.error(place, "invalid-value", `found ${show(type)}, expected a type from 0 to 255 or its name`);
    return [];
  }
  return [{ kind: "icmp", protocol, type: number, path }];
}

function tooMany(reader: Reader, items: readonly unknown[], path: string, what: string): void {
  if (items.length > maxItems)
    reader.error(
      path,
      "too-many",
      `too many ${what}, the max is ${maxItems}; found ${items.length}`,
      "split them over several items, or use endPort",
    );
}
