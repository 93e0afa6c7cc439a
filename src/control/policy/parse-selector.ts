/** Label selectors of Cilium and Kubernetes -> requirements. */
import { parseLabelKey } from "#core/model";
import { parseHttpRules } from "./parse-http.ts";
import { parsePorts } from "./parse-ports.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { Requirement } from "./selector.ts";

const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const labelKey = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const sources = ["any", "k8s", "reserved", "gen", "cni", "cidr", "cidrgroup", "node", "fqdn", "directory", "unspec"];
const operators = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** How keys of a selector become (source, key). */
export type KeyMapping = (key: string) => { readonly source: string; readonly key: string };

/** Cilium's: `source:key`, without a source any. */
export const ciliumKey: KeyMapping = (key) => parseLabelKey(key, "any");

/** Reads a selector; undefined only if it is no map at all. What is wrong inside is noted and left out. */
export function parseSelector(
  reader: Reader,
  value: unknown,
  path: string,
  mapKey: KeyMapping,
): Requirement[] | undefined {
  const fields = reader.object(value, path, "selector");
  if (fields === undefined) return undefined;
  readMisplaced(reader, fields, path);
  const out: Requirement[] = [];
  if (fields.matchLabels === null) {
    const others = Array.isArray(fields.matchExpressions) && fields.matchExpressions.length > 0;
    if (!others)
      reader.warn(
        at(path, "matchLabels"),
        "selects-everything",
        "matchLabels is null, which counts as no labels at all: the selector selects everything",
        "indent the labels under matchLabels, or write {} if everything is meant",
      );
  } else if (fields.matchLabels !== undefined) {
    readLabels(reader, fields.matchLabels, at(path, "matchLabels"), mapKey, out);
  }
  for (const [i, item] of (reader.list(fields, path, "matchExpressions") ?? []).entries())
    readExpression(reader, item, `${at(path, "matchExpressions")}[${i}]`, mapKey, out);
  return out;
}

/** A flattened manifest has ports and requests inside the selector: say what is wrong in there, too, not only that it is misplaced. */
function readMisplaced(reader: Reader, fields: Fields, path: string): void {
  if (Array.isArray(fields.toPorts))
    parsePorts(reader, { toPorts: fields.toPorts }, path, { action: "allow", direction: "egress", ofNodes: false });
  if (Array.isArray(fields.http) && fields.http.length > 0) parseHttpRules(reader, fields.http, at(path, "http"));
}

function readLabels(reader: Reader, value: unknown, path: string, mapKey: KeyMapping, out: Requirement[]): void {
  const labels = reader.map(value, path);
  for (const [key, text] of Object.entries(labels ?? {})) {
    const place = at(path, key);
    if (!checkKey(reader, key, place, mapKey)) continue;
    if (typeof text !== "string") {
      reader.notString(text, place);
      continue;
    }
    if (!checkValue(reader, text, place)) continue;
    out.push({ ...mapKey(key), operator: "In", values: [text], path: place });
  }
}

function readExpression(reader: Reader, value: unknown, path: string, mapKey: KeyMapping, out: Requirement[]): void {
  const fields: Fields | undefined = reader.object(value, path, "expression");
  if (fields === undefined) return;
  const key = reader.string(fields, path, "key");
  const operator = operators.find((name) => name === fields.operator);
  if (key === undefined && (fields.key === undefined || fields.key === null))
    reader.error(path, "missing-field", "the expression has no key", "name the label that it is about: key: app");
  if (operator === undefined) {
    const near = operators.find(
      (name) => typeof fields.operator === "string" && name.toLowerCase() === fields.operator.toLowerCase(),
    );
    if (fields.operator === undefined || fields.operator === null)
      reader.error(path, "missing-field", "the expression has no operator", `one of ${operators.join(", ")}`);
    else
      reader.error(
        at(path, "operator"),
        "invalid-value",
        `found ${show(fields.operator)}, expected one of ${operators.join(", ")}`,
        near === undefined ? "" : `write "${near}"`,
      );
  }
  const values: string[] = [];
  for (const [i, text] of (reader.list(fields, path, "values") ?? []).entries()) {
    const place = `${at(path, "values")}[${i}]`;
    if (typeof text !== "string") reader.notString(text, place);
    else if (checkValue(reader, text, place)) values.push(text);
  }
  const given = Array.isArray(fields.values) ? fields.values.length : 0;
  if ((operator === "In" || operator === "NotIn") && given === 0) {
    reader.error(path, "missing-field", `${operator} needs at least one value`, "list them under values");
    return;
  }
  if ((operator === "Exists" || operator === "DoesNotExist") && given > 0) {
    reader.error(at(path, "values"), "invalid-value", `${operator} takes no values`, "remove them, or use In or NotIn");
    return;
  }
  if (key === undefined || operator === undefined || !checkKey(reader, key, at(path, "key"), mapKey)) return;
  // A list whose values were all refused must not become "in nothing": the object is refused anyhow.
  if (values.length === given) out.push({ ...mapKey(key), operator, values, path });
}

function checkKey(reader: Reader, key: string, path: string, mapKey: KeyMapping): boolean {
  const { source, key: name } = mapKey === ciliumKey ? parseLabelKey(key, "any") : { source: "any", key };
  if (!sources.includes(source)) {
    const hint = `sources are ${sources.slice(0, 4).join(", ")}...; a key without a source matches any`;
    reader.error(path, "invalid-value", `"${source}" is no source of labels`, hint, "key");
    return false;
  }
  const base = name.includes("/") ? name.slice(name.lastIndexOf("/") + 1) : name;
  const plain = source === "any" || source === "k8s";
  if (name !== "" && (!plain || (labelKey.test(name) && base.length <= 63 && name.length <= 317))) return true;
  reader.error(
    path,
    "invalid-value",
    `${show(key)} is not a label key`,
    "letters, digits, '-', '_' and '.', at most 63, with an optional DNS prefix before a slash",
    "key",
  );
  return false;
}

function checkValue(reader: Reader, value: string, path: string): boolean {
  if (value.length <= 63 && labelValue.test(value)) return true;
  const found = value.length > 63 ? `a label value of ${value.length} characters` : `${show(value)}`;
  reader.error(
    path,
    "invalid-value",
    `found ${found}, expected a label value`,
    "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
  );
  return false;
}
