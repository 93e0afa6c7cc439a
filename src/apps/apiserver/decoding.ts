/** From a body to an object that can be stored: form, place, schema, meaning. All that is wrong is told at once. */
import {
  apiVersionOf,
  checkMetadata,
  checkStructure,
  type KubeObject,
  type SchemaProblem,
  type UnknownField,
} from "#contracts/kube";
import { isFields } from "./field-sets.ts";
import { kindProblems } from "./kind-rules.ts";
import { managedFieldsProblem } from "./managed-fields.ts";
import { badRequest, invalid } from "./status.ts";
import type { WriteRequest } from "./write-request.ts";

/** Checks that the body is an object of this kind, place and schema; yields it without unknown fields and with defaults. */
export function decode(request: WriteRequest, body: unknown, partial = false): KubeObject {
  const { resource } = request;
  if (!isFields(body)) throw badRequest("the body of the request must be an object");
  const expected = { apiVersion: apiVersionOf(resource), kind: resource.kind };
  for (const field of ["apiVersion", "kind"] as const) {
    const found = body[field];
    if (found !== undefined && found !== expected[field]) {
      throw badRequest(
        `the ${field} in the data (${typeof found === "string" ? found : JSON.stringify(found)}) does not match the expected ${field} (${expected[field]})`,
      );
    }
  }
  const { value, problems, unknownFields } = checkStructure(
    resource.schema,
    { ...body, metadata: body.metadata ?? {}, ...expected },
    { partial },
  );
  reportUnknown(request, unknownFields);
  const object = value as KubeObject;
  const named =
    isFields(object.metadata) && typeof object.metadata.name === "string" ? object.metadata.name : request.name;
  if (problems.length > 0) throw invalid(resource, named, problems);
  if (request.name !== "" && object.metadata.name !== undefined && object.metadata.name !== request.name) {
    throw badRequest(
      `the name of the object (${object.metadata.name}) does not match the name on the URL (${request.name})`,
    );
  }
  if (
    resource.namespaced &&
    object.metadata.namespace !== undefined &&
    object.metadata.namespace !== request.namespace
  ) {
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (${object.metadata.namespace} and ${request.namespace})`,
    );
  }
  const wrongEntries = managedFieldsProblem(object.metadata.managedFields);
  if (wrongEntries !== undefined) {
    throw invalid(resource, named, [
      { path: "metadata.managedFields", code: "FieldValueInvalid", message: `Invalid value: ${wrongEntries}` },
    ]);
  }
  return object;
}

function reportUnknown(request: WriteRequest, fields: readonly UnknownField[]): void {
  if (fields.length === 0 || request.fieldValidation === "Ignore") return;
  const texts = fields.map(
    ({ path, nearest }) => `unknown field "${path}"${nearest === undefined ? "" : ` (did you mean "${nearest}"?)`}`,
  );
  if (request.fieldValidation === "Warn") {
    for (const text of texts) request.warn(text);
    return;
  }
  const { kind, version } = request.resource;
  throw badRequest(
    `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${texts.join(", ")}`,
  );
}

/** What is wrong with the meaning of an object that has passed its schema. Warnings go to the client. */
export function meaningProblems(request: WriteRequest, object: KubeObject): SchemaProblem[] {
  if (request.subresource === "status") return [];
  const { resource, validate } = request;
  const judged = validate(resource.kind, object);
  for (const { severity, path, message } of judged) {
    if (severity === "warning") request.warn(`${path}: ${message}`);
  }
  const refused = judged
    .filter(({ severity }) => severity === undefined || severity === "error")
    .map(({ path, message, hint }) => ({
      path,
      code: "FieldValueInvalid" as const,
      message,
      ...(hint ? { hint } : {}),
    }));
  return [...checkMetadata(resource, object.metadata), ...kindProblems(resource, object), ...refused];
}

/** Refuses with 422 if there are problems. */
export function refuseProblems(request: WriteRequest, name: string, problems: readonly SchemaProblem[]): void {
  if (problems.length > 0) throw invalid(request.resource, name, problems);
}
