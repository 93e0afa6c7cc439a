/** Who may do what: two bearer tokens, one for people with all rights, one for the node's agent with those it needs. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { formatKubeconfig, type Kind } from "#contracts/kube";
import { errorMessage, TsiliumError } from "#core/runtime";
import { createAuthority, type KeyedCertificate } from "./certificates.ts";

/** A known client. */
export type Role = "admin" | "agent";

/** What a request wants to do with objects. */
export interface Action {
  readonly verb: "read" | "write" | "write-status";
  readonly kind: Kind;
}

/** Secrets of the server, kept in its state directory. */
export interface Credentials {
  readonly authority: KeyedCertificate;
  readonly tokens: Readonly<Record<Role, string>>;
}

/** Kinds of which the agent is the author. Policies are not among them: an agent taken over can't loosen what binds it. */
const writtenByAgent: ReadonlySet<Kind> = new Set<Kind>([
  "Node",
  "Namespace",
  "Pod",
  "ServiceAccount",
  "CiliumIdentity",
  "CiliumEndpoint",
]);

/** Whether a role may do that. */
export function isAllowed(role: Role, { verb, kind }: Action): boolean {
  if (role === "admin") return true;
  switch (verb) {
    case "read":
      return kind !== "Secret";
    case "write-status":
      return kind !== "Secret";
    case "write":
      return writtenByAgent.has(kind);
  }
}

/** The role that a bearer token stands for; takes as long for a wrong one as for a right one. */
export function roleOf(authorization: string | undefined, { tokens }: Credentials): Role | undefined {
  const token = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) return undefined;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const given = digest(token);
  return (["admin", "agent"] as const).find((role) => timingSafeEqual(given, digest(tokens[role])));
}

/** The secrets in a state directory; made on the first start. Throws STATE_UNUSABLE. */
export function loadCredentials(stateDir: string, nowMs: number): Credentials {
  const directory = join(stateDir, "pki");
  const file = (name: string) => join(directory, name);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (!existsSync(file("ca.crt"))) {
      const made = createAuthority(nowMs);
      writeSecret(file("ca.key"), made.key);
      writeSecret(file("ca.crt"), made.certificate); // last: with it the pair is whole
    }
    const read = (name: string) => readFileSync(file(name), "utf8");
    const token = (role: Role) => {
      const name = `${role}.token`;
      if (!existsSync(file(name))) writeSecret(file(name), randomBytes(32).toString("base64url"));
      return read(name).trim();
    };
    return {
      authority: { certificate: read("ca.crt"), key: read("ca.key") },
      tokens: { admin: token("admin"), agent: token("agent") },
    };
  } catch (cause) {
    throw new TsiliumError(
      "STATE_UNUSABLE",
      `can't keep certificates and tokens in ${directory} (${errorMessage(cause)}); the directory must be writable (run as root, or give another with --state-dir) and the disk not full`,
      { cause, details: { directory } },
    );
  }
}

/** Writes a kubeconfig with the token of a role. Throws STATE_UNUSABLE. */
export function writeKubeconfig(path: string, role: Role, server: string, { authority, tokens }: Credentials): void {
  const text = formatKubeconfig("tsilium", `tsilium-${role}`, {
    server,
    ca: authority.certificate,
    token: tokens[role],
  });
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeSecret(path, text);
  } catch (cause) {
    throw new TsiliumError("STATE_UNUSABLE", `can't write the kubeconfig ${path} (${errorMessage(cause)})`, {
      cause,
      details: { path },
    });
  }
}

/** Whole or not at all, and readable by the owner only. */
function writeSecret(path: string, text: string): void {
  const draft = `${path}.${process.pid}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, path);
}
