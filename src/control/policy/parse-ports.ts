/** The ports of a statement: toPorts with what is judged on them, and icmps. */
import { parseIcmp } from "./parse-icmp.ts";
import { parseL7 } from "./parse-l7.ts";
import { type JudgedBy, type PortScope, parsePort, tooMany } from "./parse-port.ts";
import { parseListener, parseTls } from "./parse-tls.ts";
import { at, type Fields, isGiven, type Reader } from "./reader.ts";
import type { PortList } from "./rule.ts";

/** Reads toPorts and icmps. "any" if they set no limit. */
export function parsePorts(
  reader: Reader,
  fields: Fields,
  path: string,
  scope: PortScope,
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
    const list = parsePortList(reader, item, `${at(path, "toPorts")}[${i}]`, scope);
    if (list !== undefined) lists.push(list);
  }
  for (const [i, item] of (icmps ?? []).entries()) {
    const list = parseIcmp(reader, item, `${at(path, "icmps")}[${i}]`);
    if (list !== undefined) lists.push(list);
  }
  const limited = (toPorts?.length ?? 0) + (icmps?.length ?? 0) > 0;
  return limited ? lists : "any";
}

function parsePortList(reader: Reader, value: unknown, path: string, scope: PortScope): PortList | undefined {
  const fields = reader.object(value, path, "portRule");
  if (fields === undefined) return undefined;
  const ports = reader.list(fields, path, "ports") ?? [];
  const judgedBy = judgesBy(fields);
  if (ports.length === 0 && judgedBy === "dns")
    reader.error(
      path,
      "missing-field",
      "port 53 must be specified for DNS rules",
      'add ports: [{port: "53", protocol: ANY}]',
    );
  else if (ports.length === 0)
    reader.warn(
      path,
      "matches-no-port",
      "this item of toPorts lists no ports: it matches no packet at all",
      'list ports, e.g. ports: [{port: "80", protocol: TCP}]; for every port remove toPorts',
    );
  tooMany(reader, ports, at(path, "ports"), "ports");
  const matches = ports.flatMap((item, i) => parsePort(reader, item, `${at(path, "ports")}[${i}]`, judgedBy));
  if (scope.action === "deny") {
    for (const key of ["rules", ...tlsFields, "listener"] as const)
      if (isGiven(fields[key])) refuseInDeny(reader, path, key);
    return { path, matches };
  }
  const l7 = parseL7(reader, fields, path, scope);
  const tls = parseTls(reader, fields, path, l7 !== undefined);
  const listener = parseListener(reader, fields, path, scope.direction, l7 !== undefined);
  return {
    path,
    matches,
    ...(l7 === undefined ? {} : { l7 }),
    ...(tls === undefined ? {} : { tls }),
    ...(listener === undefined ? {} : { listener }),
  };
}

const tlsFields = ["serverNames", "terminatingTLS", "originatingTLS"] as const;

function refuseInDeny(reader: Reader, path: string, key: string): void {
  const what = key === "rules" ? "L7 rules" : key;
  reader.error(
    at(path, key),
    "conflict",
    `deny rules cannot carry ${what}`,
    "deny the whole port, or allow only what is wanted",
    "key",
  );
}

/** What stands there, whether or not it can be read. */
function judgesBy(fields: Fields): JudgedBy {
  const { rules } = fields;
  const given = (key: string) => {
    const value = (rules as Fields | null | undefined)?.[key];
    return Array.isArray(value) ? value.length > 0 : isGiven(value);
  };
  if (typeof rules === "object" && rules !== null) {
    if (given("dns")) return "dns";
    if (["http", "kafka", "l7", "tsilium"].some(given)) return "requests";
  }
  return tlsFields.some((key) => isGiven(fields[key])) ? "tls" : undefined;
}
