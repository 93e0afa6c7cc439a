/** A client of the observer service; the gRPC library (20 MB resident) is loaded when one is opened. */
import type { ObserverClient } from "./generated/observer/service.ts";

export type { ObserverClient };

/**
 * Opens a client. `target` is a socket's path, `unix:PATH` or `HOST:PORT`, without TLS. Connects with the first call;
 * a call to nobody fails with gRPC status UNAVAILABLE. Close it when done.
 */
export async function openObserverClient(target: string): Promise<ObserverClient> {
  const [{ credentials }, service] = await Promise.all([
    import("@grpc/grpc-js"),
    import("./generated/observer/service.ts"),
  ]);
  const address = target.startsWith("/") ? `unix:${target}` : target;
  return new service.ObserverClient(address, credentials.createInsecure(), {
    // A proxy from the environment must not get what is meant for this machine.
    "grpc.enable_http_proxy": 0,
  });
}
