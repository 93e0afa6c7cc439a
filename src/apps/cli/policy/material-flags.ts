/** The flags by which commands are told of workloads and policies. */

/** Flags that say where objects come from. */
export interface MaterialFlags {
  readonly filename?: readonly string[];
  readonly live?: boolean;
  readonly kubeconfig?: string;
}

/** Whether the flags name anything. */
export function asksForMaterial({ filename = [], live, kubeconfig }: MaterialFlags): boolean {
  return filename.length > 0 || live === true || kubeconfig !== undefined;
}
