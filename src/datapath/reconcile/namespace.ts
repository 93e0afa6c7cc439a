import { TsiliumError } from "#core/runtime";
import type { Kernel, NetworkNamespace } from "#datapath/linux";

/** The namespace at a path: one of /run/netns by its name, one of a process by its pid. */
export function openNamespace(kernel: Kernel, path: string): NetworkNamespace {
  const named = /^\/(?:var\/)?run\/netns\/([^/]+)$/.exec(path);
  const ofProcess = /^\/proc\/([0-9]+)\/ns\/net$/.exec(path);
  const namespace = named
    ? kernel.netns.open(named[1]!)
    : ofProcess
      ? kernel.netns.ofProcess(Number(ofProcess[1]))
      : undefined;
  if (!namespace)
    throw new TsiliumError("NETNS_GONE", `there is no network namespace at ${path}: the workload has probably ended`, {
      details: { path },
    });
  return namespace;
}
