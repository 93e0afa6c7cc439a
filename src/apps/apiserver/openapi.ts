/** OpenAPI v3 documents, one per group and version: kubectl reads them to validate, explain and merge. Made when first asked for. */
import { createHash } from "node:crypto";
import { namedSchema, type Resource, type Schema } from "#contracts/kube";
import { kubernetesVersion, servedRoots } from "./discovery.ts";

/** The index, or the document of a root, as JSON text; undefined if the path is none. */
export function openapiDocument(path: string): string | undefined {
  if (path === "/openapi/v3" || path === "/openapi/v3/") {
    const paths = servedRoots.map(({ root }) => [
      root,
      {
        serverRelativeURL: `/openapi/v3/${root}?hash=${createHash("sha256").update(documentOf(root)!).digest("hex").toUpperCase()}`,
      },
    ]);
    return JSON.stringify({ paths: Object.fromEntries(paths) });
  }
  return path.startsWith("/openapi/v3/") ? documentOf(path.slice("/openapi/v3/".length)) : undefined;
}

const cache = new Map<string, string>();

function documentOf(root: string): string | undefined {
  const served = servedRoots.find((each) => each.root === root);
  if (served === undefined) return undefined;
  let text = cache.get(root);
  if (text === undefined) {
    text = JSON.stringify(buildDocument(root, served.resources));
    cache.set(root, text);
  }
  return text;
}

function buildDocument(root: string, served: readonly Resource[]): object {
  const schemas: Record<string, object> = {};

  /** The schema as it stands in the document: named ones are held once and referred to. */
  function refer(schema: Schema): object {
    const original = namedSchema(schema);
    if (original === undefined) return inline(schema);
    const { name } = original;
    if (schemas[name] === undefined) {
      schemas[name] = {}; // Taken, in case it contains itself.
      schemas[name] = inline(original.schema);
    }
    const $ref = `#/components/schemas/${name}`;
    return schema === original.schema ? { $ref } : { description: schema.description, allOf: [{ $ref }] };
  }

  function inline({ properties, items, additionalProperties, ...rest }: Schema): object {
    return {
      ...rest,
      // OpenAPI has no such type: Kubernetes writes it as a choice, under a format of its own.
      ...(rest["x-kubernetes-int-or-string"] ? { oneOf: [{ type: "integer" }, { type: "string" }] } : {}),
      ...(properties === undefined
        ? {}
        : { properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, refer(field)])) }),
      ...(items === undefined ? {} : { items: refer(items) }),
      ...(additionalProperties === undefined ? {} : { additionalProperties: refer(additionalProperties) }),
    };
  }

  const paths: Record<string, object> = {};
  for (const resource of served) {
    const { group, version, kind, plural, namespaced } = resource;
    refer(resource.schema);
    const name = namedSchema(resource.schema)!.name;
    const gvk = { group, version, kind };
    schemas[name] = { ...schemas[name], "x-kubernetes-group-version-kind": [gvk] };
    const collection = `/${root}/${namespaced ? "namespaces/{namespace}/" : ""}${plural}`;
    paths[collection] = operations(resource, ["list", "post"], name);
    paths[`${collection}/{name}`] = operations(resource, ["get", "put", "patch", "delete"], name);
  }
  return {
    openapi: "3.0.0",
    info: { title: "tsilium", version: kubernetesVersion.gitVersion },
    paths,
    components: { schemas },
  };
}

const parameter = (name: string, place: "query" | "path", description: string) => ({
  name,
  in: place,
  description,
  schema: { type: "string", uniqueItems: true },
  ...(place === "path" ? { required: true } : {}),
});
const writeParameters = [
  parameter("dryRun", "query", "All: check and answer, but store nothing."),
  parameter("fieldManager", "query", "Who sets the fields."),
  parameter("fieldValidation", "query", "What to do about unknown fields: Strict, Warn or Ignore."),
];

/** Operations of a path. kubectl looks for `fieldValidation` on the PATCH of a kind to learn that the server validates. */
function operations(resource: Resource, names: readonly string[], schema: string): object {
  const { group, version, kind, namespaced, readOnly } = resource;
  const json = { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } };
  const answer = { responses: { 200: { description: "OK", content: json } } };
  const body = { requestBody: { required: true, content: json } };
  const gvk = { "x-kubernetes-group-version-kind": { group, version, kind } };
  const write = { parameters: writeParameters, ...answer, ...gvk };
  const known: Readonly<Record<string, readonly [string, object]>> = {
    list: ["get", { "x-kubernetes-action": "list", ...answer, ...gvk }],
    get: ["get", { "x-kubernetes-action": "get", ...answer, ...gvk }],
    post: ["post", { "x-kubernetes-action": "post", ...body, ...write }],
    put: ["put", { "x-kubernetes-action": "put", ...body, ...write }],
    patch: ["patch", { "x-kubernetes-action": "patch", ...body, ...write }],
    delete: ["delete", { "x-kubernetes-action": "delete", parameters: [writeParameters[0]], ...answer, ...gvk }],
  };
  const served = names.filter((name) => !readOnly || name === "list" || name === "get").map((name) => known[name]!);
  const inPath = [
    ...(namespaced ? [parameter("namespace", "path", "Namespace of the object.")] : []),
    ...(names.includes("get") ? [parameter("name", "path", "Name of the object.")] : []),
  ];
  return { ...Object.fromEntries(served), ...(inPath.length > 0 ? { parameters: inPath } : {}) };
}
