/** What is wrong with a manifest, where, and what to do about it. */

/** error: refused. warning: accepted, but probably not what is meant. info: worth knowing. */
export type Severity = "error" | "warning" | "info";

/** One finding about a manifest. */
export interface Problem {
  /** Field path, e.g. `spec.ingress[0].toPorts[0].ports[0].port`; keys with odd characters as `["a.b/c"]`. Empty: the whole document. */
  readonly path: string;
  /** Stable kebab-case name of the kind of problem. */
  readonly code: string;
  readonly severity: Severity;
  /** What was found, what was expected. */
  readonly message: string;
  /** What to do; empty if there is nothing to say. */
  readonly hint: string;
  /** Whether the key itself is the culprit (unknown or misplaced) and not its value. */
  readonly at?: "key" | "value";
  /** Counted from 1; given by the front end that knows the text. */
  readonly line?: number;
  readonly column?: number;
  /** Characters to underline on that line. */
  readonly length?: number;
  /** Name of the file, where the text came from one. */
  readonly file?: string;
}

/** A field path as a list: keys and indices. */
export type PathSegments = readonly (string | number)[];

/** Splits a field path; the inverse of {@link formatPath}. Lenient: what it can't read becomes part of a key. */
export function parsePath(path: string): PathSegments {
  const out: (string | number)[] = [];
  const step = /\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|\.?([^.[\]]+)|[.[\]]/gy;
  for (const match of path.matchAll(step)) {
    if (match[1] !== undefined) out.push(Number(match[1]));
    else if (match[2] !== undefined) out.push(match[2].replaceAll(/\\(.)/g, "$1"));
    else if (match[3] !== undefined) out.push(match[3]);
  }
  return out;
}

/** Writes a field path. */
export function formatPath(segments: PathSegments): string {
  let out = "";
  for (const segment of segments) {
    if (typeof segment === "number") out += `[${segment}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(segment)) out += out === "" ? segment : `.${segment}`;
    else out += `["${segment.replaceAll(/["\\]/g, "\\$&")}"]`;
  }
  return out;
}
