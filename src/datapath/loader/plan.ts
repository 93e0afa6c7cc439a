import { join } from "node:path";

/** Hooks of the datapath: which object holds the program, on which side of a device it sits. */
export const hooks = {
  from_endpoint: { object: "endpoint.bpf.o", direction: "ingress" },
  to_endpoint: { object: "endpoint.bpf.o", direction: "egress" },
  from_network: { object: "network.bpf.o", direction: "ingress" },
  to_network: { object: "network.bpf.o", direction: "egress" },
} as const;

/** Name of a program and of its hook. */
export type HookName = keyof typeof hooks;

/** What to load; computed without a kernel. */
export interface ObjectPlan {
  /** In this order; the second object uses the maps of the first. */
  readonly objects: readonly { readonly path: string; readonly programs: readonly HookName[] }[];
  /** Capacities in place of the objects' own. */
  readonly maxEntries: Readonly<Record<string, number>>;
}

/** The plan for these hooks; by default all of them. `objectDirectory` is where the compiled objects lie. */
export function planObjects(options: {
  readonly objectDirectory: string;
  readonly hooks?: readonly HookName[];
  readonly maxEntries?: Readonly<Record<string, number>>;
}): ObjectPlan {
  const byObject = new Map<string, HookName[]>();
  for (const name of options.hooks ?? (Object.keys(hooks) as HookName[]))
    byObject.set(hooks[name].object, [...(byObject.get(hooks[name].object) ?? []), name]);
  return {
    objects: [...byObject].map(([file, programs]) => ({ path: join(options.objectDirectory, file), programs })),
    maxEntries: options.maxEntries ?? {},
  };
}
