/** Writes dist/browser. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleEngine } from "./bundle.ts";

const folder = join(import.meta.dirname, "../../dist/browser");
mkdirSync(folder, { recursive: true });
for (const { name, text } of await bundleEngine("module")) writeFileSync(join(folder, name), text);
