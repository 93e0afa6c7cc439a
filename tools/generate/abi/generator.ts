import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Generator } from "../generator.ts";
import { elfSection, parseBtf } from "./btf.ts";
import { parseComments } from "./comments.ts";
import { type Brand, emitTypeScript } from "./emit.ts";

const output = "src/contracts/bpf/generated/abi.ts";

const brands: Readonly<Record<string, Brand>> = {
  identity_t: { name: "NumericIdentity", from: "#core/model" },
  endpoint_id_t: { name: "EndpointId", from: "#core/model" },
  policy_set_t: { name: "PolicySetId", from: "#core/model" },
};

/** Codecs and codes of the kernel's ABI. `object` is any object whose BTF holds every struct and enum of `headers`. */
export function abiGenerator(source: { readonly object: string; readonly headers: string }): Generator {
  return {
    name: "bpf abi",
    async generate() {
      const object = await readFile(source.object).catch((cause: Error) => {
        throw new Error(`can't read ${source.object}: ${cause.message}; compile the BPF objects first: make -C bpf`);
      });
      const names = (await readdir(source.headers)).filter((name) => name.endsWith(".h")).sort();
      const headers = await Promise.all(names.map((name) => readFile(join(source.headers, name), "utf8")));
      assertComplete(headers, object);
      return new Map([[output, emitTypeScript(parseBtf(elfSection(object, ".BTF")), parseComments(headers), brands)]]);
    },
  };
}

/** A type that nothing in the object uses is absent from its BTF: say so instead of silently leaving it out. */
function assertComplete(headers: readonly string[], object: Uint8Array): void {
  const present = new Set(parseBtf(elfSection(object, ".BTF")).flatMap((t) => ("name" in t ? [t.name] : [])));
  const missing = headers
    .flatMap((text) => [...text.matchAll(/^(?:struct|enum) (\w+) \{/gm)].map((m) => m[1]!))
    .filter((name) => !present.has(name));
  if (missing.length > 0) throw new Error(`the object's BTF lacks ${missing.join(", ")}: nothing in it refers to them`);
}
