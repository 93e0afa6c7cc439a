/** Manifests as `apply`, `delete -f` and `policy check` take them: objects of known kinds, with every problem found before anything is sent. */

import {
  apiVersionOf,
  expandList,
  type KubeObject,
  nearestName,
  type Resource,
  resourceOfObject,
  resources,
} from "#contracts/kube";
import { type Manifest, type Problem, parseManifests, type Source } from "#contracts/manifest";

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

/**
 * Parses sources into objects. Problems here are of the text or of the envelope (apiVersion, kind, metadata.name). Kinds that
 * are `passedOver` are no problem, and not among the objects.
 */
export function readObjects(sources: readonly Source[], passedOver: (kind: unknown) => boolean = () => false): Written {
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
      for (const [root, value] of expandList(manifest.value)) {
        if (isRecord(value) && passedOver(value.kind)) continue;
        const found = envelope(root, value);
        if ("resource" in found) objects.push({ ...found, manifest, file, root });
        else problems.push(...manifest.locateProblems([found]));
      }
    }
  }
  return { objects, problems };
}

/**
 * Objects that stand there twice: the second would silently replace the first. Within a file that is an error; in several files
 * of which not all may be meant for one cluster, `acrossFiles` says how bad it is.
 */
export function findDuplicates(objects: readonly WrittenObject[], acrossFiles: "error" | "warning"): Problem[] {
  const first = new Map<string, WrittenObject>();
  const problems: Problem[] = [];
  for (const one of objects) {
    const { resource, object, manifest, file } = one;
    const namespace = resource.namespaced ? (object.metadata.namespace ?? "default") : "";
    const key = [resource.group, resource.kind, namespace, object.metadata.name].join("/");
    const before = first.get(key);
    if (before === undefined) {
      first.set(key, one);
      continue;
    }
    const nameOf = ({ root }: WrittenObject) => (root === "" ? "metadata.name" : `${root}.metadata.name`);
    const { line } = before.manifest.locate(nameOf(before));
    const where = before.file === file ? `in line ${line}` : `in ${before.file}, line ${line}`;
    const within = namespace === "" ? "" : ` of namespace ${namespace}`;
    problems.push(
      ...manifest.locateProblems([
        {
          path: nameOf(one),
          code: "duplicate-object",
          severity: before.file === file ? "error" : acrossFiles,
          message: `there is a ${resource.kind} ${object.metadata.name}${within} already, ${where}: this one would replace it`,
          hint: "give one of the two another name, or put both into one",
        },
      ]),
    );
  }
  return problems;
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
