/** `http_programs`: each program of HTTP rules lies in a map of its own, so that one can be put in place while others run. */
import { HttpLimit } from "#contracts/bpf";
import { type Bpf, type BpfMap, MapType } from "#datapath/linux";
import { u32 } from "./scalar.ts";

/** Programs by number. */
export interface HttpProgramMap {
  readonly capacity: number;
  get(number: number): Uint8Array | undefined;
  /** Throws MAP_FULL when there is no room. Waits until no packet is judged by what it replaces: tens of milliseconds. */
  set(number: number, program: Uint8Array): void;
  /** False if there was no such program. */
  delete(number: number): boolean;
  numbers(): readonly number[];
}

/** Puts a codec before the map. Programs are `HttpLimit.WORDS` words long; others throw RangeError. */
export function openHttpProgramMap(bpf: Bpf, outer: BpfMap): HttpProgramMap {
  const maps = bpf.mapsIn(outer);
  const zero = u32.encode(0);
  const valueSize = HttpLimit.WORDS * 8;
  return {
    capacity: outer.spec.maxEntries,
    get(number) {
      const map = maps.get(u32.encode(number));
      const program = map?.lookup(zero);
      map?.close();
      return program;
    },
    set(number, program) {
      const map = bpf.createMap({ name: "http_program", type: MapType.ARRAY, keySize: 4, valueSize, maxEntries: 1, flags: 0 }); // biome-ignore format: one shape
      try {
        map.update(zero, program);
        maps.set(u32.encode(number), map);
      } finally {
        map.close();
      }
    },
    delete: (number) => maps.delete(u32.encode(number)),
    numbers: () => [...maps.keys()].map((key) => u32.decode(key)),
  };
}
