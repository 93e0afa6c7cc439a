// Objects, programs, links and pins in memory. Programs are functions: what the C does, a test says in TypeScript.
import { kernelError } from "./errors.ts";
import { FakeMap } from "./fake-map.ts";
import type { FakeNamespace, FakeNetwork } from "./fake-network.ts";
import type { AttachTarget, Bpf, BpfLink, BpfMap, BpfProgram, LoadedObject, LoadOptions, MapOfMaps, MapSpec, RingBuffer, TestRunInput, TestRunResult } from "./kernel.ts"; // biome-ignore format: one door

const ENOENT = 2;
const E2BIG = 7;
const EBUSY = 16;
const EEXIST = 17;
const ENODEV = 19;
const ENOTSUP = 95;

/** A program of a fake object: what it does with a packet. Maps are those that it was loaded with. */
export type FakeProgramBody = (input: TestRunInput, maps: Readonly<Record<string, FakeMap>>) => Partial<TestRunResult>;

/** What a path "holds": the shapes of the maps, and the programs. */
export interface FakeObject {
  readonly maps: readonly MapSpec[];
  readonly programs: Readonly<Record<string, FakeProgramBody>>;
}

type Pinnable = FakeMap | FakeProgram | FakeLink;

let lastId = 0;

class FakeProgram implements BpfProgram {
  readonly id = ++lastId;
  readonly name: string;
  readonly #body: (input: TestRunInput) => Partial<TestRunResult>;
  readonly #pin: (path: string, program: FakeProgram) => void;

  constructor(
    name: string,
    body: (input: TestRunInput) => Partial<TestRunResult>,
    pin: (path: string, program: FakeProgram) => void,
  ) {
    this.name = name.slice(0, 15);
    this.#body = body;
    this.#pin = pin;
  }

  pin(path: string): void {
    this.#pin(path, this);
  }

  testRun(input: TestRunInput): TestRunResult {
    return { result: 0, packet: input.packet.slice(), mark: input.mark ?? 0, durationNs: 1, ...this.#body(input) };
  }

  close(): void {
    // The garbage collector is the last holder.
  }
}

/** `known`: every map that was ever put into another, by id. */
function fakeMapsIn(outer: FakeMap, known: Map<number, FakeMap>): MapOfMaps {
  return {
    get(key) {
      const value = outer.lookup(key);
      return value && known.get(new DataView(value.buffer).getUint32(0, true));
    },
    set(key, map) {
      const value = new Uint8Array(4);
      new DataView(value.buffer).setUint32(0, map.id, true);
      outer.update(key, value);
      known.set(map.id, map as FakeMap);
    },
    delete: (key) => outer.delete(key),
    *keys() {
      for (const [key] of outer.entries()) yield key;
    },
  };
}

/** One attachment; handles and pins are its holders. */
class FakeLink {
  readonly id = ++lastId;
  program: FakeProgram;
  holders = 0;
  readonly ifindex: () => number;
  readonly #takeOff: () => void;

  constructor(program: FakeProgram, ifindex: () => number, takeOff: () => void) {
    this.program = program;
    this.ifindex = ifindex;
    this.#takeOff = takeOff;
  }

  release(): void {
    if (--this.holders === 0) this.detach();
  }

