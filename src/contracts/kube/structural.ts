/**
 * Checks a value against a structural schema. One walk finds unknown fields, wrong types and broken constraints, and yields the
 * value without unknown fields and with defaults. Interpreted, not compiled: there is no start-up cost and no generated code.
 */
import { parseAddress, parsePrefix } from "#core/model";
import { nearestName } from "./nearest.ts";
import type { Schema } from "./schema.ts";

/** Something wrong with an object, at a place in it. */
export interface SchemaProblem {
  /** Path such as `spec.ingress[0].toPorts[0].ports[0].port`. */
  readonly path: string;
  /** Kubernetes' reason of the cause. */
  readonly code:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueTypeInvalid"
    | "FieldValueNotSupported"
    | "FieldValueTooLong"
    | "FieldValueTooMany";
  /** What was found and what was expected, without the path. */
  readonly message: string;
  readonly hint?: string;
}

/** A field that the schema does not know. */
export interface UnknownField {
  readonly path: string;
  /** The field that was probably meant. */
  readonly nearest?: string;
}

/** What the walk found. */
export interface Checked {
  /** The value without unknown fields and with defaults; the same object if nothing had to change. */
  readonly value: unknown;
  readonly problems: readonly SchemaProblem[];
  readonly unknownFields: readonly UnknownField[];
}

/** Deeper than any schema of ours; bounds recursion on hostile input. */
const maxDepth = 64;
const patterns = new Map<string, RegExp>();

function patternOf(source: string): RegExp {
  let pattern = patterns.get(source);
  if (pattern === undefined) {
    pattern = new RegExp(source, "u");
    patterns.set(source, pattern);
  }
  return pattern;
}

/** How to check. */
export interface CheckOptions {
  /** Where the value stands; "" (the default) for a whole object. */
  readonly path?: string;
  /** The value is a part of an object: nothing is required, and no defaults are filled in. */
  readonly partial?: boolean;
}

/** Checks `value` against `schema`. Never throws on bad values; finds all problems, not just the first. */
export function checkStructure(schema: Schema, value: unknown, options: CheckOptions = {}): Checked {
  const problems: SchemaProblem[] = [];
  const unknownFields: UnknownField[] = [];
  const walk = new Walk(problems, unknownFields, options.partial ?? false);
  const checked = walk.visit(schema, value, options.path ?? "", 0);
  return { value: checked, problems, unknownFields };
}

const join = (path: string, name: string) =>
  /^[A-Za-z0-9_-]+$/.test(name) ? (path === "" ? name : `${path}.${name}`) : `${path}[${name}]`;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

