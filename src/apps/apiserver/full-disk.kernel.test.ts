/** A full disk, for which a file system of our own is needed. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createTestDirectory, createTestServer } from "./testing.ts";

const path = "/api/v1/namespaces/default/configmaps";

test("on a full disk writes are refused with the reason, reads go on, and writes work again once there is room", async () => {
  const directory = createTestDirectory();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", directory]);
  try {
    const server = await createTestServer({ directory });
    const write = (name: string) =>
      server.request("POST", path, { body: { metadata: { name }, data: { filler: "x".repeat(50_000) } } });
    assert.equal((await write("first")).httpStatus, 201);
    const ballast = join(directory, "ballast");
    for (let size = 3_000_000; size >= 4096; size /= 2) {
      try {
        writeFileSync(`${ballast}-${size}`, Buffer.alloc(size));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "ENOSPC");
      }
    }
    const refused = await write("second");
    assert.equal(refused.httpStatus, 507, refused.text);
    assert.match(refused.json.message, /objects\.db can't grow .* free disk space/);
    assert.equal((await server.request("GET", `${path}/first`)).httpStatus, 200);
    assert.equal((await server.request("GET", `${path}/second`)).httpStatus, 404);
    for (const file of readdirSync(directory).filter((name) => name.startsWith("ballast")))
      rmSync(join(directory, file));
    assert.equal((await write("third")).httpStatus, 201);
    await server.close();
    const again = await createTestServer({ directory });
    assert.equal((await again.request("GET", `${path}/third`)).httpStatus, 200);
    await again.close();
  } finally {
    execFileSync("umount", [directory]);
    rmSync(directory, { recursive: true });
  }
});
