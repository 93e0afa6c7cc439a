/** What this node enforces of the language beyond the common part. A part that is not listed here is refused in every policy. */
import type { Capability } from "#control/policy";

/** Add a part in the same change that makes the node enforce it. */
export const nodeCapabilities: ReadonlySet<Capability> = new Set<Capability>([]);
