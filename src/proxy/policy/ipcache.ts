/** Prefix -> identity by longest match. */
import { type IpAddress, type IpFamily, maskAddress, type NumericIdentity, type Prefix, Reserved } from "#core/model";

const keyOf = (bytes: Uint8Array, family: IpFamily): string =>
  family === 4 ? String.fromCharCode(...bytes.subarray(0, 4)) : String.fromCharCode(...bytes);

/** A table per family and length, tried from the longest down; a lookup costs one map access per length in use. */
export class Ipcache {
  readonly #tables: Record<IpFamily, Map<number, Map<string, NumericIdentity>>> = { 4: new Map(), 6: new Map() };
  readonly #lengths: Record<IpFamily, number[]> = { 4: [], 6: [] };
  size = 0;

  put(prefix: Prefix, identity: NumericIdentity): void {
    const tables = this.#tables[prefix.family];
    let table = tables.get(prefix.length);
    if (table === undefined) {
      table = new Map();
      tables.set(prefix.length, table);
      this.#lengths[prefix.family] = [...tables.keys()].sort((a, b) => b - a);
    }
    const key = keyOf(prefix.bytes, prefix.family);
    if (!table.has(key)) this.size++;
    table.set(key, identity);
  }

  delete(prefix: Prefix): void {
    const tables = this.#tables[prefix.family];
    const table = tables.get(prefix.length);
    if (!table?.delete(keyOf(prefix.bytes, prefix.family))) return;
    this.size--;
    if (table.size > 0) return;
    tables.delete(prefix.length);
    this.#lengths[prefix.family] = [...tables.keys()].sort((a, b) => b - a);
  }

  /** The identity of an address; without any prefix that holds it, world of its family. */
  lookup(address: IpAddress): NumericIdentity {
    for (const length of this.#lengths[address.family]) {
      const key = keyOf(maskAddress(address, length).bytes, address.family);
      const identity = this.#tables[address.family].get(length)!.get(key);
      if (identity !== undefined) return identity;
    }
    return address.family === 4 ? Reserved["world-ipv4"] : Reserved["world-ipv6"];
  }
}
