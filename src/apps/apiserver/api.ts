/** From a request to its answer: paths, rights, verbs. Knows nothing of sockets but the response that a watch writes on. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Resource, resources, type Status } from "#contracts/kube";
import { type Credentials, isAllowed, type Role, roleOf } from "./access.ts";
import { readBody } from "./bodies.ts";
import { type DeleteConditions, deleteObject } from "./deletion.ts";
import { discoveryDocument } from "./discovery.ts";
import { type Fields, isFields } from "./field-sets.ts";
import { createObject, type PatchForm, patchObject, updateObject } from "./objects.ts";
import { openapiDocument } from "./openapi.ts";
import {
  type ListRequest,
  listObjects,
  type ObjectSource,
  type Rendering,
  readObject,
  renderList,
  renderObject,
} from "./reading.ts";
import {
  answerForm,
  flag,
  parseResourcePath,
  parseSelection,
  type ResourcePath,
  wholeNumber,
  word,
} from "./requests.ts";
import { badRequest, forbidden, methodNotAllowed, noSuchPath, Refusal, unsupportedMediaType } from "./status.ts";
import type { Transaction } from "./store.ts";
import { serveWatch } from "./watching.ts";
import type { ObjectValidator, WriteRequest } from "./write-request.ts";

/** What requests are served from. */
export interface ApiContext extends ObjectSource {
  readonly credentials: Credentials;
  readonly validate: ObjectValidator;
  /** Fires when the server shuts down: watches end. */
  readonly stopping: AbortSignal;
}

/** An answer. */
export interface Answer {
  readonly httpStatus: number;
  readonly contentType: string;
  readonly text: string;
  readonly warnings: readonly string[];
}

const json = (httpStatus: number, text: string, warnings: readonly string[] = []): Answer => ({
  httpStatus,
  contentType: "application/json",
  text,
  warnings,
});

const healthPaths = new Set(["/healthz", "/livez", "/readyz"]);

