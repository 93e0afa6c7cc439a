/** The version in package.json, three folders up both in a checkout and in the package. */
import { readFileSync } from "node:fs";

const file = new URL("../../../package.json", import.meta.url);

/** This program's version. */
export function ownVersion(): string {
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
