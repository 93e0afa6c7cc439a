/**
 * gRPC over node:http2, the server's side: unary and server-streaming methods over bytes, as the protocol description has
 * it (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). Many messages go out in one write, and a slow client holds up its own
 * stream only. A gRPC library would cost the agent twice the memory and give a quarter of the throughput.
 */
import http2 from "node:http2";
import { errorMessage, type Logger } from "#core/runtime";
import { GrpcError, Status } from "./grpc-status.ts";

/** A method of a service, on encoded messages. */
export type Method =
  | { readonly kind: "unary"; call(request: Uint8Array): Uint8Array | Promise<Uint8Array> }
  /** The next batch is asked for when the client has taken the last one. The signal fires when the client has gone. */
  | { readonly kind: "stream"; call(request: Uint8Array, signal: AbortSignal): AsyncIterable<readonly Uint8Array[]> };

const maxRequestBytes = 4 * 1024 * 1024;
const timeoutUnitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** A server of these methods (by path, `/package.Service/Method`), not yet listening. Paths that are not there are UNIMPLEMENTED. */
export function createGrpcServer(methods: ReadonlyMap<string, Method>, log: Logger): http2.Http2Server {
  const server = http2.createServer();
  server.on("stream", (stream, headers) => {
    // The client went away, or broke the protocol: nobody is left to answer.
    stream.on("error", (error) => log.debug({ error: errorMessage(error) }, "a stream of the observer API broke off"));
    void answer(stream, headers, methods, log);
  });
  server.on("sessionError", (error) =>
    log.debug({ error: errorMessage(error) }, "a connection to the observer API broke off"),
  );
  return server;
}

async function answer(
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  methods: ReadonlyMap<string, Method>,
  log: Logger,
): Promise<void> {
  const gone = new AbortController();
  let status: number = Status.OK;
  let message = "";
  let deadline: NodeJS.Timeout | undefined;
  stream.on("close", () => gone.abort());
  try {
    if (headers[":method"] !== "POST" || !String(headers["content-type"] ?? "").startsWith("application/grpc")) {
      stream.respond({ ":status": 415 }, { endStream: true });
      return;
    }
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => {
      stream.sendTrailers({
        "grpc-status": String(status),
        ...(message !== "" && { "grpc-message": percentEncoded(message) }),
      });
    });
    const path = String(headers[":path"]);
    const method = methods.get(path);
    if (method === undefined) throw new GrpcError("UNIMPLEMENTED", `this server has no method ${path}`);
    const timeoutMs = parseTimeoutMs(headers["grpc-timeout"]);
    if (timeoutMs !== undefined) {
      deadline = setTimeout(() => {
        status = Status.DEADLINE_EXCEEDED;
        message = "the deadline has passed";
        gone.abort();
      }, timeoutMs);
    }
    const request = await readMessage(stream);
    switch (method.kind) {
      case "unary":
        stream.write(frame([await method.call(request)]));
        break;
      case "stream":
        for await (const batch of method.call(request, gone.signal)) {
          if (gone.signal.aborted) break;
          if (!stream.write(frame(batch))) await drained(stream, gone.signal);
        }
    }
  } catch (error) {
    status = error instanceof GrpcError ? error.status : Status.INTERNAL;
    message = errorMessage(error);
    if (status === Status.INTERNAL && !stream.destroyed) log.error({ err: error }, "a call of the observer API failed");
  } finally {
    clearTimeout(deadline);
    if (!stream.destroyed && !stream.writableEnded) stream.end();
  }
}

/** Messages with their five bytes of prefix (flags, length), in one piece. */
function frame(messages: readonly Uint8Array[]): Buffer {
  const size = messages.reduce((sum, message) => sum + 5 + message.length, 0);
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const message of messages) {
    out[at] = 0;
    out.writeUInt32BE(message.length, at + 1);
    out.set(message, at + 5);
    at += 5 + message.length;
  }
  return out;
}

async function readMessage(stream: http2.ServerHttp2Stream): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxRequestBytes)
      throw new GrpcError("RESOURCE_EXHAUSTED", `the request is larger than ${maxRequestBytes} bytes`);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length < 5 || bytes.readUInt32BE(1) !== bytes.length - 5)
    throw new GrpcError("INVALID_ARGUMENT", "the request is not exactly one gRPC message");
  if (bytes[0] !== 0) throw new GrpcError("UNIMPLEMENTED", "compressed requests are not supported");
  return bytes.subarray(5);
}

async function drained(stream: http2.ServerHttp2Stream, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      stream.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    if (signal.aborted) return resolve();
    stream.once("drain", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

function parseTimeoutMs(header: string | string[] | undefined): number | undefined {
  const match = typeof header === "string" ? /^(\d{1,8})([HMSmun])$/.exec(header) : null;
  // A timer holds 2^31 - 1 ms; whoever waits longer than that doesn't mind.
  return match === null ? undefined : Math.min(Number(match[1]) * timeoutUnitsMs[match[2]!]!, 0x7fff_ffff);
}

/** As gRPC wants it: only what is not printable ASCII, and "%". Clients decode no more than that. */
function percentEncoded(message: string): string {
  return message.toWellFormed().replaceAll(/[^ -~]|%/gu, encodeURIComponent);
}
