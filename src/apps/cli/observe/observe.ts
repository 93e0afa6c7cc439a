/** Runs the request and prints the answers as they come. */
import { once } from "node:events";
import type { ServiceError } from "@grpc/grpc-js";
import { type GetFlowsRequest, type GetFlowsResponse, openObserverClient } from "#contracts/hubble";
import { TsiliumError } from "#core/runtime";
import { usageError } from "../failure.ts";
import type { FlowPrinter } from "./printer.ts";

// gRPC status codes that mean something to a person.
const CANCELLED = 1;
const INVALID_ARGUMENT = 3;
const UNAVAILABLE = 14;

/**
 * Prints the flows of a server until it has no more, or Ctrl-C. Throws AGENT_NOT_RUNNING if nobody answers, USAGE for a
 * filter that the server refuses, OBSERVE_FAILED otherwise.
 */
export async function observe(server: string, request: GetFlowsRequest, printer: FlowPrinter): Promise<void> {
  for await (const response of receiveFlows(server, request)) {
    // Waiting here holds up the server, which tells us then what we missed.
    if (!process.stdout.write(printer.print(response))) await once(process.stdout, "drain");
  }
  process.stdout.write(printer.end());
}

/** The answers of a server until it has no more, or Ctrl-C. Throws as {@link observe}. */
export async function* receiveFlows(server: string, request: GetFlowsRequest): AsyncGenerator<GetFlowsResponse> {
  const client = await openObserverClient(server);
  const stream = client.getFlows(request);
  const cancel = (): void => stream.cancel();
  process.once("SIGINT", cancel).once("SIGTERM", cancel);
  try {
    yield* stream as AsyncIterable<GetFlowsResponse>;
  } catch (error) {
    const { code, details } = error as ServiceError;
    if (code !== CANCELLED) throw explain(server, code, details, error);
  } finally {
    process.off("SIGINT", cancel).off("SIGTERM", cancel);
    client.close();
  }
}

function explain(server: string, code: number, details: string, cause: unknown): TsiliumError {
  switch (code) {
    case UNAVAILABLE: {
      const reason = /EACCES|ENOENT|ECONNREFUSED/.exec(details)?.[0];
      if (reason === "EACCES")
        return new TsiliumError("NEEDS_ROOT", `${server} may be read by root only; run the command with sudo`, {
          cause,
        });
      return new TsiliumError(
        "AGENT_NOT_RUNNING",
        `no observer answers at ${server}${reason === undefined ? `: ${details}` : ""}; start the node with \`sudo tsilium up\`, or name another server with --server`,
        { details: { server }, cause },
      );
    }
    case INVALID_ARGUMENT:
      return usageError(details);
    default:
      return new TsiliumError("OBSERVE_FAILED", `the observer at ${server} ended the stream: ${details}`, {
        details: { server, code },
        cause,
      });
  }
}