/** A value as shown in a message: short, and quoted if it is text. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

class Walk {
  readonly problems: SchemaProblem[];
  readonly unknownFields: UnknownField[];
  readonly partial: boolean;

  constructor(problems: SchemaProblem[], unknownFields: UnknownField[], partial: boolean) {
    this.problems = problems;
    this.unknownFields = unknownFields;
    this.partial = partial;
  }

  visit(schema: Schema, value: unknown, path: string, depth: number): unknown {
    if (depth > maxDepth) {
      this.invalid(path, "FieldValueInvalid", `nested more than ${maxDepth} levels deep`);
      return value;
    }
    if (schema["x-kubernetes-int-or-string"]) {
      const type = typeOf(value);
      if (type !== "integer" && type !== "string") this.wrongType(path, "integer or string", value);
      else if (schema.pattern !== undefined) this.checkPattern(schema, String(value), path);
      return value;
    }
    switch (schema.type) {
      case "object":
        return this.visitObject(schema, value, path, depth);
      case "array":
        return this.visitArray(schema, value, path, depth);
      case "string":
        if (typeof value !== "string") this.wrongType(path, "string", value);
        else this.checkString(schema, value, path);
        return value;
      case "integer":
      case "number":
        if (typeof value !== "number" || (schema.type === "integer" && !Number.isInteger(value))) {
          this.wrongType(path, schema.type, value);
        } else this.checkNumber(schema, value, path);
        return value;
      case "boolean":
        if (typeof value !== "boolean") this.wrongType(path, "boolean", value);
        return value;
      case undefined:
        return value;
    }
  }

  private visitObject(schema: Schema, value: unknown, path: string, depth: number): unknown {
    if (!isRecord(value)) {
      this.wrongType(path, "object", value);
      return value;
    }
    const { properties } = schema;
    const out: Record<string, unknown> = {};
    let changed = false;
    for (const [name, field] of Object.entries(value)) {
      const known =
        properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : schema.additionalProperties;
      const here = join(path, name);
      if (known === undefined) {
        if (schema["x-kubernetes-preserve-unknown-fields"]) setField(out, name, field);
        else {
          const nearest = nearestName(name, Object.keys(properties ?? {}));
          this.unknownFields.push(nearest === undefined ? { path: here } : { path: here, nearest });
          changed = true;
        }
      } else if (field === null) {
        // An explicit null is an absent field, as the structural schemas of Kubernetes have it.
        changed = true;
      } else {
        const checked = this.visit(known, field, here, depth + 1);
        if (checked !== field) changed = true;
        setField(out, name, checked);
      }
    }
    if (this.partial) return changed ? out : value;
    for (const [name, property] of Object.entries(properties ?? {})) {
      if (property.default !== undefined && !Object.hasOwn(out, name)) {
        out[name] = property.default;
        changed = true;
      }
    }
    this.checkFields(schema, out, path);
    return changed ? out : value;
  }

  private checkFields(schema: Schema, value: Readonly<Record<string, unknown>>, path: string): void {
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(value, name)) this.invalid(join(path, name), "FieldValueRequired", "Required value");
    }
    const present = (group: { readonly required: readonly string[] }) =>
      group.required.every((name) => Object.hasOwn(value, name));
    const words = (groups: readonly { readonly required: readonly string[] }[]) =>
      groups.map((group) => group.required.join("+")).join(", ");
    if (schema.oneOf !== undefined) {
      const found = schema.oneOf.filter(present);
      if (found.length === 0) {
        this.invalid(path, "FieldValueInvalid", `exactly one of ${words(schema.oneOf)} must be set; none is`);
      } else if (found.length > 1) {
        this.invalid(path, "FieldValueInvalid", `only one of ${words(schema.oneOf)} may be set; found ${words(found)}`);
      }
    }
    if (schema.anyOf !== undefined && !schema.anyOf.some(present)) {
      this.invalid(path, "FieldValueInvalid", `at least one of ${words(schema.anyOf)} must be set`);
    }
  }

  private visitArray(schema: Schema, value: unknown, path: string, depth: number): unknown {
    if (!Array.isArray(value)) {
      this.wrongType(path, "array", value);
      return value;
    }
    const { items, minItems, maxItems } = schema;
    if (maxItems !== undefined && value.length > maxItems) {
      this.invalid(path, "FieldValueTooMany", `Too many: ${value.length}: must have at most ${maxItems} items`);
    }
    if (minItems !== undefined && value.length < minItems) {
      this.invalid(path, "FieldValueInvalid", `has ${value.length} items; must have at least ${minItems}`);
    }
    if (items === undefined) return value;
    let changed = false;
    const out = value.map((item, index) => {
      const checked = this.visit(items, item, `${path}[${index}]`, depth + 1);
      if (checked !== item) changed = true;
      return checked;
    });
    return changed ? out : value;
  }

  private checkString(schema: Schema, value: string, path: string): void {
    const { enum: words, minLength, maxLength, format } = schema;
    if (words !== undefined && !words.includes(value)) {
      const nearest = nearestName(value, words);
      this.invalid(
        path,
        "FieldValueNotSupported",
        `Unsupported value: ${show(value)}: supported values: ${words.map((word) => JSON.stringify(word)).join(", ")}`,
        nearest === undefined ? undefined : `did you mean "${nearest}"?`,
      );
      return;
    }
    if (maxLength !== undefined && value.length > maxLength) {
      this.invalid(
        path,
        "FieldValueTooLong",
        `Too long: has ${value.length} characters; may have at most ${maxLength}`,
      );
      return; // The pattern of an over-long text is not worth the time it takes.
    }
    if (minLength !== undefined && value.length < minLength) {
      this.invalid(
        path,
        "FieldValueInvalid",
        `Invalid value: ${show(value)}: must have at least ${minLength} characters`,
      );
    }
    this.checkPattern(schema, value, path);
    if (format === "cidr" && parsePrefix(value) === undefined) {
      // A bare address is the usual slip, and has an obvious repair.
      const address = parseAddress(value);
      this.invalid(
        path,
        "FieldValueInvalid",
        `Invalid value: ${show(value)}: must be a prefix such as 10.0.0.0/8 or fd00::/8`,
        address === undefined ? undefined : `did you mean "${value}/${value.includes(":") ? 128 : 32}"?`,
      );
    } else if (format === "date-time" && !isTime(value)) {
      this.invalid(
        path,
        "FieldValueInvalid",
        `Invalid value: ${show(value)}: must be a time such as 2030-01-31T12:00:00Z`,
      );
    } else if (format === "byte" && !/^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/.test(value)) {
      this.invalid(path, "FieldValueInvalid", "Invalid value: must be base64");
    }
  }

  private checkPattern(schema: Schema, value: string, path: string): void {
    if (schema.pattern === undefined || patternOf(schema.pattern).test(value)) return;
    const why =
      schema.pattern.length > 100 ? (schema.description ?? "has a wrong form") : `must match ${schema.pattern}`;
    this.invalid(path, "FieldValueInvalid", `Invalid value: ${show(value)}: ${why}`);
  }

  private checkNumber(schema: Schema, value: number, path: string): void {
    const { minimum, maximum, format } = schema;
    if (minimum !== undefined && value < minimum) {
      this.invalid(path, "FieldValueInvalid", `Invalid value: ${value}: must be at least ${minimum}`);
    } else if (maximum !== undefined && value > maximum) {
      this.invalid(path, "FieldValueInvalid", `Invalid value: ${value}: must be at most ${maximum}`);
    } else if (format === "int32" && (value < -(2 ** 31) || value >= 2 ** 31)) {
      this.invalid(path, "FieldValueInvalid", `Invalid value: ${value}: must fit into 32 bits`);
    }
  }

  private wrongType(path: string, expected: string, value: unknown): void {
    const found = typeOf(value);
    const hint =
      expected === "string" && (found === "integer" || found === "boolean")
        ? `write it in quotes: "${value}"`
        : undefined;
    this.invalid(
      path,
      "FieldValueTypeInvalid",
      `Invalid value: ${show(value)}: must be ${expected}, is ${found}`,
      hint,
    );
  }

  private invalid(path: string, code: SchemaProblem["code"], message: string, hint?: string): void {
    this.problems.push(hint === undefined ? { path, code, message } : { path, code, message, hint });
  }
}

/** Sets an own property even if its name is `__proto__`. */
function setField(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  } else target[name] = value;
}

const isTime = (value: string) =>
  /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(value) && !Number.isNaN(Date.parse(value));
