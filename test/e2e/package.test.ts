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
    "docs/guide/first-policy.md",
    "examples/policies/first.yaml",
  ]) {
    assert.ok(contents.includes(`package/${wanted}`), `${wanted} is missing`);
  }
  const unwanted = contents.filter((name) => /\.ts$|\.test\.|testing|^package\/(src|test|tools)\//.test(name));
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

test("it runs a node that enforces policies: the demo comes out as told", () => {
  const { status, stdout, stderr } = tsilium(["demo", "--once"], { TSILIUM_INSTANCE: `package-${process.pid}` });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /everything came as told/);
});
