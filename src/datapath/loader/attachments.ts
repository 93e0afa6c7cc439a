import {
  type AttachedProgram,
  type AttachTarget,
  type BpfLink,
  type BpfProgram,
  isErrno,
  type Kernel,
} from "#datapath/linux";
import { type HookName, hooks } from "./plan.ts";

/** TCX links (Linux 6.6), or filters on a clsact qdisc before. */
export type AttachMode = "tcx" | "clsact";

/** A device to attach to, in this process's network namespace. */
export interface Device {
  readonly ifindex: number;
  readonly name: string;
}

/** A program of someone else on a hook where ours is. */
export interface ForeignProgram {
  readonly device: string;
  readonly hook: "ingress" | "egress";
  readonly programId: number;
  readonly name: string;
  /** Whether it sees packets before our program does. */
  readonly before: boolean;
}

/** Our programs on devices. What is attached is pinned and stays without this process. */
export interface Attachments {
  /**
   * Makes the program run on the device, before all others: nothing if it does so already. An older program is replaced in
   * place; a link left from another device of that name, or one that others have got in front of, by a new link.
   */
  attach(hook: HookName, device: Device): void;
  /** Takes our programs off a device and forgets their pins; no error if there were none, or the device is gone. */
  detach(deviceName: string): void;
  /** Names of devices that pins exist for. */
  devices(): readonly string[];
  /** Programs of others on the hooks where ours are; TCX and clsact are one hook in this: the kernel runs one after the other. */
  foreign(): readonly ForeignProgram[];
  /**
   * Puts ours back where someone has taken it off or got in front of it (in front of a tc filter is for good). Looks at `limit`
   * devices, at the next ones with the next call. Returns the devices where it had to.
   */
  reclaim(limit: number): readonly string[];
  /** Which way of attaching this kernel has; undefined until the first device. */
  readonly mode: AttachMode | undefined;
}

/** bpffs refuses dots, devices may have them (VLANs: eth0.100). */
const pinName = (device: string) => device.replaceAll(".", "~");
const deviceName = (pin: string) => pin.replaceAll("~", ".");
/** A filter is no link: what is pinned for it is the program, under this name. */
const FILTER = "~filter";

/**
 * `directory` holds a directory of pins for each device; `load` makes a new instance of a hook's program. `mode` is found out
 * when not given.
 */
