import { type AttachTarget, type BpfLink, type BpfProgram, isErrno, type Kernel } from "#datapath/linux";
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
  /** Programs of others on the hooks where ours are. */
  foreign(): readonly ForeignProgram[];
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
      return true;
    } finally {
      old?.close();
    }
  }

  function attachFilter(hook: HookName, device: Device): void {
    const program = programOf(hook);
    const hookTarget = target("clsact", hook, device.ifindex);
    if (bpf.attached(hookTarget)[0]?.programId === program.id) return;
    bpf.attach(program, hookTarget).close();
    program.pin(`${pinOf(hook, device.name)}${FILTER}`);
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
      const netlink = kernel.netlink();
      try {
        return attachedDevices(kernel, directory).flatMap((device) => {
          const link = netlink.link(device);
          if (link === undefined) return [];
          return bpf.pinned(`${directory}/${pinName(device)}`).flatMap((pin) => (isHook(pin) ? foreignOn(pin, { name: device, ifindex: link.index }) : [])); // biome-ignore format: one expression
        });
      } finally {
        netlink.close();
      }
    },
  };

  function foreignOn(hook: HookName, device: Device): ForeignProgram[] {
    const link = bpf.openLink(pinOf(hook, device.name));
    const ours = link?.programId();
    link?.close();
    const all = bpf.attached(target("tcx", hook, device.ifindex));
    const at = all.findIndex(({ programId }) => programId === ours);
    return all.flatMap(({ programId, programName }, i) =>
      programId === ours
        ? []
        : [
            {
              device: device.name,
              hook: hooks[hook].direction,
              programId,
              name: programName,
              before: at < 0 || i < at,
            },
          ],
    );
  }
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
  if (program !== undefined && kernel.bpf.attached(target)[0]?.programId === program.id)
    kernel.bpf.attach(program, target).detach();
  program?.close();
}

function isHook(name: string): name is HookName {
  return Object.hasOwn(hooks, name);
}
