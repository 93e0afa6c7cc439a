/** Reads untyped values and notes everything that is wrong with them, each at its path. */
import type { Problem, Severity } from "#contracts/manifest";
import { homesOf, type Language, nearestField, type Shape, type ShapeName, shapes } from "./fields.ts";

/** A plain object from outside. */
export type Fields = Readonly<Record<string, unknown>>;

/** What reading may ask of its surroundings. */
export interface ParseOptions {
  /** This cluster's name; "default". */
  readonly clusterName?: string;
  /** Checks an RE2 regex: what is wrong with it, or undefined. Without it regexes are taken as they are. */
  readonly compileRegex?: (pattern: string) => string | undefined;
}

/** `path` with one more key or index. */
export function at(path: string, step: string | number): string {
  if (typeof step === "number") return `${path}[${step}]`;
  if (!/^[A-Za-z_][\w-]*$/.test(step)) return `${path}["${step.replaceAll(/["\\]/g, "\\$&")}"]`;
  return path === "" ? step : `${path}.${step}`;
}

/** A value for a message: its text if short, otherwise what it is. */
export function show(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object") return Object.keys(value).length === 0 ? "an empty map" : "a map";
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  return `${typeof value === "boolean" ? "the boolean" : "the number"} ${String(value)}`;
}

/** Each item that can be read, with its place. */
export function placed<T extends object>(
  items: readonly unknown[],
  path: string,
  parse: (item: unknown, path: string) => T | undefined,
): (T & { readonly place: string })[] {
  return items.flatMap((item, i) => {
    const place = `${path}[${i}]`;
    const read = parse(item, place);
    return read === undefined ? [] : [{ ...read, place }];
  });
}

/** Whether a field has a value: null counts as absent. */
export function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** Collects problems while values are taken apart. */
export class Reader {
  readonly problems: Problem[] = [];
  readonly clusterName: string;
  readonly compileRegex: (pattern: string) => string | undefined;
  readonly language: Language;

  constructor(language: Language, options: ParseOptions) {
    this.language = language;
    this.clusterName = options.clusterName ?? "default";
    this.compileRegex = options.compileRegex ?? (() => undefined);
  }

  note(severity: Severity, path: string, code: string, message: string, hint = "", where?: "key"): void {
    this.problems.push({ path, code, severity, message, hint, ...(where === undefined ? {} : { at: where }) });
  }

  error(path: string, code: string, message: string, hint = "", where?: "key"): void {
    this.note("error", path, code, message, hint, where);
  }

  warn(path: string, code: string, message: string, hint = ""): void {
    this.note("warning", path, code, message, hint);
  }

  /** A map of this shape, its unknown and refused keys reported; undefined (and a problem) if it is none. */
  object(value: unknown, path: string, name: ShapeName): Fields | undefined {
    const fields = this.map(value, path);
    if (fields === undefined) return undefined;
    const of: Shape = shapes[name];
    for (const key of Object.keys(fields)) {
      const status = Object.hasOwn(of.fields, key) ? of.fields[key] : undefined;
      if (status === undefined) this.unknownField(at(path, key), key, fields[key], of);
      else if (status === "refused" && isGiven(fields[key]) && !isEmptyList(fields[key]))
        this.refuse(at(path, key), key);
    }
    return fields;
  }

  /** A map with any keys. */
  map(value: unknown, path: string): Fields | undefined {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
    this.error(path, "wrong-type", `found ${show(value)}, expected a map`);
    return undefined;
  }

  /** The field's list; undefined if the field is absent (null counts as absent, with a warning) or no list. */
  list(fields: Fields, path: string, key: string): readonly unknown[] | undefined {
    const value = this.field(fields, path, key);
    if (value === undefined) return undefined;
    if (Array.isArray(value)) return value;
    const hint =
      typeof value === "object" ? `put "- " before the first line: each item of ${key} starts with a dash` : "";
    this.error(at(path, key), "wrong-type", `found ${show(value)}, expected a list`, hint);
    return undefined;
  }

  /** The field's string; a number or boolean is refused with the advice to quote it. */
  string(fields: Fields, path: string, key: string): string | undefined {
    const value = this.field(fields, path, key);
    if (value === undefined || typeof value === "string") return value;
    this.notString(value, at(path, key));
    return undefined;
  }

  notString(value: unknown, path: string): void {
    const scalar = typeof value === "number" || typeof value === "boolean";
    const hint = scalar ? `put it in quotes: "${String(value)}"` : "";
    this.error(path, "wrong-type", `found ${show(value)}, expected a string`, hint);
  }

  boolean(fields: Fields, path: string, key: string): boolean | undefined {
    const value = this.field(fields, path, key);
    if (value === undefined || typeof value === "boolean") return value;
    this.error(at(path, key), "wrong-type", `found ${show(value)}, expected true or false`);
    return undefined;
  }

  /** The field's value; null counts as absent, as the API server drops it, and is worth a warning. */
  field(fields: Fields, path: string, key: string): unknown {
    const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (value !== null) return value;
    this.warn(
      at(path, key),
      "null-field",
      `${key} is null, which means the same as leaving it out`,
      `give it a value or remove it`,
    );
    return undefined;
  }

  private unknownField(path: string, key: string, value: unknown, of: Shape): void {
    if (of === shapes.selector && (typeof value === "string" || value === null) && this.isLabelKey(key)) {
      const hint = `labels belong under matchLabels: matchLabels: {${key}: ${typeof value === "string" ? value : '""'}}`;
      this.error(path, "misplaced-field", `"${key}" is not a field of a selector; it looks like a label`, hint, "key");
      return;
    }
    const places = homesOf(key, this.language);
    if (places.length > 0) {
      this.error(
        path,
        "misplaced-field",
        `"${key}" is known, but not in ${of.name}`,
        `it belongs in ${places.join(" or ")}: check the indentation`,
        "key",
      );
      return;
    }
    const near = nearestField(key, of);
    const known = Object.keys(of.fields).filter((field) => of.fields[field] === "read");
    this.error(
      path,
      "unknown-field",
      `${of.name} has no field "${key}"${near === undefined ? "" : `; nearest known: "${near}"`}`,
      near === undefined ? `known here: ${known.join(", ")}` : `write "${near}"`,
      "key",
    );
  }

  /** Keys with a dot, slash or source are labels for sure; so is whatever no part of a policy is called. */
  private isLabelKey(key: string): boolean {
    if (/[./:]/.test(key)) return true;
    return homesOf(key, this.language).length === 0 && nearestField(key, shapes.selector) === undefined;
  }

  /** A field that Cilium had once: nobody enforces it any more, so accepting it would fail open. */
  refuse(path: string, key: string): void {
    const { message, hint } = removedFields[key]!;
    this.error(path, "removed-field", message, hint, "key");
  }
}

/** Empty lists of fields that only must not be used do no harm. */
function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

const removed = (field: string, selectors: string) => ({
  message: `"${field}" was removed in Cilium 1.19: no version since enforces it`,
  hint: `add the labels to every selector of ${selectors} instead`,
});
const removedFields: Readonly<Record<string, { readonly message: string; readonly hint: string }>> = {
  fromRequires: removed("fromRequires", "fromEndpoints"),
  toRequires: removed("toRequires", "toEndpoints"),
};
