/** `tsilium version`. */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { ExitCode } from "../exit-codes.ts";
import { print, printStructured } from "../output.ts";

/** The version in package.json, which lies three folders up both in a checkout and in the npm package. */
export function ownVersion(): string {
  const file = new URL("../../../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}

/** Prints the versions of tsilium, Node and the kernel. */
export async function version(flags: { readonly output: "text" | "json" | "yaml" }): Promise<number> {
  const versions = { tsilium: ownVersion(), node: process.versions.node, kernel: release() };
  if (flags.output !== "text") await printStructured(flags.output, versions);
  else print(`tsilium ${versions.tsilium}, Node ${versions.node}, Linux ${versions.kernel}`);
  return ExitCode.ok;
}
