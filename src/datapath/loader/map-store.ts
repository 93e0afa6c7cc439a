import { TsiliumError } from "#core/runtime";
import type { BpfMap, Kernel, MapSpec } from "#datapath/linux";

/** What became of the maps that an earlier run had pinned. */
export interface AdoptedMaps {
  /** Maps to load the object with. */
  readonly maps: Readonly<Record<string, BpfMap>>;
  /** Pinned maps whose shape no longer fits: their contents are lost once the new ones are pinned. */
  readonly unfit: readonly string[];
}

/**
 * Opens the pinned maps that fit what the object wants, so that connections and counters survive. `refuse` throws
 * MAP_SHAPE_CHANGED, with all differences, if one doesn't fit; nothing was changed then.
 */
export function adoptMaps(
  kernel: Kernel,
  directory: string,
  wanted: readonly MapSpec[],
  onShapeChange: "refuse" | "recreate",
): AdoptedMaps {
  const maps: Record<string, BpfMap> = {};
  const differences: string[] = [];
  const unfit: string[] = [];
  for (const spec of wanted) {
    const map = kernel.bpf.openMap(`${directory}/${spec.name}`);
    if (map === undefined) continue;
    const difference = shapeDifference(spec, map.spec);
    if (difference === undefined) {
      maps[spec.name] = map;
      continue;
    }
    map.close();
    unfit.push(spec.name);
    differences.push(`${spec.name}: ${difference}`);
  }
  if (unfit.length > 0 && onShapeChange === "refuse") {
    for (const map of Object.values(maps)) map.close();
    throw new TsiliumError(
      "MAP_SHAPE_CHANGED",
      `the maps pinned in ${directory} are of another version or configuration: ${differences.join("; ")}; recreate them (their contents, such as known connections, are lost), or remove everything with \`tsilium cleanup\``,
      { details: { directory, differences } },
    );
  }
  return { maps, unfit };
}

function shapeDifference(wanted: MapSpec, found: MapSpec): string | undefined {
  const parts = (["type", "keySize", "valueSize", "maxEntries", "flags"] as const)
    .filter((field) => wanted[field] !== found[field])
    .map((field) => `${field} ${found[field]}, wanted ${wanted[field]}`);
  return parts.length === 0 ? undefined : parts.join(", ");
}
