/** Reading a request: what its path names, what its query asks, in which form the answer is wanted. */
import {
  type FieldQuery,
  type LabelQuery,
  type Parsed,
  parseFieldQuery,
  parseLabelQuery,
  type Resource,
} from "#contracts/kube";
import { findResource } from "./discovery.ts";
import { badRequest, Refusal } from "./status.ts";

/** What a path below /api and /apis names. */
export interface ResourcePath {
  readonly resource: Resource;
  /** undefined: all namespaces, or a cluster-wide kind. */
  readonly namespace: string | undefined;
  /** undefined: the collection. */
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** Parses `/api/v1/...` and `/apis/GROUP/VERSION/...`; undefined if nothing is served there. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  let segments: string[];
  try {
    segments = path.slice(1).split("/").map(decodeURIComponent);
  } catch {
    throw badRequest(`the path ${path} holds a wrong %-encoding`);
  }
  if (segments.some((segment) => segment === "" || /[/\0]/.test(segment))) return undefined;
  const [root, ...below] = segments;
  const [group, version, ...rest] = root === "api" ? ["", ...below] : root === "apis" ? below : [];
  if (group === undefined || version === undefined) return undefined;

  // `namespaces/x/pods` lies in a namespace; `namespaces/x` and `namespaces/x/status` are the namespace itself.
  const inNamespace =
    rest[0] === "namespaces" && rest.length >= 3 && findResource(group, version, rest[2]!)?.namespaced === true;
  const [plural, name, subresource, ...more] = inNamespace ? rest.slice(2) : rest;
  const resource = plural === undefined ? undefined : findResource(group, version, plural);
  if (resource === undefined || more.length > 0) return undefined;
  if (resource.namespaced && !inNamespace && name !== undefined) return undefined;
  return { resource, namespace: inNamespace ? rest[1] : undefined, name, subresource };
}

/** Which objects a list or watch is for. */
export interface Selection {
  readonly labels: LabelQuery;
  readonly fields: FieldQuery;
}

/** Reads labelSelector and fieldSelector. */
export function parseSelection(resource: Resource, query: URLSearchParams, name: string | undefined): Selection {
  const fields = must(parseFieldQuery(query.get("fieldSelector") ?? "", resource.selectableFields));
  return {
    labels: must(parseLabelQuery(query.get("labelSelector") ?? "")),
    fields: name === undefined ? fields : [...fields, { path: "metadata.name", value: name, equal: true }],
  };
}

function must<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw badRequest(parsed.problem);
  return parsed.value;
}

/** A boolean of the query: absent, "0" and "false" are false. */
export function flag(query: URLSearchParams, name: string): boolean {
  const text = query.get(name);
  if (text === null || text === "0" || text === "false") return false;
  if (text === "" || text === "1" || text === "true") return true;
  throw badRequest(`the query parameter ${name} must be true or false, is ${JSON.stringify(text)}`);
}

/** A whole number of the query that is not negative; undefined if absent. */
export function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  if (!/^[0-9]{1,15}$/.test(text))
    throw badRequest(`the query parameter ${name} must be a whole number, is ${JSON.stringify(text)}`);
  return Number(text);
}

/** One of a few words of the query; undefined if absent. */
export function word<T extends string>(query: URLSearchParams, name: string, words: readonly T[]): T | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  const found = words.find((each) => each === text);
  if (found === undefined) {
    throw badRequest(`the query parameter ${name} must be one of ${words.join(", ")}, is ${JSON.stringify(text)}`);
  }
  return found;
}

/** The form in which objects are answered. */
export type AnswerForm = "object" | "table" | "partial" | "aggregated-discovery";

/** The first form of the Accept header that is served here. */
export function answerForm(accept: string | undefined): AnswerForm {
  if (accept === undefined || accept.trim() === "") return "object";
  for (const offer of accept.split(",")) {
    const [type, ...parameters] = offer.split(";").map((part) => part.trim().toLowerCase());
    if (type === "*/*" || type === "application/*") return "object";
    if (type !== "application/json") continue;
    const as = parameters.find((parameter) => parameter.startsWith("as="))?.slice(3);
    const version = parameters.find((parameter) => parameter.startsWith("v="))?.slice(2);
    if (as === undefined) return "object";
    if (as === "table" && version === "v1") return "table";
    if ((as === "partialobjectmetadata" || as === "partialobjectmetadatalist") && version === "v1") return "partial";
    if (as === "apigroupdiscoverylist" && version === "v2") return "aggregated-discovery";
  }
  throw new Refusal(
    406,
    "NotAcceptable",
    "only application/json is served, for objects also as Table (v1) or PartialObjectMetadata (v1)",
  );
}
