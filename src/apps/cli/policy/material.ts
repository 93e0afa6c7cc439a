/** What the workbench works on: objects from files, from an API server, or from both (then a file's object takes the place of the server's). */

import colours from "picocolors";
import { readWorldObjects } from "#apps/library";
import { apiVersionOf, type Kind, resourceOf } from "#contracts/kube";
import { readSources } from "#contracts/manifest";
import { createWorld, type World, type WorldObject, type WorldOptions } from "#control/workbench";
import { TsiliumError } from "#core/runtime";
import { checkRegex } from "#proxy/policy";
import { withKube } from "../connect.ts";
import { usageError } from "../failure.ts";
import { note } from "../output.ts";
import { asksForMaterial, type MaterialFlags } from "./material-flags.ts";

const liveKinds = [
  "Namespace",
  "ServiceAccount",
  "Service",
  "Pod",
  "NetworkPolicy",
  "CiliumNetworkPolicy",
  "CiliumClusterwideNetworkPolicy",
  "CiliumCIDRGroup",
  "ClusterNetworkPolicy",
  "AdminNetworkPolicy",
  "BaselineAdminNetworkPolicy",
] as const satisfies readonly Kind[];

/** Everything that the flags name. Throws USAGE if they name nothing. */
export async function readMaterial(flags: MaterialFlags): Promise<WorldObject[]> {
  const files = flags.filename ?? [];
  const live = flags.live === true || flags.kubeconfig !== undefined;
  if (!asksForMaterial(flags))
    throw usageError("say where workloads and policies come from: -f FILE for manifests, --live for the API server");
  return [...(live ? await readLive(flags.kubeconfig) : []), ...readWorldObjects(await readSources(files))];
}

function readLive(kubeconfig: string | undefined): Promise<WorldObject[]> {
  return withKube(kubeconfig, async (client) => {
    const out: WorldObject[] = [];
    for (const kind of liveKinds) {
      const { items } = await client.list(kind).catch((error: unknown) => {
        // A cluster without Cilium has no such kinds.
        if (error instanceof TsiliumError && error.code === "KUBE_NOT_FOUND") return { items: [] };
        throw error;
      });
      for (const item of items) out.push({ object: { ...item, apiVersion: apiVersionOf(resourceOf(kind)), kind } });
    }
    return out;
  });
}

/** A world in which regexes are judged as the proxy judges them. Says on stderr which policies are refused: they are not in it. */
export function makeWorld(objects: readonly WorldObject[], options: WorldOptions = {}): World {
  const world = createWorld(objects, {
    ...options,
    compileRegex: checkRegex,
  });
  for (const { title, place, problems } of world.refused) {
    const first = problems.find(({ severity }) => severity === "error");
    note(
      `${colours.yellow("left out:")} ${title}${place === undefined ? "" : ` (${place})`} is refused: ${first?.message ?? ""}; see \`tsilium policy check\``,
    );
  }
  return world;
}
