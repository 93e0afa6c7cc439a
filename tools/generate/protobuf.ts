/** Protobuf messages and services -> TypeScript, by buf and ts-proto, offline. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { promisify } from "node:util";
import type { Generator } from "./generator.ts";

/** Where the .proto files of a module lie (with `buf.gen.yaml`), and where their code goes; relative to the root. */
interface ProtobufSource {
  readonly root: string;
  readonly protos: string;
  readonly into: string;
}

/** A generator for one folder of .proto files. */
export function protobufGenerator({ root, protos, into }: ProtobufSource): Generator {
  return {
    name: `protobuf of ${protos}`,
    async generate() {
      const out = await mkdtemp(join(tmpdir(), "tsilium-protobuf-"));
      try {
        const bin = join(root, "node_modules/.bin");
        await promisify(execFile)(join(bin, "buf"), ["generate", "-o", out, "."], {
          cwd: join(root, protos),
          env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}` },
        });
        const files = new Map<string, string>();
        for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
          if (!entry.isFile()) continue;
          const path = join(entry.parentPath, entry.name);
          files.set(join(into, relative(out, path)), await readFile(path, "utf8"));
        }
        return files;
      } finally {
        await rm(out, { recursive: true, force: true });
      }
    },
  };
}
