/**
 * Structural schemas: the subset of OpenAPI v3 that Kubernetes uses to describe objects. One value serves validation, defaults,
 * strategic merge, server-side apply, `kubectl explain` and the documents under /openapi.
 */

/** A structural schema. `x-kubernetes-*` are the extensions that steer merging and int-or-string. */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly enum?: readonly string[];
  /** Must be linear for V8: it is applied to what users write. */
  readonly pattern?: string;
  readonly format?: "cidr" | "date-time" | "int32" | "int64" | "byte" | "ip";
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly default?: unknown;
  /** Only `{required: [...]}` inside: exactly one / at least one of the groups must be present. */
  readonly oneOf?: readonly { readonly required: readonly string[] }[];
  readonly anyOf?: readonly { readonly required: readonly string[] }[];
  readonly "x-kubernetes-int-or-string"?: true;
  readonly "x-kubernetes-preserve-unknown-fields"?: true;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: "atomic" | "granular";
  readonly "x-kubernetes-patch-strategy"?: "merge" | "replace";
  readonly "x-kubernetes-patch-merge-key"?: string;
}

/** A schema that OpenAPI documents hold once, under a name. */
export interface NamedSchema {
  readonly name: string;
  /** The schema with its own description, where a copy of it stands under another. */
  readonly schema: Schema;
}

const names = new WeakMap<Schema, NamedSchema>();

/** Gives a schema the name under which OpenAPI documents hold it once and refer to it. */
export function named(name: string, schema: Schema): Schema {
  names.set(schema, { name, schema });
  return schema;
}

/** The name given by `named`, also for copies made by `describe`; undefined if the schema has none. */
export const namedSchema = (schema: Schema): NamedSchema | undefined => names.get(schema);

// Short constructors, so that a schema reads like the object it describes.

/** Text. */
export const string = (description: string, more: Schema = {}): Schema => ({ type: "string", description, ...more });
/** One of a few words. */
export const oneOfWords = (description: string, words: readonly string[], more: Schema = {}): Schema => ({
  type: "string",
  description,
  enum: words,
  ...more,
});
/** A whole number. */
export const integer = (description: string, more: Schema = {}): Schema => ({ type: "integer", description, ...more });
/** true or false. */
export const boolean = (description: string, more: Schema = {}): Schema => ({ type: "boolean", description, ...more });
/** RFC 3339 time. */
export const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
/** A list; atomic unless told otherwise. */
export const list = (description: string, items: Schema, more: Schema = {}): Schema => ({
  type: "array",
  description,
  items,
  ...more,
});
/** A list whose items are told apart by keys, merged item by item. */
export const listByKey = (description: string, keys: readonly string[], items: Schema): Schema => ({
  type: "array",
  description,
  items,
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": keys,
  "x-kubernetes-patch-strategy": "merge",
  "x-kubernetes-patch-merge-key": keys[0]!,
});
/** A list without order or duplicates, merged by value. */
export const listAsSet = (description: string, items: Schema): Schema => ({
  type: "array",
  description,
  items,
  "x-kubernetes-list-type": "set",
  "x-kubernetes-patch-strategy": "merge",
});
/** A map from any key to values of one shape. */
export const mapOf = (description: string, values: Schema, more: Schema = {}): Schema => ({
  type: "object",
  description,
  additionalProperties: values,
  ...more,
});
/** A record of known fields; `required` names those that must be there. */
export const record = (
  description: string,
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
  more: Schema = {},
): Schema => ({
  type: "object",
  description,
  properties,
  ...(required.length > 0 ? { required } : {}),
  ...more,
});
/** An object whose inside is stored as it comes: valid Kubernetes, of no concern to networking. */
export const opaque = (description: string): Schema => ({
  type: "object",
  description,
  "x-kubernetes-preserve-unknown-fields": true,
});
/** A number or text: ports, quantities. */
export const intOrString = (description: string, more: Schema = {}): Schema => ({
  description,
  "x-kubernetes-int-or-string": true,
  ...more,
});
/** The same schema under another description. */
export const describe = (description: string, schema: Schema): Schema => {
  const copy = { ...schema, description };
  const original = namedSchema(schema);
  if (original !== undefined) names.set(copy, original);
  return copy;
};
