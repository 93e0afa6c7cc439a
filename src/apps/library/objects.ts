/** Sources -> what the workbench works on. */
import { expandList } from "#contracts/kube";
import { parseManifests, readSources, type Source } from "#contracts/manifest";
import { createWorld, type World, type WorldObject, type WorldOptions } from "#control/workbench";
import { TsiliumError } from "#core/runtime";
import { checkRegex } from "#proxy/policy";

/**
 * The objects of manifests, with the lines on which they stand. For text that is no YAML throws MANIFEST_UNREADABLE, unless it
 * is to be skipped.
 */
export function readWorldObjects(sources: readonly Source[], unreadable: "throw" | "skip" = "throw"): WorldObject[] {
  const out: WorldObject[] = [];
  for (const { file, text } of sources) {
    for (const manifest of parseManifests(text, { file })) {
      if (manifest.value === undefined) {
        if (unreadable === "skip") continue;
        const [problem] = manifest.problems;
        throw new TsiliumError(
          "MANIFEST_UNREADABLE",
          `${file}:${problem?.line ?? 1}: ${problem?.message ?? "the text is no YAML"}; \`tsilium policy check\` shows all problems`,
        );
      }
      for (const [root, object] of expandList(manifest.value)) {
        const locate = (path: string) => {
          const whole = root === "" ? path : path === "" ? root : `${root}.${path}`;
          return `${file}:${manifest.locate(whole, path === "" ? "value" : "key").line}`;
        };
        out.push({ object, locate });
      }
    }
  }
  return out;
}

/**
 * Reads files and folders of manifests into a world. Throws FILE_UNREADABLE and MANIFEST_UNREADABLE, and POLICY_REFUSED if a
 * policy among them is refused: what is tested would not be what is written.
 */
export async function loadWorld(paths: readonly string[], options: WorldOptions = {}): Promise<World> {
  return makeWholeWorld(readWorldObjects(await readSources(paths)), options);
}

/** The world of objects. Throws POLICY_REFUSED as {@link loadWorld}. */
export function makeWholeWorld(objects: readonly WorldObject[], options: WorldOptions = {}): World {
  const world = createWorld(objects, { compileRegex: checkRegex, ...options });
  const [first] = world.refused;
  if (first === undefined) return world;
  const problem = first.problems.find(({ severity }) => severity === "error");
  throw new TsiliumError(
    "POLICY_REFUSED",
    `${first.title}${first.place === undefined ? "" : ` (${first.place})`} is refused: ${problem?.path ?? ""}: ${problem?.message ?? ""}; \`tsilium policy check\` shows all problems`,
    {
      details: {
        problems: world.refused.flatMap(({ problems }) => problems.map(({ path, message }) => `${path}: ${message}`)),
      },
    },
  );
}
