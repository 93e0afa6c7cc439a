import { basename } from "node:path";
import { TsiliumError } from "#core/runtime";
import { errnoName, KernelError, kernelError } from "./errors.ts";
import type { BpfMap, BpfProgram, LoadedObject, LoadOptions, MapSpec, ObjectSpec } from "./kernel.ts";
import { RealMap } from "./map.ts";
import { duplicateFd, lastErrno, libbpf, libbpfObjects, withLibbpfMessages } from "./native.ts";
import { RealProgram } from "./program.ts";
import { summarizeVerifierLog } from "./verifier-log.ts";

const LOG_SIZE = 16 << 20; // touched only when a program is refused

/** What the object holds; no privilege needed. */
export function inspectObject(path: string): ObjectSpec {
  return withObject(path, (object) => ({
    maps: [...mapsOf(object)].map(mapSpec),
    programs: [...programsOf(object)].map((program) => libbpfObjects.programName(program)),
  }));
}

/** Loads through libbpf, which relocates and checks against the kernel's BTF; then keeps only our own descriptors. */
export function loadObject(path: string, options: LoadOptions = {}): LoadedObject {
  return withObject(path, (object) => {
    const log = Buffer.alloc(LOG_SIZE);
    const wanted = new Set(options.programs ?? [...programsOf(object)].map((p) => libbpfObjects.programName(p)));
    for (const program of programsOf(object)) {
      const name = libbpfObjects.programName(program);
      libbpf.programSetAutoload(program, wanted.has(name));
      libbpf.programSetLogBuffer(program, log, log.length);
    }
    for (const map of mapsOf(object)) {
      const { name } = mapSpec(map);
      const maxEntries = options.maxEntries?.[name];
      if (maxEntries !== undefined) must(libbpf.mapSetMaxEntries(map, maxEntries), `set the capacity of map ${name}`);
      const reused = options.reuse?.[name];
      if (reused !== undefined) must(libbpf.mapReuseFd(map, (reused as RealMap).fd), `reuse map ${name}`);
    }
    const { result, messages } = withLibbpfMessages(() => libbpf.objectLoad(object));
    if (result !== 0) throw loadError(path, -result, log, messages);

    const maps: Record<string, BpfMap> = {};
    const programs: Record<string, BpfProgram> = {};
    for (const map of mapsOf(object)) maps[mapSpec(map).name] = new RealMap(duplicateFd(libbpf.mapFd(map)));
    for (const program of programsOf(object)) {
      const name = libbpfObjects.programName(program);
      if (wanted.has(name)) programs[name] = new RealProgram(duplicateFd(libbpf.programFd(program)));
    }
    return {
      maps,
      programs,
      close() {
        for (const held of [...Object.values(maps), ...Object.values(programs)]) held.close();
      },
    };
  });
}

function withObject<T>(path: string, use: (object: bigint) => T): T {
  const { result: object, messages } = withLibbpfMessages(() => libbpfObjects.open(path, null));
  if (object === null) {
    throw new TsiliumError(
      "BAD_OBJECT",
      `open the BPF object ${path}: ${errnoName(lastErrno())}${messages.length > 0 ? `: ${messages.join("; ")}` : ""}; compile it with make -C bpf`,
    );
  }
  try {
    return use(object);
  } finally {
    libbpfObjects.close(object);
  }
}

function* mapsOf(object: bigint): Iterable<bigint> {
  for (let map = libbpfObjects.nextMap(object, null); map !== null; map = libbpfObjects.nextMap(object, map)) {
    // .rodata, .bss and the like belong to the object, not to us.
    if (!libbpfObjects.mapName(map).includes(".")) yield map;
  }
}

function* programsOf(object: bigint): Iterable<bigint> {
  for (let p = libbpfObjects.nextProgram(object, null); p !== null; p = libbpfObjects.nextProgram(object, p)) yield p;
}

function mapSpec(map: bigint): MapSpec {
  return {
    name: libbpfObjects.mapName(map),
    type: libbpf.mapType(map),
    keySize: libbpf.mapKeySize(map),
    valueSize: libbpf.mapValueSize(map),
    maxEntries: libbpf.mapMaxEntries(map),
    flags: libbpf.mapFlags(map),
  };
}

function loadError(path: string, errno: number, log: Buffer, messages: readonly string[]): KernelError {
  const text = log.toString("utf8", 0, Math.max(0, log.indexOf(0)));
  const summary = summarizeVerifierLog(text);
  const program = messages.map((m) => /prog '(\w+)'/.exec(m)?.[1]).find((name) => name !== undefined);
  const details = { object: path, program, verifierLog: text, libbpf: messages };
  if (summary.message === "" || program === undefined)
    return kernelError(`load ${basename(path)}`, errno, messages.at(-1) ?? "", details);
  const message = `load program ${program} of ${basename(path)}: the verifier refused it: ${summary.message}`;
  return new KernelError("VERIFIER_REJECTED", errnoName(errno), message, details);
}

function must(result: number, what: string): void {
  if (result !== 0) throw kernelError(what, -result);
}
