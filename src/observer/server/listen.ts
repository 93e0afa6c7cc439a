/** Listening on a unix socket or on loopback. */
import { chmod, unlink } from "node:fs/promises";
import type { Http2Server } from "node:http2";
import { connect, type ListenOptions } from "node:net";
import { errorCode, TsiliumError } from "#core/runtime";

/** A unix socket's path, or a TCP port (0 = any) on 127.0.0.1. */
export type ObserverAddress = { readonly path: string } | { readonly port: number };

/**
 * Binds the server. A socket file that nobody listens on any more is replaced; the file is for root and its group only.
 * Throws OBSERVER_ADDRESS_IN_USE. Yields the port (0 for a unix socket).
 */
export async function listen(server: Http2Server, address: ObserverAddress): Promise<number> {
  if ("port" in address) {
    await bind(server, { host: "127.0.0.1", port: address.port }, `127.0.0.1:${address.port}`);
    const bound = server.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }
  const { path } = address;
  if (!(await isServed(path))) {
    await unlink(path).catch((error: unknown) => {
      if (errorCode(error) !== "ENOENT") throw error;
    });
  }
  await bind(server, { path }, path);
  await chmod(path, 0o660);
  return 0;
}

async function bind(server: Http2Server, options: ListenOptions, name: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options, () => {
        server.off("error", reject);
        resolve();
      });
    });
  } catch (error) {
    if (errorCode(error) !== "EADDRINUSE") throw error;
    throw new TsiliumError(
      "OBSERVER_ADDRESS_IN_USE",
      `the observer can't listen on ${name}: another process does; end it, or give this instance another address`,
      { details: { address: name }, cause: error },
    );
  }
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const is = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => is(true));
    socket.once("error", () => is(false));
  });
}
