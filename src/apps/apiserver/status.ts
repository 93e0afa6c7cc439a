/** Refusals: what the API answers when it does not answer with an object. Thrown inside a request, sent as a Status. */
import type { Resource, SchemaProblem, Status, StatusCause } from "#contracts/kube";
import { TsiliumError } from "#core/runtime";

type Named = Pick<Resource, "group" | "plural" | "kind">;

/** A refusal carrying its Status. */
export class Refusal extends TsiliumError {
  readonly status: Status;

  constructor(httpStatus: number, reason: string, message: string, details?: Status["details"]) {
    super("API_REFUSED", message);
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      ...(details === undefined ? {} : { details }),
      code: httpStatus,
    };
  }
}

const groupResource = ({ plural, group }: Named) => (group === "" ? plural : `${plural}.${group}`);
const detailsOf = (resource: Named, name?: string) => ({
  ...(name === undefined ? {} : { name }),
  ...(resource.group === "" ? {} : { group: resource.group }),
  kind: resource.plural,
});

/** 400: the request itself is wrong. */
export const badRequest = (message: string): Refusal => new Refusal(400, "BadRequest", message);
/** 403: known, but not allowed. */
export const forbidden = (message: string, resource?: Named, name?: string): Refusal =>
  new Refusal(403, "Forbidden", message, resource && detailsOf(resource, name));
/** 404: no such object. */
export const notFound = (resource: Named, name: string): Refusal =>
  new Refusal(404, "NotFound", `${groupResource(resource)} "${name}" not found`, detailsOf(resource, name));
/** 404: no such path. */
export const noSuchPath = (): Refusal =>
  new Refusal(404, "NotFound", "the server could not find the requested resource", {});
/** 405: the path does not take this method. */
export const methodNotAllowed = (): Refusal =>
  new Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
/** 409: the name is taken. */
export const alreadyExists = (resource: Named, name: string): Refusal =>
  new Refusal(409, "AlreadyExists", `${groupResource(resource)} "${name}" already exists`, detailsOf(resource, name));
/** 409: the object is not as the client believes. */
export const conflict = (resource: Named, name: string, why: string, causes?: readonly StatusCause[]): Refusal =>
  new Refusal(
    409,
    "Conflict",
    causes === undefined ? `Operation cannot be fulfilled on ${groupResource(resource)} "${name}": ${why}` : why,
    { ...detailsOf(resource, name), ...(causes === undefined ? {} : { causes }) },
  );
/** 410: that state is no longer known; the client has to list again. */
export const expired = (message: string, token?: string): Refusal => {
  const refusal = new Refusal(410, "Expired", message);
  return token === undefined
    ? refusal
    : Object.assign(refusal, { status: { ...refusal.status, metadata: { continue: token } } });
};
/** 415: a body in a form that is not read here. */
export const unsupportedMediaType = (message: string): Refusal => new Refusal(415, "UnsupportedMediaType", message);

/** 422: the object breaks its schema or its meaning; every problem is a cause. */
export function invalid(resource: Named, name: string, problems: readonly SchemaProblem[]): Refusal {
  const causes = problems.map((problem) => ({
    reason: problem.code,
    message: problem.hint === undefined ? problem.message : `${problem.message} (${problem.hint})`,
    field: problem.path === "" ? "<object>" : problem.path,
  }));
  const lines = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const groupKind = resource.group === "" ? resource.kind : `${resource.kind}.${resource.group}`;
  return new Refusal(
    422,
    "Invalid",
    `${groupKind} "${name}" is invalid: ${lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`}`,
    { ...detailsOf(resource, name), causes },
  );
}

/** 200 without an object, after a deletion. */
export const success = (resource: Named, name: string, uid?: string): Status => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  details: { ...detailsOf(resource, name), ...(uid === undefined ? {} : { uid }) },
});
