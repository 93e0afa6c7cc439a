/** Endpoints that want socket redirect -> the map that says so, and the program attached while there are any. */
import type { EndpointId } from "#core/model";
import type { Operations } from "#core/runtime";
import type { Kernel } from "#datapath/linux";
import type { MapDoor } from "./doors.ts";
import { openNamespace } from "./namespace.ts";

/** An endpoint that wants it. */
export interface SocketRedirectRow {
  readonly netnsPath: string;
}

/** What is needed of the loader. */
export interface SocketRedirectDoor {
  readonly wanted: MapDoor<number, bigint>;
  attach(): void;
  detach(): void;
}

/** The target of these rows. */
export function createSocketRedirectOperations(options: {
  readonly kernel: Kernel;
  readonly redirect: SocketRedirectDoor;
}): Operations<EndpointId, SocketRedirectRow> {
  const { wanted, attach, detach } = options.redirect;
  return {
    update(id, { netnsPath }) {
      const namespace = openNamespace(options.kernel, netnsPath);
      try {
        wanted.set(id, namespace.cookie());
      } finally {
        namespace.close();
      }
      attach();
    },
    delete(id) {
      wanted.delete(id);
    },
    prune(rows) {
      for (const [id] of [...wanted.entries()]) if (!rows.has(id as EndpointId)) wanted.delete(id);
    },
    settled() {
      if ([...wanted.entries()].length === 0) detach();
    },
  };
}