export function createAttachments(
  kernel: Kernel,
  directory: string,
  load: (hook: HookName) => BpfProgram,
  mode?: AttachMode,
): Attachments {
  const { bpf } = kernel;
  const programs = new Map<HookName, BpfProgram>();
  let known = mode;

  const programOf = (hook: HookName): BpfProgram => {
    const program = programs.get(hook) ?? load(hook);
    programs.set(hook, program);
    return program;
  };
  const pinOf = (hook: HookName, device: string) => `${directory}/${pinName(device)}/${hook}`;
  const target = (kind: AttachMode, hook: HookName, ifindex: number): AttachTarget & { kind: AttachMode } => ({
    kind,
    ifindex,
    direction: hooks[hook].direction,
    ...(kind === "tcx" && { first: true }),
  });

  /** False when this kernel has no TCX. */
  function attachTcx(hook: HookName, device: Device): boolean {
    let program = programOf(hook);
    const pin = pinOf(hook, device.name);
    const old = bpf.openLink(pin);
    try {
      if (old !== undefined && old.ifindex() === device.ifindex) {
        if (old.programId() !== program.id) old.replace(program);
        const [first] = bpf.attached(target("tcx", hook, device.ifindex));
        if (first?.programId === program.id) return true;
        // A link can't be moved, and one program can't be on a hook twice: another instance of it goes to the front.
        programs.delete(hook);
        program = programOf(hook);
      }
      let link: BpfLink;
      try {
        link = bpf.attach(program, target("tcx", hook, device.ifindex));
      } catch (error) {
        // Before 6.6 a link of a tc program is an invalid request.
        if (known === undefined && isErrno(error, "EINVAL")) return false;
        throw error;
      }
      // The new link takes the old one's pin; the old one goes with its last holder, us.
      link.pin(pin);
      link.close();
      removeFilter(hook, device);
      return true;
    } finally {
      old?.close();
    }
  }

  function attachFilter(hook: HookName, device: Device): void {
    const program = programOf(hook);
    const hookTarget = target("clsact", hook, device.ifindex);
    if (bpf.attached(hookTarget).some(({ programId }) => programId === program.id)) return;
    bpf.attach(program, hookTarget).close();
    program.pin(`${pinOf(hook, device.name)}${FILTER}`);
    // Left by a run that attached the other way: it would judge packets before the filter does.
    const link = bpf.openLink(pinOf(hook, device.name));
    if (link === undefined) return;
    if (link.ifindex() !== 0) link.detach();
    link.close();
    bpf.unpin(pinOf(hook, device.name));
  }

  /** The other way round. */
  function removeFilter(hook: HookName, device: Device): void {
    const pin = `${pinOf(hook, device.name)}${FILTER}`;
    detachFilter(kernel, pin, hook, device.name);
    bpf.unpin(pin);
  }

  let looked = 0;
  /** Our hooks on each device that is there: the program that is meant to run, and all that do. */
  function* look(devices: readonly string[]) {
    const netlink = kernel.netlink();
    try {
      for (const name of devices) {
        const ifindex = netlink.link(name)?.index;
        if (ifindex === undefined) continue;
        for (const pin of bpf.pinned(`${directory}/${pinName(name)}`)) {
          const hook = pin.endsWith(FILTER) ? pin.slice(0, -FILTER.length) : pin;
          if (isHook(hook))
            yield { hook, device: { name, ifindex }, ours: programAt(name, pin), all: allOn(hook, ifindex) };
        }
      }
    } finally {
      netlink.close();
    }
  }

  function programAt(device: string, pin: string): number | undefined {
    const path = `${directory}/${pinName(device)}/${pin}`;
    const held = pin.endsWith(FILTER) ? bpf.openProgram(path) : bpf.openLink(path);
    const id = held === undefined ? undefined : "programId" in held ? held.programId() : held.id;
    held?.close();
    return id;
  }

  function allOn(hook: HookName, ifindex: number): AttachedProgram[] {
    return [...tcxPrograms(hook, ifindex), ...bpf.attached(target("clsact", hook, ifindex))];
  }

  function tcxPrograms(hook: HookName, ifindex: number): readonly AttachedProgram[] {
    try {
      return bpf.attached(target("tcx", hook, ifindex));
    } catch (error) {
      if (isErrno(error, "EINVAL")) return []; // before 6.6 there is no such hook
      throw error;
    }
  }

  return {
    get mode() {
      return known;
    },

    attach(hook, device) {
      if (known !== "clsact" && attachTcx(hook, device)) known = "tcx";
      else {
        known = "clsact";
        attachFilter(hook, device);
      }
    },

    detach(device) {
      detachDevice(kernel, directory, device);
    },

    devices: () => attachedDevices(kernel, directory),

    foreign() {
      return [...look(attachedDevices(kernel, directory))].flatMap(({ hook, device, ours, all }) => {
        const at = all.findIndex(({ programId }) => programId === ours);
        return all.flatMap(({ programId, programName: name }, i) =>
          i === at
            ? []
            : [{ device: device.name, hook: hooks[hook].direction, programId, name, before: at < 0 || i < at }],
        );
      });
    },

    reclaim(limit) {
      const devices = attachedDevices(kernel, directory);
      if (looked >= devices.length) looked = 0;
      const some = devices.slice(looked, looked + limit);
      looked += limit;
      const reclaimed = new Set<string>();
      for (const { hook, device, ours, all } of look(some)) {
        const inPlace =
          known === "clsact" ? all.some(({ programId }) => programId === ours) : all[0]?.programId === ours;
        if (inPlace) continue;
        this.attach(hook, device);
        reclaimed.add(device.name);
      }
      return [...reclaimed];
    },
  };
}

/** Devices that pins exist for. */
export function attachedDevices(kernel: Kernel, directory: string): readonly string[] {
  return kernel.bpf.pinned(directory).map(deviceName);
}

/** Takes our programs off one device, whether links or filters. */
export function detachDevice(kernel: Kernel, directory: string, device: string): void {
  const { bpf } = kernel;
  const pins = `${directory}/${pinName(device)}`;
  for (const pin of bpf.pinned(pins)) {
    if (isHook(pin)) {
      const link = bpf.openLink(`${pins}/${pin}`);
      // A link whose device is gone has nothing left to detach from.
      if (link !== undefined && link.ifindex() !== 0) link.detach();
      link?.close();
      continue;
    }
    const hook = pin.slice(0, -FILTER.length);
    if (pin.endsWith(FILTER) && isHook(hook)) detachFilter(kernel, `${pins}/${pin}`, hook, device);
  }
  bpf.unpin(pins);
}

function detachFilter(kernel: Kernel, pin: string, hook: HookName, device: string): void {
  const netlink = kernel.netlink();
  const ifindex = netlink.link(device)?.index;
  netlink.close();
  if (ifindex === undefined) return;
  const target = { kind: "clsact", ifindex, direction: hooks[hook].direction } as const;
  const program = kernel.bpf.openProgram(pin);
  // Only our own: a filter that someone else has put there since stays.
  if (program !== undefined && kernel.bpf.attached(target).some(({ programId }) => programId === program.id))
    kernel.bpf.attach(program, target).detach();
  program?.close();
}

function isHook(name: string): name is HookName {
  return Object.hasOwn(hooks, name);
}
