/** What can go wrong when talking to an API server. */
import { errorMessage, TsiliumError } from "#core/runtime";
import type { Status } from "./meta.ts";

/** Code of the error for each HTTP status that callers tell apart. 409 has two meanings, told by the reason. */
const codes: Readonly<Record<number, string>> = {
  400: "KUBE_BAD_REQUEST",
  401: "KUBE_UNAUTHORIZED",
  403: "KUBE_FORBIDDEN",
  404: "KUBE_NOT_FOUND",
  409: "KUBE_CONFLICT",
  410: "KUBE_EXPIRED",
  422: "KUBE_INVALID",
  429: "KUBE_BUSY",
};

const advice: Readonly<Record<string, string>> = {
  KUBE_UNAUTHORIZED: "the token is not known there; use the kubeconfig that this server wrote",
  KUBE_CONFLICT: "someone else changed the object; read it again and repeat the change",
};

/** The error for an answer that is not a success. `details.status` is the server's Status, if it sent one. */
export function kubeError(
  request: { readonly method: string; readonly path: string },
  httpStatus: number,
  status: Status | undefined,
  text = "",
): TsiliumError {
  const code = status?.reason === "AlreadyExists" ? "KUBE_ALREADY_EXISTS" : (codes[httpStatus] ?? "KUBE_REFUSED");
  const why = status?.message ?? text.slice(0, 200);
  const next = advice[code];
  return new TsiliumError(
    code,
    `${request.method} ${request.path.split("?")[0]}: the API server answered ${httpStatus}: ${why}${next === undefined ? "" : ` (${next})`}`,
    { details: { httpStatus, status } },
  );
}

/** The error for an API server that gives no (whole) answer. */
export function unreachable(
  server: string,
  request: { readonly method: string; readonly path: string },
  cause: unknown,
): TsiliumError {
  // Node's error for a host with several addresses has its reasons inside and no message of its own.
  const why = cause instanceof AggregateError ? cause.errors.map(errorMessage).join("; ") : errorMessage(cause);
  return new TsiliumError(
    "KUBE_UNREACHABLE",
    `${request.method} ${request.path.split("?")[0]}: no answer from the API server ${server} (${why}); is it running?`,
    { cause, details: { server } },
  );
}
