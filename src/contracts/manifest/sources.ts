/** Where manifests come from: files, folders, standard input. */
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { errorCode, TsiliumError } from "#core/runtime";

/** A piece of text and the name it has in messages. */
export interface Source {
  readonly file: string;
  readonly text: string;
}

const extensions = new Set([".yaml", ".yml", ".json"]);

/** Reads each path: a file, a folder (its YAML and JSON files, by name) or `-` for standard input. Throws FILE_UNREADABLE. */
export async function readSources(paths: readonly string[]): Promise<Source[]> {
  if (paths.filter((path) => path === "-").length > 1)
    throw new TsiliumError("USAGE", "standard input (-) can be read only once");
  const out: Source[] = [];
  for (const path of paths) {
    if (path === "-") out.push({ file: "<stdin>", text: await readStandardInput() });
    else for (const file of await filesOf(path)) out.push({ file, text: await readText(file) });
  }
  return out;
}

async function filesOf(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  if (!found.isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && extensions.has(extname(entry.name)))
    .map((entry) => join(path, entry.name))
    .sort();
  if (files.length === 0) {
    throw new TsiliumError("FILE_UNREADABLE", `the folder ${path} holds no .yaml, .yml or .json file`);
  }
  return files;
}

async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(file));
  } catch (cause) {
    throw cause instanceof TypeError
      ? new TsiliumError("FILE_UNREADABLE", `${file} is not UTF-8 text, so it can't be a manifest`, { cause })
      : unreadable(file, cause);
  }
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function unreadable(file: string, cause: unknown): TsiliumError {
  const why: Readonly<Record<string, string>> = {
    ENOENT: "it does not exist",
    EACCES: "it may not be read by this user",
    ELOOP: "its symbolic links lead in a circle",
  };
  const code = errorCode(cause) ?? "";
  return new TsiliumError("FILE_UNREADABLE", `can't read ${file}: ${why[code] ?? code}`, { cause, details: { file } });
}
