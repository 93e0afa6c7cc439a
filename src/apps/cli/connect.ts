/** Ways to what is running: the agent's local API and the API server of this instance. */
import type { KubeClient } from "#contracts/kube";
import { errorCode, instancePaths, TsiliumError } from "#core/runtime";

/** Opens the API server named by a kubeconfig file, or this instance's own; the caller closes the client. */
export async function connectKube(kubeconfig?: string): Promise<KubeClient> {
  const { createKubeClient } = await import("#contracts/kube");
  const path = kubeconfig ?? instancePaths().adminKubeconfig;
  try {
    return await createKubeClient({ kubeconfig: path });
  } catch (error) {
    if (kubeconfig !== undefined || !(error instanceof TsiliumError) || error.code !== "KUBECONFIG_MISSING")
      throw error;
    const reason = errorCode(error.cause);
    if (reason === "EACCES" || reason === "EPERM") {
      throw new TsiliumError(
        "NEEDS_ROOT",
        `${path} may be read by root only; run the command with sudo, or name a file of yours with --kubeconfig`,
        { cause: error },
      );
    }
    throw new TsiliumError(
      "API_NOT_RUNNING",
      `there is no ${path}, so no API server has run here yet; start one with \`sudo tsilium up\`, or name another with --kubeconfig`,
      { details: { path }, cause: error },
    );
  }
}

/** Runs `use` with a client and closes it afterwards, whatever happens. */
export async function withKube<T>(kubeconfig: string | undefined, use: (client: KubeClient) => Promise<T>): Promise<T> {
  const client = await connectKube(kubeconfig);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
