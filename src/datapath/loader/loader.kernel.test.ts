import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { ensureBpffs, openKernel } from "#datapath/linux";
import { createTestNamespace, sweepTestNamespaces, sweepTestPins, testName } from "#datapath/linux/testing";
import { mapDefinitions, shapeMismatch } from "#datapath/maps";
import { cleanupDatapath, loadDatapath, planObjects } from "./index.ts";
import { loaderBehaviour } from "./suite.ts";

const objectDirectory = resolve(import.meta.dirname, "../../../build/bpf");

loaderBehaviour("the loader on the running kernel", () => {
  ensureBpffs();
  sweepTestNamespaces();
  sweepTestPins();
  return { kernel: openKernel(), objectDirectory, name: testName };
});

describe("a process that is killed", () => {
  it("leaves programs on their devices and rows in their maps, and the next one takes them over", (t) => {
    const { name, netns } = createTestNamespace(t);
    const kernel = openKernel();
    const directory = `/sys/fs/bpf/${name}`;
    t.after(() => cleanupDatapath(kernel, directory));
    const netlink = kernel.netlink(netns);
    netlink.apply([{ kind: "createVeth", link: { name: "tsl1" }, peer: { name: "peer" } }]);
    const device = { name: "tsl1", ifindex: netlink.link("tsl1")!.index };
    netlink.close();
    const victim = `
      import { openKernel } from "#datapath/linux";
      import { loadDatapath, planObjects } from "#datapath/loader";
      const [objectDirectory, name, device] = ${JSON.stringify([objectDirectory, name, device])};
      const kernel = openKernel();
      kernel.netns.open(name).run(() => {
        const loaded = loadDatapath({ kernel, plan: planObjects({ objectDirectory }), directory: "/sys/fs/bpf/" + name });
        loaded.attachments.attach("from_endpoint", device);
        loaded.maps.ifaces.set(device.ifindex, 5);
        process.kill(process.pid, "SIGKILL");
      });`;
    const { signal, stderr } = spawnSync(process.execPath, ["--conditions=development", "--input-type=module", "-e", victim], { cwd: resolve(import.meta.dirname, "../../.."), encoding: "utf8" }); // biome-ignore format: one command
    assert.equal(signal, "SIGKILL", stderr);
    netns.run(() => {
      const on = () => kernel.bpf.attached({ kind: "tcx", ifindex: device.ifindex, direction: "ingress" });
      const before = on();
      assert.deepEqual(before.map(({ programName }) => programName), ["from_endpoint"]); // biome-ignore format: one row
      const next = loadDatapath({ kernel, plan: planObjects({ objectDirectory }), directory });
      assert.equal(next.maps.ifaces.get(device.ifindex), 5);
      assert.deepEqual(next.attachments.devices(), ["tsl1"]);
      next.attachments.attach("from_endpoint", device);
      assert.equal(on().length, 1);
      assert.notEqual(on()[0]!.programId, before[0]!.programId);
      next.close();
    });
  });
});

describe("a tc filter of another program on our device", () => {
  for (const mode of ["tcx", "clsact"] as const) {
    it(`${mode}: is named, and stays when ours goes`, (t) => {
      const { name, netns } = createTestNamespace(t);
      const kernel = openKernel();
      const directory = `/sys/fs/bpf/${name}`;
      t.after(() => cleanupDatapath(kernel, directory));
      const netlink = kernel.netlink(netns);
      netlink.apply([{ kind: "createVeth", link: { name: "tsl1" }, peer: { name: "peer" } }]);
      const device = { name: "tsl1", ifindex: netlink.link("tsl1")!.index };
      netlink.close();
      netns.run(() => {
        const loaded = loadDatapath({ kernel, plan: planObjects({ objectDirectory }), directory, mode });
        loaded.attachments.attach("from_endpoint", device);
        // Not through `ip netns exec`: that hides the BPF file system.
        const tc = (...args: string[]) => execFileSync("tc", args, { stdio: ["ignore", "ignore", "inherit"] });
        if (mode === "tcx") tc("qdisc", "add", "dev", "tsl1", "clsact");
        const pinned = `${directory}/progs/to_network`;
        tc("filter", "add", "dev", "tsl1", "ingress", "pref", "7", "bpf", "da", "object-pinned", pinned);
        const theirs = kernel.bpf.openProgram(pinned)!;
        const seen = { device: "tsl1", hook: "ingress", programId: theirs.id, name: "to_network", before: false };
        assert.deepEqual(loaded.attachments.foreign(), [seen]);
        assert.deepEqual(loaded.attachments.reclaim(10), []);
        loaded.attachments.detach("tsl1");
        const left = kernel.bpf.attached({ kind: "clsact", ifindex: device.ifindex, direction: "ingress" });
        assert.deepEqual(left.map(({ programId }) => programId), [theirs.id]); // biome-ignore format: one row
        theirs.close();
        loaded.close();
      });
    });
  }
});

describe("the compiled objects", () => {
  for (const file of ["endpoint.bpf.o", "network.bpf.o"]) {
    it(`${file}: every map with typed rows is of its definition's shape`, () => {
      for (const spec of openKernel().bpf.inspectObject(`${objectDirectory}/${file}`).maps) {
        const definition = Object.values(mapDefinitions).find(({ name }) => name === spec.name);
        if (definition !== undefined) assert.equal(shapeMismatch<never, never>(definition as never, spec), undefined);
      }
    });
  }
});
