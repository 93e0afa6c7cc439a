/** Manifests as `apply`, `delete -f` and `policy check` take them: objects of known kinds, with every problem found before anything is sent. */
import {
  apiVersionOf,
  type KubeObject,
  nearestName,
  type Resource,
  resourceOfObject,
  resources,
} from "#contracts/kube";
import { type Manifest, type Problem, parseManifests } from "#contracts/manifest";
import type { Source } from "./sources.ts";

/** An object, its kind, and the text it came from. */
export interface WrittenObject {
  readonly object: KubeObject;
  readonly resource: Resource;
  readonly manifest: Manifest;
  readonly file: string;
  /** Field path of the object within its document: empty, or `items[2]` in a List. */
  readonly root: string;
}

/** What a set of sources holds. Documents with problems of their own are not among the objects. */
export interface Written {
  readonly objects: readonly WrittenObject[];
  readonly problems: readonly Problem[];
}

/** Parses sources into objects. Problems here are of the text or of the envelope (apiVersion, kind, metadata.name). */
export function readObjects(sources: readonly Source[]): Written {
  const objects: WrittenObject[] = [];
  const problems: Problem[] = [];
  for (const { file, text } of sources) {
    const manifests = parseManifests(text, { file });
    if (manifests.length === 0) {
      problems.push(problem(file, "", "empty", "there is no object in it", "write at least one object"));
    }
    for (const manifest of manifests) {
      problems.push(...manifest.problems);
      if (manifest.value === undefined) continue; // not readable at all; otherwise what it holds is judged too
      for (const [root, value] of expand(manifest.value)) {
        const found = envelope(root, value);
        if ("resource" in found) objects.push({ ...found, manifest, file, root });
        else problems.push(...manifest.locateProblems([found]));
      }
    }
  }
  return { objects, problems };
}

/** The objects of a document: itself, or the items of a List, each with the path to it. */
export function expand(value: unknown): (readonly [root: string, value: unknown])[] {
  if (isRecord(value) && value.kind === "List" && Array.isArray(value.items)) {
    return value.items.map((item, i) => [`items[${i}]`, item] as const);
  }
  return [["", value]];
}

function envelope(
  root: string,
  value: unknown,
): { readonly object: KubeObject; readonly resource: Resource } | Problem {
  const at = (field: string) => (root === "" ? field : field === "" ? root : `${root}.${field}`);
  if (!isRecord(value)) {
    const found = Array.isArray(value) ? "a list" : value === null ? "nothing" : `a ${typeof value}`;
    return problem(
      undefined,
      root,
      "wrong-type",
      `found ${found}, expected an object`,
      "begin with apiVersion and kind",
    );
  }
  const { apiVersion, kind } = value;
  if (typeof kind !== "string" || typeof apiVersion !== "string") {
    const field = typeof kind === "string" ? "apiVersion" : "kind";
    return problem(
      undefined,
      at(field),
      "missing-field",
      `${field} is missing or not text`,
      "for example: apiVersion: cilium.io/v2 and kind: CiliumNetworkPolicy",
    );
  }
  const resource = resourceOfObject({ apiVersion, kind });
  if (resource === undefined) {
    const named = resources.find((one) => one.kind === kind);
    if (named !== undefined) {
      return problem(
        undefined,
        at("apiVersion"),
        "unknown-version",
        `${kind} has apiVersion ${apiVersionOf(named)}, found "${apiVersion}"`,
        `write ${apiVersionOf(named)}`,
      );
    }
    const near = nearestName(
      kind,
      resources.map((one) => one.kind),
    );
    return problem(
      undefined,
      at("kind"),
      "unknown-kind",
      `there is no kind "${kind}"`,
      near === undefined ? `known are ${resources.map((one) => one.kind).join(", ")}` : `write ${near}`,
    );
  }
  const metadata = isRecord(value.metadata) ? value.metadata : {};
  if (typeof metadata.name !== "string" || metadata.name === "") {
    return problem(undefined, at("metadata.name"), "missing-field", "the object has no name", "set metadata.name");
  }
  return { object: value as unknown as KubeObject, resource };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function problem(file: string | undefined, path: string, code: string, message: string, hint: string): Problem {
  return { path, code, severity: "error", message, hint, ...(file === undefined ? {} : { file }) };
}
