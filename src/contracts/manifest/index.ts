/**
 * Manifests as people write them: YAML or JSON text -> values, field paths -> line and column, problems -> readable text.
 * Knows nothing of what a manifest means.
 * @module
 */
export { formatProblems, type Paint } from "./format.ts";
export { type Manifest, maxManifestLength, parseManifests, type TextPosition } from "./parse.ts";
export { formatPath, type PathSegments, type Problem, parsePath, type Severity } from "./problem.ts";
export { rewriteManifests } from "./rewrite.ts";
export { readSources, type Source } from "./sources.ts";
