// The loader's behaviour on any kernel.
import assert from "node:assert/strict";
import { before, describe, it, type TestContext } from "node:test";
import { TsiliumError } from "#core/runtime";
import type { Kernel, NetworkNamespace } from "#datapath/linux";
import { cleanupDatapath, type HookName, loadDatapath, planObjects } from "./index.ts";

export interface LoaderSubject {
  readonly kernel: Kernel;
  readonly objectDirectory: string;
  /** A name for namespaces and pins that nobody else uses. */
  name(): string;
}

const capacities = { ct4: 1024, ct6: 1024, nat: 1024, fragments: 64, ipcache: 1000, policy: 1000, events: 65536 };

/** Declares the suite. `open` is called once, before the first test. */
export function loaderBehaviour(title: string, open: () => LoaderSubject): void {
  describe(title, () => {
    let subject: LoaderSubject;
    let kernel: Kernel;
    before(() => {
      subject = open();
      kernel = subject.kernel;
    });

    /** A node: a namespace with a pair of interfaces, and a directory of its own. */
    const node = (t: TestContext) => {
      const name = subject.name();
      const directory = `/sys/fs/bpf/${name}`;
      const netns = kernel.netns.create(name);
      t.after(() => {
        netns.run(() => cleanupDatapath(kernel, directory));
        netns.close();
        kernel.netns.delete(name);
      });
      const netlink = kernel.netlink(netns);
      netlink.apply([{ kind: "createVeth", link: { name: "tsl1" }, peer: { name: "peer.1" } }]);
      const device = { name: "tsl1", ifindex: netlink.link("tsl1")!.index };
      t.after(() => netlink.close());
      const load = (
        change: Partial<Parameters<typeof loadDatapath>[0]> & { maxEntries?: Record<string, number> } = {},
      ) => {
        const { maxEntries, ...rest } = change;
        const plan = planObjects({
          objectDirectory: subject.objectDirectory,
          maxEntries: { ...capacities, ...maxEntries },
        });
        return loadDatapath({ kernel, plan, directory, ...rest });
      };
      return { netns, netlink, directory, device, load };
    };
    const programsOn = (netns: NetworkNamespace, ifindex: number, direction: "ingress" | "egress") =>
      kernel.bpf.attached({ kind: "tcx", ifindex, direction, netns }).map(({ programName }) => programName);

    it("maps and programs are pinned; rows written in one run are there in the next", (t) => {
      const { netns, directory, load } = node(t);
      netns.run(() => {
        const first = load();
        assert.deepEqual([first.adopted, first.recreated], [[], []]);
        first.maps.ifaces.set(7, 3 as never);
        assert.equal(first.maps.ipcache.capacity, 1000);
        first.close();
        const second = load();
        assert.equal(second.maps.ifaces.get(7), 3);
        assert.deepEqual([...second.adopted].sort(), Object.keys(second.rawMaps).sort());
        assert.ok(second.rawMaps.events);
        second.close();
        assert.deepEqual([...kernel.bpf.pinned(`${directory}/progs`)].sort(), ["from_endpoint", "from_network", "to_endpoint", "to_network"]); // biome-ignore format: one row
      });
    });

    it("a map of another shape: refused with the difference, nothing touched; recreated on demand", (t) => {
      const { netns, load } = node(t);
      netns.run(() => {
        const first = load();
        first.maps.ifaces.set(7, 3 as never);
        first.close();
        assert.throws(
          () => load({ maxEntries: { ct4: 2048 } }),
          (e) =>
            e instanceof TsiliumError &&
            e.code === "MAP_SHAPE_CHANGED" &&
            /ct4: maxEntries 1024, wanted 2048/.test(e.message),
        );
        const second = load({ maxEntries: { ct4: 2048 }, onShapeChange: "recreate" });
        assert.deepEqual(second.recreated, ["ct4"]);
        assert.equal(second.maps.ct4.capacity, 2048);
        assert.equal(second.maps.ifaces.get(7), 3);
        second.close();
      });
    });

    for (const mode of ["tcx", "clsact"] as const) {
      it(`${mode}: programs stay on the device without us; the next run replaces them in place`, (t) => {
        const { netns, device, load } = node(t);
        netns.run(() => {
          const on = (direction: "ingress" | "egress") =>
            kernel.bpf.attached({ kind: mode, ifindex: device.ifindex, direction }).map(({ programId }) => programId);
          const first = load({ mode });
          first.attachments.attach("from_endpoint", device);
          first.attachments.attach("to_endpoint", device);
          const before = on("ingress");
          first.attachments.attach("from_endpoint", device);
          assert.deepEqual(on("ingress"), before, "attaching twice changes nothing");
          first.close();
          assert.deepEqual(on("ingress"), before);
          const second = load({ mode });
          assert.deepEqual(second.attachments.devices(), ["tsl1"]);
          assert.deepEqual(on("ingress"), before, "loading alone changes nothing");
          second.attachments.attach("from_endpoint", device);
          assert.equal(on("ingress").length, 1);
          assert.notDeepEqual(on("ingress"), before);
          second.attachments.detach("tsl1");
          assert.deepEqual([...on("ingress"), ...on("egress")], []);
          assert.deepEqual(second.attachments.devices(), []);
          second.attachments.detach("tsl1");
          second.close();
        });
      });
    }

    it("a program of ours that was taken off its device is put back", (t) => {
      const { netns, directory, device, load } = node(t);
      netns.run(() => {
        const loaded = load();
        loaded.attachments.attach("from_endpoint", device);
        const link = kernel.bpf.openLink(`${directory}/links/tsl1/from_endpoint`)!;
        link.detach();
        link.close();
        assert.deepEqual(programsOn(netns, device.ifindex, "ingress"), []);
        assert.deepEqual(loaded.attachments.reclaim(10), ["tsl1"]);
        assert.deepEqual(programsOn(netns, device.ifindex, "ingress"), ["from_endpoint"]);
        loaded.close();
      });
    });

    it("attaching the other way than the last run leaves one program, not two", (t) => {
      const { netns, device, load } = node(t);
      netns.run(() => {
        const on = (kind: "tcx" | "clsact") =>
          kernel.bpf.attached({ kind, ifindex: device.ifindex, direction: "ingress" }).length;
        for (const mode of ["tcx", "clsact", "tcx"] as const) {
          const loaded = load({ mode });
          loaded.attachments.attach("from_endpoint", device);
          assert.deepEqual([on("tcx"), on("clsact")], mode === "tcx" ? [1, 0] : [0, 1], mode);
          assert.deepEqual(loaded.attachments.foreign(), []);
          loaded.close();
        }
      });
    });

    it("the way of attaching is found out", (t) => {
      const { netns, device, load } = node(t);
      netns.run(() => {
        const loaded = load();
        assert.equal(loaded.attachments.mode, undefined);
        loaded.attachments.attach("from_endpoint", device);
        assert.ok(loaded.attachments.mode === "tcx" || loaded.attachments.mode === "clsact");
        loaded.close();
      });
    });

    it("a foreign program stays; we stand before it, also when it has got in front of us", (t) => {
      const { netns, device, load } = node(t);
      const other = node(t);
      const foreign = other.netns.run(() => other.load());
      t.after(() => foreign.close());
      netns.run(() => {
        const loaded = load();
        const target = { kind: "tcx", ifindex: device.ifindex, direction: "ingress" } as const;
        const theirs = kernel.bpf.openProgram(`${other.directory}/progs/to_network`)!;
        const their = () => kernel.bpf.attach(theirs, { ...target, first: true });
        const link = their();
        loaded.attachments.attach("from_endpoint", device);
        assert.deepEqual(programsOn(netns, device.ifindex, "ingress"), ["from_endpoint", "to_network"]);
        link.close();
        const second = their();
        const seen = { device: "tsl1", hook: "ingress", programId: theirs.id, name: "to_network" };
        assert.deepEqual(loaded.attachments.foreign(), [{ ...seen, before: true }]);
        assert.deepEqual(loaded.attachments.reclaim(10), ["tsl1"]);
        assert.deepEqual(programsOn(netns, device.ifindex, "ingress"), ["from_endpoint", "to_network"]);
        assert.deepEqual(loaded.attachments.foreign(), [{ ...seen, before: false }]);
        assert.deepEqual(loaded.attachments.reclaim(10), [], "all is well");
        for (const held of [second, theirs, loaded]) held.close();
      });
    });

    it("a device of that name that isn't the old one gets a link of its own", (t) => {
      const { netns, netlink, device, load } = node(t);
      netns.run(() => {
        const first = load();
        first.attachments.attach("from_endpoint", device);
        netlink.apply([{ kind: "deleteLink", ifindex: device.ifindex }]);
        netlink.apply([{ kind: "createVeth", link: { name: "tsl1" }, peer: { name: "peer.1" } }]);
        const ifindex = netlink.link("tsl1")!.index;
        assert.notEqual(ifindex, device.ifindex);
        first.attachments.attach("from_endpoint", { name: "tsl1", ifindex });
        assert.deepEqual(programsOn(netns, ifindex, "ingress"), ["from_endpoint"]);
        netlink.apply([{ kind: "deleteLink", ifindex }]);
        first.attachments.detach("tsl1");
        assert.deepEqual(first.attachments.devices(), []);
        first.close();
      });
    });

    it("a device with a dot in its name", (t) => {
      const { netns, netlink, load } = node(t);
      netns.run(() => {
        const loaded = load();
        const device = { name: "peer.1", ifindex: netlink.link("peer.1")!.index };
        loaded.attachments.attach("to_network", device);
        assert.deepEqual(loaded.attachments.devices(), ["peer.1"]);
        assert.deepEqual(programsOn(netns, device.ifindex, "egress"), ["to_network"]);
        loaded.close();
      });
    });

    it("cleanup leaves nothing: no program on a device, no pin; twice is no error", (t) => {
      const { netns, directory, device, load } = node(t);
      netns.run(() => {
        const loaded = load();
        for (const hook of ["from_endpoint", "to_endpoint"] as HookName[]) loaded.attachments.attach(hook, device);
        loaded.close();
        const report = cleanupDatapath(kernel, directory);
        assert.deepEqual(report.devices, ["tsl1"]);
        assert.equal(report.programs.length, 4);
        assert.ok(report.maps.includes("policy"));
        assert.deepEqual(
          [...programsOn(netns, device.ifindex, "ingress"), ...programsOn(netns, device.ifindex, "egress")],
          [],
        );
        assert.deepEqual(kernel.bpf.pinned(directory), []);
        assert.deepEqual(cleanupDatapath(kernel, directory), { devices: [], programs: [], maps: [] });
      });
    });
  });
}
