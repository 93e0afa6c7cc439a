/** The npm package as users get it: packed from a copy of the checkout, unpacked where a global installation would be, and used. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";

const checkout = resolve(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), `tsilium-package-${process.pid}-`));
const installed = join(directory, "lib/node_modules/tsilium");
let contents: readonly string[];

before(() => {
  // A copy, because packing writes dist/; what set-up made is shared, so that the packer's own set-up finds nothing to do.
  const source = join(directory, "source");
  const left = new Set([".git", ".tools", "node_modules", "dist"].map((name) => join(checkout, name)));
  cpSync(checkout, source, { recursive: true, preserveTimestamps: true, filter: (path) => !left.has(path) });
  for (const name of [".tools", "node_modules"]) symlinkSync(join(checkout, name), join(source, name));
  execFileSync("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: source, stdio: "pipe" });

  const { name, version, dependencies } = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8")) as {
    readonly name: string;
    readonly version: string;
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const archive = join(directory, `${name}-${version}.tgz`);
  contents = execFileSync("tar", ["-tzf", archive], { encoding: "utf8" }).trim().split("\n");
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", archive, "-C", installed, "--strip-components=1"]);
  // What npm would fetch, and nothing else: a development dependency that the program uses would be missed.
  for (const dependency of Object.keys(dependencies)) {
    const link = join(installed, "node_modules", dependency);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(checkout, "node_modules", dependency), link);
  }
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** Runs the installed program from a folder that has nothing to do with it. */
function tsilium(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(join(installed, "bin/tsilium"), args, {
    cwd: directory,
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}`, ...env },
    encoding: "utf8",
    timeout: 60_000,
  });
}

test("the package holds program, kernel objects, examples and guide, and neither sources nor tests", () => {
  for (const wanted of [
    "LICENSE",
    "README.md",
    "bin/tsilium",
    "build/bpf/endpoint.bpf.o",
    "build/bpf/network.bpf.o",
    "dist/apps/main.js",
    "dist/apps/library/index.js",
    "dist/apps/library/expect.d.ts",
    "dist/browser/policy.js",
    "docs/guide/first-policy.md",
    "examples/policies/first.yaml",
  ]) {
    assert.ok(contents.includes(`package/${wanted}`), `${wanted} is missing`);
  }
  const unwanted = contents
    .filter((name) => /(?<!\.d)\.ts$|\.test\.|testing|^package\/(src|test|tools)\//.test(name))
    // An example of a test that users write.
    .filter((name) => name !== "package/examples/shop/tests/policies.test.ts");
  assert.deepEqual(unwanted, []);
});

test("it starts, and checks policies", () => {
  const version = tsilium(["version"]);
  assert.match(version.stdout, /^tsilium \d+\.\d+\.\d+, Node 2[4-9]/, version.stderr);
  assert.equal(tsilium(["--version"]).stdout, version.stdout);
  const check = tsilium(["policy", "check", join(installed, "examples/policies")]);
  assert.equal(check.status, 0, check.stdout + check.stderr);
});

test("it says which Node it needs where it finds an older one", () => {
  const old = join(directory, "old");
  mkdirSync(old);
  writeFileSync(join(old, "node"), "#!/bin/sh\necho v20.20.2\n", { mode: 0o755 });
  const { status, stderr } = tsilium(["version"], { PATH: `${old}:${process.env.PATH}` });
  assert.equal(status, 1);
  assert.equal(stderr, "error: tsilium needs Node 24 or newer on the PATH, and finds v20.20.2\n");
});

/** A folder of somebody else, who has installed the package; only what they write is theirs. */
function project(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(directory, name);
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  symlinkSync(installed, join(folder, "node_modules/tsilium"));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  return folder;
}

/** Runs a test file by itself: as a part of this run it would report to it instead of to us. */
function nodeTest(cwd: string, file: string) {
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  return spawnSync(process.execPath, ["--test", file], { cwd, env, encoding: "utf8", timeout: 60_000 });
}

const policies = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]
`;
const expectations = `import { test } from "node:test";
import { expect, loadPolicies } from "tsilium/policy/testing";
import { createWorld, parseManifests, parsePolicy } from "tsilium/policy";
const fromFile = await loadPolicies(["web.yaml"]);
test("files", () => expect(fromFile).from({ app: "client" }).to({ app: "web" }).on(80).http("GET", "/").isAllowedBy("web"));
test("objects", () => {
  const objects = [parseManifests(${JSON.stringify(policies)})[0].value];
  if (parsePolicy(objects[0]).kind !== "accepted") throw new Error("refused");
  expect(objects).from("world").to("app=web").on("80/tcp").isDeniedBy("default/web");
  expect(createWorld([])).from("world").to({ app: "web" }).on("53/udp").isAllowed();
});
`;

test("plain JavaScript uses both doors", () => {
  const cwd = project("javascript", { "web.yaml": policies, "web.test.mjs": expectations });
  const run = nodeTest(cwd, "web.test.mjs");
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /pass 2/);
  const command = spawnSync(join(installed, "bin/tsilium"), ["policy", "test", "web.test.mjs"], {
    cwd,
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.equal(command.status, 0, command.stdout + command.stderr);
});

test("the browser's module needs nothing of Node", () => {
  const cwd = project("browser", {
    "use.mjs": `import { createWorld, loadRequestJudging } from "tsilium/policy/browser";
      const { checkRegex } = await loadRequestJudging();
      console.log(createWorld([]).groups.length, checkRegex("(") === undefined);`,
  });
  const run = spawnSync(process.execPath, ["use.mjs"], { cwd, encoding: "utf8", timeout: 60_000 });
  assert.equal(run.stdout, "0 false\n", run.stderr);
});

test("TypeScript finds the types of both doors, and they hold", () => {
  const typed = expectations.replace("[0].value]", "[0]!.value as object]");
  const wrong =
    'import { expect } from "tsilium/policy/testing";\n// @ts-expect-error: a port is text or a number\nexpect("").on({});\n';
  const compilerOptions = {
    module: "nodenext",
    target: "es2024",
    strict: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [join(checkout, "node_modules/@types")],
  };
  const cwd = project("typescript", {
    "package.json": '{"type":"module"}',
    "web.yaml": policies,
    "web.test.ts": typed,
    "wrong.ts": wrong,
    "tsconfig.json": JSON.stringify({ compilerOptions, include: ["*.ts"] }),
  });
  const tsc = spawnSync(process.execPath, [join(checkout, "node_modules/.bin/tsc"), "-p", "."], {
    cwd,
    encoding: "utf8",
  });
  assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
  const run = nodeTest(cwd, "web.test.ts");
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /pass 2/);
});

test("it runs a node that enforces policies: the demo comes out as told", () => {
  const { status, stdout, stderr } = tsilium(["demo", "--once"], { TSILIUM_INSTANCE: `package-${process.pid}` });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /everything came as told/);
});
