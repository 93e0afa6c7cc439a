/** What the doctor finds out: one row per feature. */

/** A feature, how it was tried and what came of it. */
export interface Finding {
  readonly name: string;
  readonly group: "kernel" | "network" | "machine" | "limits";
  /** `untried`: could not be tried here, see `detail`. */
  readonly state: "works" | "missing" | "untried";
  /** Whether the base runs without it. */
  readonly required: boolean;
  /** Linux version that brought it. */
  readonly since?: string;
  readonly how: string;
  /** What the user loses where it is missing. */
  readonly cost: string;
  /** What was found: a version, a path, the kernel's own words. */
  readonly detail?: string;
}

/** A feature before it is tried. */
export interface Check extends Omit<Finding, "state" | "detail"> {
  /** Whether only root can try it. */
  readonly asRoot: boolean;
  /** Tries; what it returns is shown as detail. Throws if the feature is missing. */
  attempt(): string | undefined | Promise<string | undefined>;
}

/** Tries one feature. */
export async function examineOne(check: Check, isRoot: boolean): Promise<Finding> {
  const { asRoot, attempt, ...facts } = check;
  if (asRoot && !isRoot) return { ...facts, state: "untried", detail: "only root can try it" };
  try {
    const detail = await attempt();
    return { ...facts, state: "works", ...(detail === undefined ? {} : { detail }) };
  } catch (error) {
    return { ...facts, state: "missing", detail: error instanceof Error ? error.message : String(error) };
  }
}
