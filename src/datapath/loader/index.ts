/**
 * Objects into the kernel: choose, load on the maps of an earlier run, pin, attach to devices before all others, replace
 * without a gap, remove without a trace.
 * @module
 */
export type { AttachMode, Attachments, Device, ForeignProgram } from "./attachments.ts";
export {
  type CleanupReport,
  cleanupDatapath,
  type LoadDatapathOptions,
  type LoadedDatapath,
  loadDatapath,
} from "./load.ts";
export { type HookName, type ObjectPlan, planObjects } from "./plan.ts";
export { isSocketRedirectAttached, openSocketRedirect, type SocketRedirect } from "./socket-redirect.ts";
