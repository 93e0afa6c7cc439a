import { TsiliumError } from "#core/runtime";
import type { BpfMap, BpfProgram, Kernel, LoadedObject, MapSpec } from "#datapath/linux";
import { type DatapathMaps, openDatapathMaps } from "#datapath/maps";
import { type AttachMode, type Attachments, attachedDevices, createAttachments, detachDevice } from "./attachments.ts";
import { adoptMaps } from "./map-store.ts";
import { type HookName, type ObjectPlan, type StageName, stages } from "./plan.ts";
import { detachSocketRedirect } from "./socket-redirect.ts";

/** The datapath in the kernel. Closing it changes nothing there: enforcement goes on. */
export interface LoadedDatapath {
  /** With typed rows. */
  readonly maps: DatapathMaps;
  /** All maps, also those without typed rows: ring buffer `events`, kernel-only ones. */
  readonly rawMaps: Readonly<Record<string, BpfMap>>;
  /** Names of maps that an earlier run had left, contents and all. */
  readonly adopted: readonly string[];
  /** Names of maps whose old contents were given up because their shape has changed. */
  readonly recreated: readonly string[];
  readonly attachments: Attachments;
  close(): void;
}

export interface LoadDatapathOptions {
  readonly kernel: Kernel;
  readonly plan: ObjectPlan;
  /** On a BPF file system; maps, progs and links get a directory each. */
  readonly directory: string;
  /** What to do when a pinned map doesn't fit: `refuse` (default) throws MAP_SHAPE_CHANGED. */
  readonly onShapeChange?: "refuse" | "recreate";
  /** To force one; found out by default. */
  readonly mode?: AttachMode;
}

/**
 * Loads the planned objects on the pinned maps of an earlier run, or on new ones, and pins maps and programs. Links of an
 * earlier run keep running; `attachments.attach` puts the new programs in the place of the old without a gap. Nothing is
 * pinned unless everything was accepted. Throws VERIFIER_REJECTED, KERNEL_DENIED, MAP_SHAPE_CHANGED.
 */
export function loadDatapath(options: LoadDatapathOptions): LoadedDatapath {
  const { kernel, plan, directory } = options;
  const mapsDirectory = `${directory}/maps`;
  const wanted = wantedMaps(kernel, plan);
  const { maps: found, unfit } = adoptMaps(kernel, mapsDirectory, wanted, options.onShapeChange ?? "refuse");

  const objects: LoadedObject[] = [];
  const rawMaps: Record<string, BpfMap> = { ...found };
  const programs = new Map<HookName, BpfProgram>();
  const called = new Map<StageName, BpfProgram>();
  const close = () => {
    for (const held of [...Object.values(found), ...objects]) held.close();
  };
  try {
    for (const { path, programs: names } of plan.objects) {
      const object = kernel.bpf.loadObject(path, { reuse: rawMaps, maxEntries: plan.maxEntries, programs: names });
      objects.push(object);
      for (const [name, map] of Object.entries(object.maps)) rawMaps[name] ??= map;
      for (const name of names) {
        if (isStage(name)) called.set(name, object.programs[name]!);
        else programs.set(name, object.programs[name]!);
      }
    }
    const maps = openDatapathMaps(rawMaps);
    for (const [name, map] of Object.entries(rawMaps))
      if (found[name] === undefined) map.pin(`${mapsDirectory}/${name}`);
    // What is called has to be there before its callers; an older one's callers call the new one from here on.
    for (const [name, program] of called)
      kernel.bpf.setTailCall(rawMaps[stages[name].map]!, stages[name].index, program);
    for (const [name, program] of programs) program.pin(`${directory}/progs/${name}`);

    /** The instance made above at first, then new ones. */
    const instance = (hook: HookName): BpfProgram => {
      const made = programs.get(hook);
      if (programs.delete(hook)) return made!;
      const source = plan.objects.find(({ programs: names }) => names.includes(hook));
      if (source === undefined) throw new TsiliumError("NO_PROGRAM", `the plan has no program for the hook ${hook}`);
      const object = kernel.bpf.loadObject(source.path, { reuse: rawMaps, programs: [hook] });
      objects.push(object);
      object.programs[hook]!.pin(`${directory}/progs/${hook}`);
      return object.programs[hook]!;
    };
    return {
      maps,
      rawMaps,
      adopted: Object.keys(found),
      recreated: unfit,
      attachments: createAttachments(kernel, `${directory}/links`, instance, options.mode),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function isStage(name: HookName | StageName): name is StageName {
  return Object.hasOwn(stages, name);
}

/** Shapes of all maps of all objects; equal names mean one map. */
function wantedMaps(kernel: Kernel, plan: ObjectPlan): MapSpec[] {
  const byName = new Map<string, MapSpec>();
  for (const { path } of plan.objects)
    for (const spec of kernel.bpf.inspectObject(path).maps)
      byName.set(spec.name, { ...spec, maxEntries: plan.maxEntries[spec.name] ?? spec.maxEntries });
  return [...byName.values()];
}

/** What `cleanupDatapath` removed; all empty when there was nothing. */
export interface CleanupReport {
  readonly devices: readonly string[];
  readonly programs: readonly string[];
  readonly maps: readonly string[];
}

/** Removes every trace of the datapath: programs come off their devices, and all pins go. Twice is no error. */
export function cleanupDatapath(kernel: Kernel, directory: string): CleanupReport {
  const report = {
    devices: attachedDevices(kernel, `${directory}/links`),
    programs: kernel.bpf.pinned(`${directory}/progs`),
    maps: kernel.bpf.pinned(`${directory}/maps`),
  };
  for (const device of report.devices) detachDevice(kernel, `${directory}/links`, device);
  detachSocketRedirect(kernel, directory);
  kernel.bpf.unpin(directory);
  return report;
}
