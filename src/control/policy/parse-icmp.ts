/** ICMP messages: `icmps`. */
import { protocolNumbers } from "#core/model";
import { nearest } from "./fields.ts";
import { icmpTypes, icmpv6Types } from "./icmp-types.ts";
import { tooMany } from "./parse-port.ts";
import { at, type Reader, show } from "./reader.ts";
import type { PortList, PortMatch } from "./rule.ts";

/** One item of icmps. */
export function parseIcmp(reader: Reader, value: unknown, path: string): PortList | undefined {
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
  return { path, matches: items.flatMap((item, i) => parseIcmpField(reader, item, `${at(path, "fields")}[${i}]`)) };
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
