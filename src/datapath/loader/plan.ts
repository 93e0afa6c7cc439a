import { join } from "node:path";
import { HttpStage } from "#contracts/bpf";

/** Hooks of the datapath: which object holds the program, on which side of a device it sits. */
export const hooks = {
  from_endpoint: { object: "endpoint.bpf.o", direction: "ingress" },
  to_endpoint: { object: "endpoint.bpf.o", direction: "egress" },
  from_network: { object: "network.bpf.o", direction: "ingress" },
  to_network: { object: "network.bpf.o", direction: "egress" },
} as const;

/** Name of a program and of its hook. */
export type HookName = keyof typeof hooks;

/** Programs that the hooks' programs tail-call: their object, and their place in a map. */
export const stages = {
  http_request: { object: "http.bpf.o", map: "http_stages", index: HttpStage.REQUEST },
  http_response: { object: "http.bpf.o", map: "http_stages", index: HttpStage.RESPONSE },
} as const;

/** Name of a program that is reached by a tail call. */
export type StageName = keyof typeof stages;

/** What to load; computed without a kernel. */
export interface ObjectPlan {
  /** In this order; the second object uses the maps of the first. */
  readonly objects: readonly { readonly path: string; readonly programs: readonly (HookName | StageName)[] }[];
  /** Capacities in place of the objects' own. */
  readonly maxEntries: Readonly<Record<string, number>>;
}

/** The plan for these hooks, by default all of them, and for what they call. `objectDirectory` is where the compiled objects lie. */
export function planObjects(options: {
  readonly objectDirectory: string;
  readonly hooks?: readonly HookName[];
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** False: without what they call; who is sent there is dropped. */
  readonly stages?: boolean;
}): ObjectPlan {
  const byObject = new Map<string, (HookName | StageName)[]>();
  const add = (object: string, name: HookName | StageName) =>
    byObject.set(object, [...(byObject.get(object) ?? []), name]);
  for (const name of options.hooks ?? (Object.keys(hooks) as HookName[])) add(hooks[name].object, name);
  if (options.stages !== false) for (const name of Object.keys(stages) as StageName[]) add(stages[name].object, name);
  return {
    objects: [...byObject].map(([file, programs]) => ({ path: join(options.objectDirectory, file), programs })),
    maxEntries: options.maxEntries ?? {},
  };
}
