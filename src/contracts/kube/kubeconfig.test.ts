import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { formatKubeconfig, readKubeconfig } from "./kubeconfig.ts";

const directory = mkdtempSync(join(tmpdir(), `tsilium-kubeconfig-${process.pid}-`));
after(() => rmSync(directory, { recursive: true }));
function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

test("what is written is read back", async () => {
  const access = { server: "https://127.0.0.1:6443", ca: "PEM\n", token: "secret" };
  assert.deepEqual(await readKubeconfig(write("own", formatKubeconfig("tsilium", "admin", access))), access);
});

test("a cluster's YAML file with certificates in files beside it is read", async () => {
  write("ca.crt", "CA");
  write("client.crt", "CERT");
  const path = write(
    "cluster.yaml",
    `
apiVersion: v1
kind: Config
current-context: b
clusters:
- {name: other, cluster: {server: "https://other"}}
- {name: c, cluster: {server: "https://k8s.example:6443/", certificate-authority: ca.crt, tls-server-name: api}}
users:
- {name: u, user: {client-certificate: client.crt, client-key-data: S0VZ}}
contexts:
- {name: b, context: {cluster: c, user: u}}
`,
  );
  assert.deepEqual(await readKubeconfig(path), {
    server: "https://k8s.example:6443",
    ca: "CA",
    serverName: "api",
    clientCertificate: "CERT",
    clientKey: "KEY",
  });
});

const broken: Record<string, { text: string; says: RegExp }> = {
  "broken YAML": { text: "a: [", says: /can't be used/ },
  "no contexts": { text: "{}", says: /contexts has no entry named undefined/ },
  "a login plugin": {
    text: JSON.stringify({
      "current-context": "x",
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      clusters: [{ name: "c", cluster: { server: "https://x" } }],
      users: [{ name: "u", user: { exec: { command: "aws" } } }],
    }),
    says: /plugin; use a token/,
  },
};
for (const [name, { text, says }] of Object.entries(broken)) {
  test(`a kubeconfig with ${name} is refused with the reason`, async () => {
    await assert.rejects(readKubeconfig(write("broken", text)), { code: "KUBECONFIG_INVALID", message: says });
  });
}

test("a kubeconfig that is not there is named in the error", async () => {
  await assert.rejects(readKubeconfig("/nonexistent/kubeconfig"), {
    code: "KUBECONFIG_MISSING",
    message: /\/nonexistent\/kubeconfig/,
  });
});
