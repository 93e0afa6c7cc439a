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
  const examine = async (checks: readonly Check[]): Promise<void> => {
    for (const check of checks) findings.push(await examineOne(check, isRoot));
  };
  await examine(machineChecks);
  const hooks = await throughTheDoor(findings, isRoot, examine);
  await examine(limitChecks);
  const required = findings.filter((finding) => finding.required);
  if (required.some(({ state }) => state === "missing")) return { baseRuns: false, findings };
  if (required.some(({ state }) => state === "untried")) return { baseRuns: undefined, findings };
  return { baseRuns: findings.some(({ name, state }) => hooks.has(name) && state === "works"), findings };
}

/** The door itself may be shut: without libbpf nothing of the kernel can be tried. Yields the names of the hooks, of which one must work. */
async function throughTheDoor(
  findings: Finding[],
  isRoot: boolean,
  examine: (checks: readonly Check[]) => Promise<void>,
): Promise<ReadonlySet<string>> {
  const library: Omit<Finding, "state"> = {
    name: "libbpf",
    group: "machine",
    required: true,
    how: "open libbpf.so.1",
    cost: "tsilium does not start; install libbpf1",
  };
  try {
    const { openKernel } = await import("#datapath/linux");
    const { hookFeatures, kernelFindings, networkChecks } = await import("./kernel-checks.ts");
    findings.push({ ...library, state: "works" }, ...kernelFindings(isRoot));
    await examine(networkChecks(openKernel()));
    return hookFeatures;
  } catch (error) {
    findings.push({ ...library, state: "missing", detail: errorMessage(error) });
    return new Set();
  }
}
