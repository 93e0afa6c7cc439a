/** What reconcilers need of the maps: typed reading and writing. `#datapath/maps` provides it; tests put a Map behind it. */

/** A map whose keys and values are decoded. */
export interface MapDoor<K, V> {
  readonly name: string;
  /** How many entries it can hold. */
  readonly capacity: number;
  /** In a trie: the entry of the longest matching prefix, not necessarily that key's. */
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  /** False if there was no such key. */
  delete(key: K): boolean;
  entries(): Iterable<readonly [K, V]>;
  /** Many writes with few system calls; on failure a part may be written. */
  setAll(entries: readonly (readonly [K, V])[]): void;
  /** How many of the keys were there. */
  deleteAll(keys: readonly K[]): number;
}

/** The programs of the datapath by the hook they sit on. */
export type HookName = "from_endpoint" | "to_endpoint" | "from_network" | "to_network";

/** What reconcilers need of the loader: programs on and off devices. */
export interface HookDoor {
  /** Makes the program run on the device; nothing if it does so already. A link left from another device of that name is replaced. */
  attach(hook: HookName, device: { readonly ifindex: number; readonly name: string }): void;
  /** Takes our programs off a device and forgets their pins; no error if there were none, or the device is gone. */
  detach(deviceName: string): void;
  /** Names of devices that pins exist for. */
  devices(): readonly string[];
}
