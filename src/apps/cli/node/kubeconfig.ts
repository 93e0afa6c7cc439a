/** `tsilium kubeconfig`: what kubectl needs to talk to this node's API server. */
import { readFile } from "node:fs/promises";
import { errorCode, instancePaths, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";

/** Prints the admin's kubeconfig, or where it is. */
export async function kubeconfig(flags: { readonly path?: boolean }): Promise<number> {
  const { adminKubeconfig: path } = instancePaths();
  if (flags.path === true) {
    print(path);
    return ExitCode.ok;
  }
  try {
    print(await readFile(path, "utf8"));
    return ExitCode.ok;
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") {
      throw new TsiliumError("API_NOT_RUNNING", `there is no ${path} yet; it is written by \`sudo tsilium up\``, {
        cause,
      });
    }
    throw new TsiliumError("NEEDS_ROOT", `root is needed to read ${path}; run the command with sudo`, { cause });
  }
}
