import { join } from "node:path";
import type { BpfMap, BpfProgram, Kernel } from "#datapath/linux";
import { type SocketNetns, socketNetnsMap } from "#datapath/maps";
import { adoptMaps } from "./map-store.ts";

/** Socket redirect in the kernel: the map of those who want it, and the programs that see connections open and send. */
export interface SocketRedirect {
  /** Endpoint -> cookie of its network namespace. */
  readonly wanted: SocketNetns;
  /** Sees every connection of the machine that opens, in whatever group its process is. Twice is no error. */
  attach(): void;
  /** Connections that are redirected go on as such; new ones go by TCP. No error if it was not attached. */
  detach(): void;
  close(): void;
}

const SOCK_OPS = 3; // enum bpf_attach_type

/** The pin of the one link. */
const linkPin = (directory: string) => join(directory, "sockets", "socket_opened");

/**
 * Loads the socket programs on the datapath's maps, and takes over what an earlier run had attached. `cgroup` is where cgroup2
 * is mounted. Throws VERIFIER_REJECTED or KernelError where the kernel has not what it needs (Linux 6.2).
 */
export function openSocketRedirect(options: {
  readonly kernel: Kernel;
  readonly objectDirectory: string;
  /** As for `loadDatapath`. */
  readonly directory: string;
  /** Maps of the datapath, by name. */
  readonly rawMaps: Readonly<Record<string, BpfMap>>;
  readonly cgroup: string;
}): SocketRedirect {
  const { bpf } = options.kernel;
  const path = join(options.objectDirectory, "socket.bpf.o");
  const mapsDirectory = join(options.directory, "maps");
  const own = bpf.inspectObject(path).maps.filter(({ name }) => options.rawMaps[name] === undefined);
  const { maps: found } = adoptMaps(options.kernel, mapsDirectory, own, "recreate");
  const object = bpf.loadObject(path, { reuse: { ...options.rawMaps, ...found } });
  const { socket_opened, socket_send } = object.programs as Record<"socket_opened" | "socket_send", BpfProgram>;
  for (const { name } of own) if (found[name] === undefined) object.maps[name]!.pin(join(mapsDirectory, name));
  bpf.attachToSockets(socket_send, object.maps.sockets!);
  const pin = linkPin(options.directory);
  const link = bpf.openLink(pin);
  link?.replace(socket_opened);
  link?.close();

  return {
    wanted: socketNetnsMap(object.maps.socket_netns!),
    attach() {
      if (isSocketRedirectAttached(options.kernel, options.directory)) return;
      const made = bpf.attach(socket_opened, { kind: "cgroup", path: options.cgroup, attachType: SOCK_OPS });
      made.pin(pin);
      made.close();
    },
    detach: () => detachSocketRedirect(options.kernel, options.directory),
    close() {
      for (const map of Object.values(found)) map.close();
      object.close();
    },
  };
}

/** Whether a run, this or an earlier one, has attached it. */
export function isSocketRedirectAttached(kernel: Kernel, directory: string): boolean {
  const link = kernel.bpf.openLink(linkPin(directory));
  link?.close();
  return link !== undefined;
}

/** Takes the program off the machine's connections. */
export function detachSocketRedirect(kernel: Kernel, directory: string): void {
  const link = kernel.bpf.openLink(linkPin(directory));
  link?.detach();
  link?.close();
  kernel.bpf.unpin(join(directory, "sockets"));
}
