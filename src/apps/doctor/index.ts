/**
 * What this kernel and this machine can and cannot do, found out by trying, and what each missing thing costs.
 * @module
 */
import { errorMessage } from "#core/runtime";
import { type Check, examineOne, type Finding } from "./finding.ts";
import { limitChecks, machineChecks } from "./machine-checks.ts";

export type { Finding } from "./finding.ts";

/** All findings, and whether the base runs here. */
export interface Diagnosis {
  /** Undefined where it could not be found out without root. */
  readonly baseRuns: boolean | undefined;
  readonly findings: readonly Finding[];
}

/** Tries every feature; takes a second or less, changes nothing of the machine but mounting the BPF file system. */
export async function diagnose(isRoot = process.getuid?.() === 0): Promise<Diagnosis> {
  const findings: Finding[] = [];
  for (const check of [...machineChecks, ...(await checksThroughTheDoor()), ...limitChecks]) {
    findings.push(await examineOne(check, isRoot));
  }
  const required = findings.filter((finding) => finding.required);
  const attachable = findings.filter(({ name }) => name === "TCX links" || name === "tc filters (clsact)");
  if (required.some(({ state }) => state === "missing")) return { baseRuns: false, findings };
  if (required.some(({ state }) => state === "untried")) return { baseRuns: undefined, findings };
  return { baseRuns: attachable.some(({ state }) => state === "works"), findings };
}

/** The door itself may be shut: without libbpf nothing of the kernel can be tried. */
async function checksThroughTheDoor(): Promise<readonly Check[]> {
  const library: Omit<Check, "attempt"> = {
    name: "libbpf",
    group: "machine",
    required: true,
    asRoot: false,
    how: "open libbpf.so.1",
    cost: "tsilium does not start; install libbpf1",
  };
  try {
    const { openKernel } = await import("#datapath/linux");
    const { kernelChecks, networkChecks } = await import("./kernel-checks.ts");
    const kernel = openKernel();
    return [{ ...library, attempt: () => undefined }, ...kernelChecks(kernel), ...networkChecks(kernel)];
  } catch (error) {
    return [
      {
        ...library,
        attempt: () => {
          throw new Error(errorMessage(error));
        },
      },
    ];
  }
}
