// npm run generate            writes every generated file
// npm run generate -- --check fails when a committed file differs from what its source yields now
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { abiGenerator } from "./abi/generator.ts";
import { cliDocsGenerator } from "./cli-docs.ts";
import type { Generator } from "./generator.ts";
import { protobufGenerator } from "./protobuf.ts";

const root = resolve(import.meta.dirname, "../..");

const generators: readonly Generator[] = [
  abiGenerator({ object: join(root, "build/bpf/abi.bpf.o"), headers: join(root, "bpf/include/abi") }),
  cliDocsGenerator({ root }),
  protobufGenerator({ root, protos: "src/contracts/hubble/proto", into: "src/contracts/hubble/generated" }),
];

const check = process.argv.includes("--check");
const stale: string[] = [];
let failed = false;

for (const generator of generators) {
  try {
    for (const [path, text] of await generator.generate()) {
      const absolute = join(root, path);
      const committed = await readFile(absolute, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (committed === text) continue;
      if (check) {
        stale.push(`${path}: ${firstDifference(committed, text)}`);
        continue;
      }
      await mkdir(dirname(absolute), { recursive: true });
      await writeFile(absolute, text);
      console.log(`generate: ${generator.name}: wrote ${path}`);
    }
  } catch (error) {
    console.error(`generate: ${generator.name}: ${error instanceof Error ? error.message : String(error)}`);
    failed = true;
  }
}

if (stale.length > 0) {
  console.error(`generate: out of date, run \`npm run generate\` and commit:\n  ${stale.join("\n  ")}`);
  failed = true;
}
if (failed) process.exitCode = 1;

function firstDifference(committed: string | undefined, text: string): string {
  if (committed === undefined) return "missing";
  const before = committed.split("\n");
  const after = text.split("\n");
  const line = after.findIndex((value, i) => value !== before[i]);
  if (line < 0) return `has ${before.length - after.length} lines too many`;
  return `line ${line + 1} is ${JSON.stringify(before[line] ?? "")}, should be ${JSON.stringify(after[line])}`;
}
