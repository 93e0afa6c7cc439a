/** `npm run bench -- [NAME...] [--json FILE] [--seconds N]`: runs one benchmark or all, prints a table, writes JSON. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import type { Bench, Figure } from "./figure.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "string" }, seconds: { type: "string", default: "2" } },
});

const here = import.meta.dirname;
const benches: Bench[] = [];
for (const file of readdirSync(here)
  .filter((name) => name.endsWith(".bench.ts"))
  .sort()) {
  benches.push(((await import(join(here, file))) as { bench: Bench }).bench);
}
const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
if (unknown.length > 0) {
  console.error(
    `no benchmark named ${unknown.join(", ")}; there are: ${benches.map((bench) => bench.name).join(", ")}`,
  );
  process.exit(2);
}

const round = (n: number) => (Math.abs(n) >= 100 ? n.toFixed(0) : n.toFixed(2));
const line = (f: Figure) =>
  [
    f.name.padEnd(58),
    `${round(f.value)} ${f.unit}`.padStart(16),
    (f.baseline ? `${f.baseline.name} ${round(f.baseline.value)}` : "").padStart(26),
    (f.ratio === undefined ? "" : `x${f.ratio}`).padStart(8),
    f.percentiles ? ` p50 ${round(f.percentiles.p50)} p99 ${round(f.percentiles.p99)}` : "",
    f.goal ? `  ${f.met ? "met" : "MISSED"}: ${f.goal}` : "",
  ].join(" ");

const results: { bench: string; figures: Figure[] }[] = [];
let failed = false;
for (const bench of benches) {
  if (positionals.length > 0 && !positionals.includes(bench.name)) continue;
  console.log(`# ${bench.name}`);
  try {
    const figures = await bench.run({ log: (text) => console.error(`  ${text}`), seconds: Number(values.seconds) });
    for (const figure of figures) console.log(line(figure));
    results.push({ bench: bench.name, figures });
  } catch (error) {
    failed = true;
    console.error(`  failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
if (values.json) {
  mkdirSync(dirname(values.json), { recursive: true });
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release(), node: process.version };
  writeFileSync(values.json, `${JSON.stringify({ at: new Date().toISOString(), machine, results }, null, 2)}\n`);
}
process.exit(failed ? 1 : 0);
