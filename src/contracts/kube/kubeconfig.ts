/** Where the API server is and who we are: kubeconfig files, and the files a pod finds in a cluster. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorMessage, TsiliumError } from "#core/runtime";

/** How to reach an API server. PEM texts; without `ca` the system's authorities are trusted. */
export interface KubeAccess {
  /** `https://host:port` or `http://host:port`. */
  readonly server: string;
  readonly ca?: string;
  readonly token?: string;
  /** File with a token that is renewed from time to time. */
  readonly tokenFile?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  /** Name expected in the server's certificate, if not the host of `server`. */
  readonly serverName?: string;
  readonly insecureSkipTlsVerify?: boolean;
}

const podSecrets = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Access as a pod of a cluster has it. Throws KUBECONFIG_INVALID outside of a pod. */
export async function inClusterAccess(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<KubeAccess> {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT;
  if (host === undefined || port === undefined) {
    throw new TsiliumError(
      "KUBECONFIG_INVALID",
      "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give a kubeconfig file",
    );
  }
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: await readFile(`${podSecrets}/ca.crt`, "utf8"),
    tokenFile: `${podSecrets}/token`,
  };
}

type Entry = Readonly<Record<string, unknown>>;
const isEntry = (value: unknown): value is Entry =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads a kubeconfig file (YAML or JSON) and yields the access of its current context. Throws KUBECONFIG_INVALID or KUBECONFIG_MISSING. */
export async function readKubeconfig(path: string): Promise<KubeAccess> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new TsiliumError(
      "KUBECONFIG_MISSING",
      `can't read the kubeconfig ${path}; is the API server running and the path right?`,
      { cause, details: { path } },
    );
  }
  const invalid = (why: string, cause?: unknown) =>
    new TsiliumError("KUBECONFIG_INVALID", `the kubeconfig ${path} can't be used: ${why}`, {
      cause,
      details: { path },
    });

  const config = await parseYamlOrJson(text).catch((cause: unknown) => {
    throw invalid(errorMessage(cause), cause);
  });
  if (!isEntry(config)) throw invalid("it is not an object");
  const pick = (section: "contexts" | "clusters" | "users", name: unknown): Entry => {
    const entries = Array.isArray(config[section]) ? config[section].filter(isEntry) : [];
    const body = entries.find((entry) => entry.name === name)?.[section.slice(0, -1)];
    if (!isEntry(body)) throw invalid(`${section} has no entry named ${JSON.stringify(name)}`);
    return body;
  };
  const context = pick("contexts", config["current-context"]);
  const cluster = pick("clusters", context.cluster);
  const user = pick("users", context.user);
  if (typeof cluster.server !== "string" || !URL.canParse(cluster.server))
    throw invalid("the cluster has no server URL");
  if (user.exec !== undefined || user["auth-provider"] !== undefined) {
    throw invalid("its user logs in through a plugin; use a token or a client certificate");
  }
  const field = (entry: Entry, name: string) => (typeof entry[name] === "string" ? entry[name] : undefined);
  /** PEM given inline as base64, or in a file beside the kubeconfig. */
  const pem = async (entry: Entry, name: string): Promise<string | undefined> => {
    const inline = field(entry, `${name}-data`);
    if (inline !== undefined) return Buffer.from(inline, "base64").toString("utf8");
    const file = field(entry, name);
    if (file === undefined) return undefined;
    return readFile(resolve(dirname(path), file), "utf8").catch((cause: unknown) => {
      throw invalid(`can't read ${name} ${file}`, cause);
    });
  };
  const tokenFile = field(user, "tokenFile");
  return withoutUndefined({
    server: cluster.server.replace(/\/+$/, ""),
    ca: await pem(cluster, "certificate-authority"),
    serverName: field(cluster, "tls-server-name"),
    insecureSkipTlsVerify: cluster["insecure-skip-tls-verify"] === true ? true : undefined,
    token: field(user, "token"),
    tokenFile: tokenFile === undefined ? undefined : resolve(dirname(path), tokenFile),
    clientCertificate: await pem(user, "client-certificate"),
    clientKey: await pem(user, "client-key"),
  });
}

/** Our own files are JSON, which is YAML too: so the YAML parser is loaded only for those of others. */
async function parseYamlOrJson(text: string): Promise<unknown> {
  if (text.trimStart().startsWith("{")) return JSON.parse(text);
  const { parse } = await import("yaml");
  return parse(text);
}

function withoutUndefined(access: { readonly [K in keyof KubeAccess]: KubeAccess[K] | undefined }): KubeAccess {
  return Object.fromEntries(Object.entries(access).filter(([, value]) => value !== undefined)) as unknown as KubeAccess;
}

/** The text of a kubeconfig for one cluster and one user (JSON, which every reader of YAML takes). */
export function formatKubeconfig(name: string, user: string, access: KubeAccess & { readonly token: string }): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [
      {
        name,
        cluster: {
          server: access.server,
          ...(access.ca === undefined
            ? {}
            : { "certificate-authority-data": Buffer.from(access.ca, "utf8").toString("base64") }),
        },
      },
    ],
    users: [{ name: user, user: { token: access.token } }],
    contexts: [{ name, context: { cluster: name, user, namespace: "default" } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
