/** `npm run fuzz -- [NAME...] [--seconds N] [--seed S]`: runs the fuzz targets, each for its share of time, with a printed seed. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

/** A fuzz target: runs for `seconds`; throws, naming the input, when a property breaks. Returns how many inputs it tried. */
export interface FuzzTarget {
  readonly name: string;
  run(options: { readonly seconds: number; readonly seed: number }): number | Promise<number>;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "10" }, seed: { type: "string" } },
});
const seed = values.seed === undefined ? Date.now() >>> 0 : Number(values.seed);
let failed = false;
for (const file of readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith(".fuzz.ts"))
  .sort()) {
  const { fuzz } = (await import(join(import.meta.dirname, file))) as { fuzz: FuzzTarget };
  if (positionals.length > 0 && !positionals.includes(fuzz.name)) continue;
  try {
    const inputs = await fuzz.run({ seconds: Number(values.seconds), seed });
    console.log(`${fuzz.name}: ${inputs} inputs, seed ${seed}: no property broken`);
  } catch (error) {
    failed = true;
    console.error(`${fuzz.name}: seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
process.exit(failed ? 1 : 0);