/** Answers a request; undefined if it became a watch, which answers by itself. Throws a Refusal, or a TsiliumError of the store. */
export async function answerRequest(
  context: ApiContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Answer | undefined> {
  const method = request.method ?? "GET";
  const [path = "/", search = ""] = splitOnce(request.url ?? "/", "?");
  if (healthPaths.has(path) || [...healthPaths].some((health) => path.startsWith(`${health}/`))) {
    return { httpStatus: 200, contentType: "text/plain; charset=utf-8", text: "ok", warnings: [] };
  }
  const isReading = method === "GET" || method === "HEAD";
  if (path === "/version" && isReading) return json(200, JSON.stringify(discoveryDocument(path, false)));

  const role = roleOf(request.headers.authorization, context.credentials);
  if (role === undefined) throw new Refusal(401, "Unauthorized", "Unauthorized");
  if (isReading) {
    const aggregated = answerFormOf(request) === "aggregated-discovery";
    const document = discoveryDocument(path.replace(/(.)\/$/, "$1"), aggregated);
    if (document !== undefined) {
      const isList = aggregated && (document as { kind?: string }).kind === "APIGroupDiscoveryList";
      const contentType = isList
        ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        : "application/json";
      return { ...json(200, JSON.stringify(document)), contentType };
    }
    const openapi = openapiDocument(path);
    if (openapi !== undefined) return json(200, openapi);
  }
  const review = reviewOf(path);
  if (review !== undefined && method === "POST") return answerReview(review, role, (await readBody(request)).value);
  const target = parseResourcePath(path);
  if (target === undefined) throw noSuchPath();
  if (target.subresource !== undefined && (target.subresource !== "status" || !target.resource.hasStatus))
    throw noSuchPath();
  return answerObjects(context, request, response, method, role, target, new URLSearchParams(search));
}

/** Discovery is also asked for in forms that objects don't have; those get the plain answer. */
function answerFormOf(request: IncomingMessage) {
  try {
    return answerForm(request.headers.accept);
  } catch {
    return "object";
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

async function answerObjects(
  context: ApiContext,
  request: IncomingMessage,
  response: ServerResponse,
  method: string,
  role: Role,
  target: ResourcePath,
  query: URLSearchParams,
): Promise<Answer | undefined> {
  const { resource, name } = target;
  if (method === "GET" || method === "HEAD") {
    requireRight(role, "read", resource, name);
    return readOrWatch(context, request, response, target, query);
  }
  if (resource.readOnly) throw methodNotAllowed();
  requireRight(role, target.subresource === "status" ? "write-status" : "write", resource, name);
  const body = await readBody(request);
  const warnings: string[] = [];
  const options = method === "DELETE" && isFields(body.value) ? body.value : undefined;
  const write = writeRequest(context, request, target, query, (text) => warnings.push(text));
  const rendering = renderingOf(request, query);
  const dryRun = isDryRun(query, options);
  const run = <T>(operation: (transaction: Transaction) => T): Promise<T> =>
    dryRun ? Promise.resolve().then(() => context.store.rehearse(operation)) : context.store.transact(operation);
  const rendered = (httpStatus: number, object: object) =>
    json(httpStatus, renderObject(resource, JSON.stringify(object), rendering), warnings);

  switch (method) {
    case "POST":
      if (name !== undefined) throw methodNotAllowed();
      if (resource.namespaced && target.namespace === undefined)
        throw badRequest("a namespace is required: POST to /namespaces/NAMESPACE/...");
      requireBody(body.value);
      return rendered(201, await run((transaction) => createObject(transaction, write, body.value)));
    case "PUT":
      if (name === undefined) throw methodNotAllowed();
      requireBody(body.value);
      return rendered(200, await run((transaction) => updateObject(transaction, write, body.value)));
    case "PATCH": {
      if (name === undefined) throw methodNotAllowed();
      requireBody(body.value);
      const form = patchFormOf(body.mediaType);
      const { object, created } = await run((transaction) => patchObject(transaction, write, form, body.value));
      return rendered(created ? 201 : 200, object);
    }
    case "DELETE":
      if (target.subresource !== undefined) throw methodNotAllowed();
      if (name !== undefined) {
        const conditions = conditionsOf(options);
        const left = await run((transaction) => deleteObject(transaction, write, conditions));
        return json(200, JSON.stringify(left), warnings);
      }
      return deleteCollection(context, target, query, write, run, rendering);
    default:
      throw methodNotAllowed();
  }
}

function requireBody(value: unknown): void {
  if (value === undefined) throw badRequest("the request has no body");
}

function requireRight(role: Role, verb: "read" | "write" | "write-status", resource: Resource, name?: string): void {
  if (isAllowed(role, { verb, kind: resource.kind })) return;
  throw forbidden(
    `${resource.plural}${resource.group === "" ? "" : `.${resource.group}`}${name === undefined ? "" : ` "${name}"`} is forbidden: User "tsilium-${role}" cannot ${verb === "read" ? "read" : "write"} them`,
    resource,
    name,
  );
}

function readOrWatch(
  context: ApiContext,
  request: IncomingMessage,
  response: ServerResponse,
  target: ResourcePath,
  query: URLSearchParams,
): Answer | undefined {
  const { resource, namespace, name } = target;
  const rendering = renderingOf(request, query);
  const isWatch = flag(query, "watch");
  if (name !== undefined && !isWatch) {
    return json(200, readObject(context, resource, { namespace: namespace ?? "", name }, rendering));
  }
  const shared = {
    resource,
    namespace,
    selection: parseSelection(resource, query, name),
    resourceVersion: query.get("resourceVersion") ?? undefined,
  };
  if (!isWatch) {
    const list: ListRequest = {
      ...shared,
      limit: wholeNumber(query, "limit"),
      token: query.get("continue") || undefined,
      match: word(query, "resourceVersionMatch", ["Exact", "NotOlderThan"] as const),
    };
    return json(200, renderList(resource, listObjects(context, list), rendering));
  }
  const seconds = wholeNumber(query, "timeoutSeconds");
  // Without a wish: between half an hour and an hour, so that watches don't all end together.
  const timeoutMs =
    seconds === undefined || seconds === 0 ? 1_800_000 * (1 + Math.random()) : Math.min(seconds, 86_400) * 1000;
  serveWatch(
    context,
    {
      ...shared,
      bookmarks: flag(query, "allowWatchBookmarks"),
      initialEvents: flag(query, "sendInitialEvents"),
      timeoutMs,
      rendering,
    },
    response,
    context.stopping,
  );
  return undefined;
}

const renderingOf = (request: IncomingMessage, query: URLSearchParams): Rendering => ({
  form: answerForm(request.headers.accept),
  include: word(query, "includeObject", ["None", "Metadata", "Object"] as const) ?? "Metadata",
  nowMs: Date.now(),
});

function writeRequest(
  context: ApiContext,
  request: IncomingMessage,
  target: ResourcePath,
  query: URLSearchParams,
  warn: (text: string) => void,
): WriteRequest {
  const manager = query.get("fieldManager") ?? "";
  if (manager.length > 128 || !/^[\x20-\x7e]*$/.test(manager)) {
    throw badRequest("the query parameter fieldManager may have at most 128 printable characters");
  }
  return {
    resource: target.resource,
    namespace: target.namespace ?? "",
    name: target.name ?? "",
    subresource: target.subresource === "status" ? "status" : undefined,
    // As Kubernetes does: the program's name, up to its version.
    manager: manager || (request.headers["user-agent"] ?? "unknown").split("/")[0]!.slice(0, 128) || "unknown",
    managerGiven: manager !== "",
    fieldValidation: word(query, "fieldValidation", ["Strict", "Warn", "Ignore"] as const) ?? "Warn",
    force: flag(query, "force"),
    nowMs: Date.now(),
    validate: context.validate,
    warn,
  };
}

function isDryRun(query: URLSearchParams, options: Fields | undefined): boolean {
  const asked = [...query.getAll("dryRun"), ...(Array.isArray(options?.dryRun) ? options.dryRun : [])].filter(
    (each) => each !== "",
  );
  if (asked.some((each) => each !== "All")) throw badRequest('dryRun must be "All"');
  return asked.length > 0;
}

function patchFormOf(mediaType: string): PatchForm {
  switch (mediaType) {
    case "application/json-patch+json":
      return "json";
    case "application/merge-patch+json":
      return "merge";
    case "application/strategic-merge-patch+json":
      return "strategic";
    case "application/apply-patch+yaml":
      return "apply";
    default:
      throw unsupportedMediaType(
        `the body of the request was in an unknown format (${mediaType || "no content type"}): accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml`,
      );
  }
}

function conditionsOf(options: Fields | undefined): DeleteConditions {
  const { preconditions } = options ?? {};
  if (!isFields(preconditions)) return {};
  const text = (name: string) => (typeof preconditions[name] === "string" ? { [name]: preconditions[name] } : {});
  return { ...text("uid"), ...text("resourceVersion") };
}

async function deleteCollection(
  context: ApiContext,
  target: ResourcePath,
  query: URLSearchParams,
  write: WriteRequest,
  run: <T>(operation: (transaction: Transaction) => T) => Promise<T>,
  rendering: Rendering,
): Promise<Answer> {
  const { resource, namespace } = target;
  const listed = listObjects(context, {
    resource,
    namespace,
    selection: parseSelection(resource, query, undefined),
    limit: undefined,
    token: undefined,
    resourceVersion: undefined,
    match: undefined,
  });
  await run((transaction) => {
    for (const row of listed.objects) {
      if (transaction.get(row) === undefined) continue; // someone else was faster
      deleteObject(transaction, { ...write, namespace: row.namespace, name: row.name });
    }
  });
  return json(200, renderList(resource, listed, rendering));
}

type Review = "access" | "self";

function reviewOf(path: string): Review | undefined {
  if (path === "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") return "access";
  if (path === "/apis/authentication.k8s.io/v1/selfsubjectreviews") return "self";
  return undefined;
}

/** Who am I, and may I? */
function answerReview(review: Review, role: Role, body: unknown): Answer {
  const userInfo = {
    username: `tsilium-${role}`,
    groups: ["system:authenticated", ...(role === "admin" ? ["system:masters"] : [])],
  };
  if (review === "self") {
    return json(
      201,
      JSON.stringify({
        kind: "SelfSubjectReview",
        apiVersion: "authentication.k8s.io/v1",
        metadata: {},
        status: { userInfo },
      }),
    );
  }
  const spec = isFields(body) && isFields(body.spec) ? body.spec : {};
  const wanted = isFields(spec.resourceAttributes) ? spec.resourceAttributes : undefined;
  const allowed = wanted === undefined || isAllowedAttributes(role, wanted);
  const status = { allowed, ...(allowed ? {} : { reason: `the ${role} role does not include it` }) };
  return json(
    201,
    JSON.stringify({
      kind: "SelfSubjectAccessReview",
      apiVersion: "authorization.k8s.io/v1",
      metadata: {},
      spec,
      status,
    }),
  );
}

function isAllowedAttributes(role: Role, attributes: Fields): boolean {
  if (role === "admin") return true;
  const text = (name: string) => (typeof attributes[name] === "string" ? attributes[name] : "");
  const resource = resources.find((each) => each.plural === text("resource") && each.group === text("group"));
  if (resource === undefined) return false;
  const isRead = ["get", "list", "watch"].includes(text("verb"));
  const verb = isRead ? "read" : text("subresource") === "status" ? "write-status" : "write";
  return isAllowed(role, { verb, kind: resource.kind });
}

/** The Status of whatever was thrown while a request was answered. */
export function statusOfError(error: {
  readonly code: string;
  readonly message: string;
}): Status & { readonly code: number } {
  const [httpStatus, reason] =
    error.code === "STORE_FULL"
      ? [507, "InsufficientStorage"]
      : error.code === "STORE_CLOSED"
        ? [503, "ServiceUnavailable"]
        : [500, "InternalError"];
  const refusal = new Refusal(httpStatus as number, reason as string, error.message);
  return { ...refusal.status, code: httpStatus as number };
}
