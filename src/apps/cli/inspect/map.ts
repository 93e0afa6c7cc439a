/** `tsilium map`: what the kernel really holds, decoded. */
import type { MapDump, MapSummary } from "#contracts/agent";
import { ExitCode } from "../exit-codes.ts";
import { type Column, formatTable, type ListFormat, note, print, printList, printStructured } from "../output.ts";
import { withAgent } from "./endpoint.ts";

const columns: readonly Column<MapSummary>[] = [
  { title: "NAME", cell: ({ name }) => name },
  { title: "TYPE", cell: ({ type }) => type },
  { title: "KEY", cell: ({ keyBytes }) => `${keyBytes} B` },
  { title: "VALUE", cell: ({ valueBytes }) => `${valueBytes} B` },
  { title: "CAPACITY", cell: ({ capacity }) => String(capacity) },
];

/** `map list`. */
export function listMaps(flags: { readonly output: ListFormat }): Promise<number> {
  return withAgent(async (client) => {
    await printList(flags.output, columns, await client.maps(), { none: "no map" });
    return ExitCode.ok;
  });
}

/** `map show`: every entry of one map. */
export function showMap(name: string, flags: { readonly output: ListFormat }): Promise<number> {
  return withAgent(async (client) => {
    const dump = await client.map(name);
    if (flags.output === "json" || flags.output === "yaml") await printStructured(flags.output, dump);
    else if (dump.entries.length === 0) note(`map ${name} is empty`);
    else print(formatDump(dump));
    if (dump.truncated) note(`only the first ${dump.entries.length} entries are shown`);
    return ExitCode.ok;
  });
}

/** A table with a column for each field of keys and values, in the order in which they appear. */
export function formatDump({ entries }: MapDump): string {
  const rows = entries.map(({ key, value }) => ({ key: flatten(key, "key"), value: flatten(value, "value") }));
  const titles = (part: "key" | "value") => [...new Set(rows.flatMap((row) => [...row[part].keys()]))];
  const columnsOf = (part: "key" | "value"): Column<(typeof rows)[number]>[] =>
    titles(part).map((title) => ({
      title: title.replaceAll(/(?<=[a-z])(?=[A-Z])/g, "-").toUpperCase(),
      cell: (row) => row[part].get(title) ?? "",
    }));
  return formatTable([...columnsOf("key"), ...columnsOf("value")], rows);
}

/** `{a: 1, b: {c: 2}}` -> a: 1, b.c: 2. A value without fields stands under the name it is given. */
function flatten(value: unknown, name: string): Map<string, string> {
  const out = new Map<string, string>();
  const add = (part: unknown, path: string): void => {
    if (typeof part === "object" && part !== null && !Array.isArray(part)) {
      for (const [key, inner] of Object.entries(part)) add(inner, path === "" ? key : `${path}.${key}`);
    } else {
      out.set(path === "" ? name : path, Array.isArray(part) ? part.map(String).join(" ") : String(part));
    }
  };
  add(value, "");
  return out;
}