  detach(): void {
    this.#takeOff();
  }
}

export function createFakeBpf(network: FakeNetwork, objects: Readonly<Record<string, FakeObject>>): Bpf {
  const pins = new Map<string, Pinnable>();
  const hooks = new Map<string, FakeLink[]>();
  const watched = new Set<FakeNamespace>();
  const inner = new Map<number, FakeMap>();

  const pin = (path: string, what: Pinnable): void => {
    unpin(path);
    if (what instanceof FakeLink) what.holders++;
    pins.set(path, what);
  };
  const unpin = (path: string): boolean => {
    const what = pins.get(path);
    if (what === undefined) {
      const below = [...pins.keys()].filter((name) => name.startsWith(`${path}/`));
      for (const name of below) unpin(name);
      return below.length > 0;
    }
    pins.delete(path);
    if (what instanceof FakeLink) what.release();
    return true;
  };
  const namesBelow = (directory: string): string[] => {
    const below = [...pins.keys()].filter((name) => name.startsWith(`${directory}/`));
    return [...new Set(below.map((name) => name.slice(directory.length + 1).split("/")[0]!))];
  };
  const pinned = <T extends Pinnable>(path: string, type: abstract new (...args: never[]) => T): T | undefined => {
    const what = pins.get(path);
    if (what === undefined) return undefined;
    if (what instanceof type) return what;
    throw kernelError(`open the BPF object pinned at ${path}`, 22);
  };
  const object = (path: string): FakeObject => {
    const found = objects[path];
    if (found === undefined) throw kernelError(`open the BPF object ${path}`, ENOENT);
    return found;
  };
  const hookOf = (target: AttachTarget): { key: string; programs: FakeLink[] } => {
    const key = hookKey(target, network, hooks, watched);
    const programs = hooks.get(key) ?? [];
    hooks.set(key, programs);
    return { key, programs };
  };
  const handle = (link: FakeLink): BpfLink => {
    link.holders++;
    let open = true;
    return {
      id: link.id,
      programId: () => link.program.id,
      ifindex: () => link.ifindex(),
      replace(program) {
        link.program = program as FakeProgram;
      },
      pin: (path) => pin(path, link),
      detach: () => link.detach(),
      close() {
        if (open) link.release();
        open = false;
      },
    };
  };

  return {
    createMap: (spec) => new FakeMap(spec, pin),
    mapsIn: (outer) => fakeMapsIn(outer as FakeMap, inner),
    openMap: (path) => pinned(path, FakeMap),
    openProgram: (path) => pinned(path, FakeProgram),
    openLink(path) {
      const link = pinned(path, FakeLink);
      return link && handle(link);
    },
    unpin,
    pinned: namesBelow,
    inspectObject: (path) => ({ maps: object(path).maps, programs: Object.keys(object(path).programs) }),
    loadObject: (path, options) => load(object(path), options ?? {}, pin),
    attach(program, target) {
      const { key, programs } = hookOf(target);
      const ifindex = () => (hooks.get(key)?.includes(link) && "ifindex" in target ? target.ifindex : 0);
      const what = `attach program ${program.name} to a ${target.kind} hook`;
      if (target.kind === "xdp" && programs.length > 0) throw kernelError(what, EBUSY);
      if (target.kind === "tcx" && programs.some((other) => other.program === program)) throw kernelError(what, EEXIST);
      const link: FakeLink = new FakeLink(program as FakeProgram, ifindex, () => {
        const at = programs.indexOf(link);
        if (at >= 0) programs.splice(at, 1);
      });
      if (target.kind === "clsact") {
        programs.splice(0, 1, link); // one filter of ours, held by the interface
        link.holders++;
      } else if (target.kind === "tcx" && target.first) programs.unshift(link);
      else programs.push(link);
      return target.kind === "clsact" ? { ...handle(link), id: 0, pin: () => undefined } : handle(link);
    },
    attachToSockets: () => undefined, // no sockets here that could send
    attached(target) {
      if (target.kind !== "tcx" && target.kind !== "clsact" && target.kind !== "xdp")
        throw kernelError(`query a ${target.kind} hook`, ENOTSUP);
      return hookOf(target).programs.map(({ program }) => ({ programId: program.id, programName: program.name }));
    },
    openRingBuffer: (map) => fakeRingBuffer(map as FakeMap),
    setTailCall(map, index, program) {
      if (index >= map.spec.maxEntries) throw kernelError(`update map ${map.spec.name}`, E2BIG);
      map.update(new Uint8Array(Uint32Array.of(index).buffer), new Uint8Array(Uint32Array.of(program.id).buffer));
    },
  };
}

function load(object: FakeObject, options: LoadOptions, pin: (path: string, what: Pinnable) => void): LoadedObject {
  const maps: Record<string, BpfMap> = {};
  for (const spec of object.maps) {
    const maxEntries = options.maxEntries?.[spec.name] ?? spec.maxEntries;
    maps[spec.name] = options.reuse?.[spec.name] ?? new FakeMap({ ...spec, maxEntries }, pin);
  }
  const wanted = options.programs ?? Object.keys(object.programs);
  const programs: Record<string, BpfProgram> = {};
  for (const name of wanted) {
    const body = object.programs[name];
    if (body === undefined) continue;
    programs[name] = new FakeProgram(name, (input) => body(input, maps as Record<string, FakeMap>), pin);
  }
  return { maps, programs, close: () => undefined };
}

/** Names the hook; an interface that vanishes takes its hooks along. */
function hookKey(
  target: AttachTarget,
  network: FakeNetwork,
  hooks: Map<string, FakeLink[]>,
  watched: Set<FakeNamespace>,
): string {
  switch (target.kind) {
    case "tcx":
    case "clsact":
    case "xdp": {
      const namespace = (target.netns as FakeNamespace | undefined) ?? network.here;
      if (!namespace.devices.has(target.ifindex))
        throw kernelError(`use a ${target.kind} hook of interface ${target.ifindex}`, ENODEV);
      if (!watched.has(namespace)) {
        watched.add(namespace);
        namespace.onDelete.add((ifindex) => {
          for (const key of hooks.keys()) if (key.startsWith(`${namespace.inode}/${ifindex}/`)) hooks.delete(key);
        });
      }
      return `${namespace.inode}/${target.ifindex}/${target.kind}/${target.kind === "xdp" ? "" : target.direction}`;
    }
    case "cgroup":
      return `cgroup/${target.path}/${target.attachType}`;
    case "tracepoint":
      return `tracepoint/${target.category}/${target.name}`;
    case "rawTracepoint":
      return `rawTracepoint/${target.name}`;
  }
}

function fakeRingBuffer(map: FakeMap): RingBuffer {
  const size = (record: Uint8Array) => (record.length + 8 + 7) & ~7;
  let closed = false;
  const checkOpen = () => {
    if (closed) throw new Error("the ring buffer is closed");
  };
  return {
    capacityBytes: map.spec.maxEntries,
    get backlogBytes() {
      checkOpen();
      return map.records.reduce((sum, record) => sum + size(record), 0);
    },
    drain(record, limit = Number.POSITIVE_INFINITY) {
      checkOpen();
      let count = 0;
      for (; count < limit && map.records.length > 0; ) {
        const bytes = map.records.shift()!;
        count++;
        record(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
      }
      return count;
    },
    onReadable(callback) {
      const timer = setInterval(() => map.records.length > 0 && callback(), 1);
      return () => clearInterval(timer);
    },
    close() {
      closed = true;
    },
  };
}
