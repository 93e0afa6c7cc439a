/** Records in the run directory: one JSON file each, written so that a reader sees the old or the new one, never half. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode, errorMessage, TsiliumError } from "#core/runtime";

/** A folder of records. */
export interface RecordFolder {
  /** Throws RECORD_UNWRITABLE; the former record is whole then. */
  write(name: string, text: string): void;
  delete(name: string): void;
  /** Name (without `.json`) and text of every record. */
  readAll(): readonly (readonly [string, string])[];
}

/** Opens the folder, making it if needed; readable by root only. */
export function openRecordFolder(path: string): RecordFolder {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(path, `${name}.json`);
  return {
    write(name, text) {
      const temporary = join(path, `.${name}.${process.pid}`);
      try {
        writeFileSync(temporary, text, { mode: 0o600 });
        renameSync(temporary, file(name));
      } catch (cause) {
        rmSync(temporary, { force: true });
        throw new TsiliumError(
          "RECORD_UNWRITABLE",
          `can't write ${file(name)} (${errorMessage(cause)}), without which a restart would forget it; free space there, or make it writable, and try again`,
          { cause },
        );
      }
    },
    delete: (name) => rmSync(file(name), { force: true }),
    readAll() {
      const out: (readonly [string, string])[] = [];
      for (const entry of readdirSync(path)) {
        if (entry.startsWith(".")) rmSync(join(path, entry), { force: true });
        if (entry.startsWith(".") || !entry.endsWith(".json")) continue;
        const name = entry.slice(0, -".json".length);
        try {
          out.push([name, readFileSync(file(name), "utf8")]);
        } catch (error) {
          if (errorCode(error) !== "ENOENT") throw error;
        }
      }
      return out;
    },
  };
}
