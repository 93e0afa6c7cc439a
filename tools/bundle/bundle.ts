/** The policy engine as files for browsers: `policy.js`, and what it loads when requests are to be judged. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** A file of the bundle. */
export interface BundledFile {
  readonly name: string;
  readonly text: string;
  readonly gzippedBytes: number;
  /** Files that are fetched together with it. */
  readonly imports: readonly string[];
}

const root = join(import.meta.dirname, "../..");

/**
 * Bundles from the sources. `module`: an ECMAScript module for each part; `script`: all in one, which sets the global `tsiliumPolicy`.
 * Throws if anything of Node is left in it.
 */
export async function bundleEngine(format: "module" | "script"): Promise<readonly BundledFile[]> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: { policy: "src/apps/library/browser.ts" },
    outdir: "dist/browser",
    bundle: true,
    minify: true,
    platform: "browser",
    target: "es2024",
    conditions: ["development"],
    // Unused parts of modules that the engine shares with programs name them; none may remain.
    external: ["node:*"],
    logOverride: { "empty-import-meta": "silent" },
    metafile: true,
    write: false,
    ...(format === "module" ? { format: "esm", splitting: true } : { format: "iife", globalName: "tsiliumPolicy" }),
  });
  // Parts of which nothing is used may leave a file that nobody loads.
  const reached = new Set(["dist/browser/policy.js"]);
  for (const name of reached)
    for (const one of metafile.outputs[name]!.imports) if (!one.external) reached.add(one.path);
  const loaded = outputFiles
    .map((file) => ({ ...file, text: file.text, name: file.path.slice(join(root, "dist/browser").length + 1) }))
    .filter(({ name }) => reached.has(`dist/browser/${name}`));
  return loaded.map(({ name, text, contents }) => {
    const { imports } = metafile.outputs[`dist/browser/${name}`]!;
    const ofNode = imports.filter((one) => one.external);
    if (ofNode.length > 0) throw new Error(`${name} imports ${ofNode.map((one) => one.path).join(", ")}`);
    return {
      name,
      text,
      gzippedBytes: gzipSync(contents).length,
      imports: imports
        .filter(({ kind }) => kind === "import-statement")
        .map((one) => one.path.slice("dist/browser/".length)),
    };
  });
}
