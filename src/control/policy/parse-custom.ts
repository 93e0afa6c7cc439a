/** Rules for parsers from outside: keys and values, whose meaning is their parser's. */
import { at, type Fields, placed, type Reader } from "./reader.ts";
import type { L7Rules, Placed } from "./rule.ts";

/** `{parser, rules}`. */
export function parseCustom(reader: Reader, value: unknown, path: string): L7Rules | undefined {
  const fields = reader.object(value, path, "custom");
  if (fields === undefined) return undefined;
  const parser = reader.string(fields, path, "parser");
  if (!parser)
    reader.error(path, "missing-field", "the rules need parser: the name of their parser", "add parser: ...");
  const items = reader.list(fields, path, "rules") ?? [];
  if (items.length === 0)
    reader.error(path, "missing-field", "rules lists nothing", "list what is allowed; all is rules: [{}]");
  const rules = parseCustomRules(reader, items, at(path, "rules"));
  return parser && rules.length > 0 ? { protocol: "custom", parser, rules } : undefined;
}

/** `l7proto` and `l7`, as Cilium had them up to 1.19: a parser by name, rules of keys and values. */
export function parseGenericRules(
  reader: Reader,
  fields: Fields,
  path: string,
  items: readonly unknown[],
): L7Rules | undefined {
  const parser = reader.string(fields, path, "l7proto");
  if (!parser)
    reader.error(path, "missing-field", "l7 rules need l7proto: the name of their parser", "add l7proto: ...");
  const rules = parseCustomRules(reader, items, at(path, "l7"));
  return parser ? { protocol: "custom", parser, rules } : undefined;
}

function parseCustomRules(
  reader: Reader,
  items: readonly unknown[],
  path: string,
): (Placed & { match: Readonly<Record<string, string>> })[] {
  return placed(items, path, (item, place) => {
    const fields = reader.map(item, place);
    if (fields === undefined) return undefined;
    const texts = Object.keys(fields).map((key) => [key, reader.string(fields, place, key)] as const);
    return { match: Object.fromEntries(texts.filter((pair): pair is [string, string] => pair[1] !== undefined)) };
  });
}
