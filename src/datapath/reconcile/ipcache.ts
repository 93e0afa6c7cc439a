/** Ipcache rows -> the trie `ipcache`: prefix -> who that is. */
import type { IpcacheKey, IpcacheValue } from "#contracts/bpf";
import { type EndpointId, formatPrefix, type NumericIdentity, parsePrefix } from "#core/model";
import { type Operations, TsiliumError } from "#core/runtime";
import { ipcacheKey, ipcachePrefix } from "#datapath/maps";
import type { MapDoor } from "./doors.ts";
import type { NodeConfigWriter } from "./epoch.ts";

/** What the kernel shall know of a prefix; the key is its canonical text. */
export interface IpcacheRow {
  readonly identity: NumericIdentity;
  /** Endpoint of this node that has the address, or 0. */
  readonly endpointId: EndpointId;
}

/** The target of ipcache rows. A trie can't be asked for one exact key, so what it holds is read once and remembered. */
export function createIpcacheOperations(options: {
  readonly ipcache: MapDoor<IpcacheKey, IpcacheValue>;
  readonly nodeConfig: NodeConfigWriter;
}): Operations<string, IpcacheRow> {
  const { ipcache, nodeConfig } = options;
  const held = new Map<string, IpcacheRow>();
  for (const [key, { identity, endpointId }] of ipcache.entries())
    held.set(formatPrefix(ipcachePrefix(key)), { identity, endpointId });
  let changed = false;

  const keyOf = (text: string): IpcacheKey => {
    const prefix = parsePrefix(text);
    if (!prefix) throw new TsiliumError("BAD_PREFIX", `"${text}" is no prefix`);
    return ipcacheKey(prefix);
  };
  const remove = (text: string) => {
    ipcache.delete(keyOf(text));
    held.delete(text);
    changed = true;
  };

  return {
    update(text, row) {
      const before = held.get(text);
      if (before?.identity === row.identity && before.endpointId === row.endpointId) return;
      ipcache.set(keyOf(text), { identity: row.identity, endpointId: row.endpointId, tunnelEndpoint: 0, flags: 0 });
      held.set(text, row);
      changed = true;
    },
    delete(text) {
      if (held.has(text)) remove(text);
    },
    prune(rows) {
      for (const text of held.keys()) if (!rows.has(text)) remove(text);
    },
    settled() {
      if (changed) nodeConfig.raiseEpoch();
      changed = false;
    },
  };
}
