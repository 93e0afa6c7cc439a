// The behaviour of a kernel, as one suite for the real one and the one in memory.
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type IpAddress, parseAddress, parsePrefix } from "#core/model";
import { isErrno, KernelError } from "./errors.ts";
import { type Kernel, type MapSpec, MapType, type NetworkNamespace, NO_PREALLOC } from "./kernel.ts";

export interface SuiteSubject {
  readonly kernel: Kernel;
  /** Directory for pins. */
  readonly pins: string;
  /** testdata/probe.bpf.c, compiled. */
  readonly probe: string;
  /** A name for a namespace that nobody else uses. */
  name(): string;
  /** False, and the test is skipped, where the kernel is too old for the feature. */
  supports(t: TestContext, feature: string, since: string, attempt: () => void): boolean;
  close(): void;
}

/** Declares the suite. `open` is called once, before the first test. */
export function kernelBehaviour(title: string, open: () => SuiteSubject): void {
  describe(title, () => {
    let subject: SuiteSubject;
    let kernel: Kernel;
    before(() => {
      subject = open();
      kernel = subject.kernel;
    });
    after(() => subject.close());

    const mapSpec = (change: Partial<MapSpec> = {}): MapSpec => ({
      name: "suite",
      type: MapType.HASH,
      keySize: 4,
      valueSize: 8,
      maxEntries: 8,
      flags: 0,
      ...change,
    });
    const withMap = (change: Partial<MapSpec>, use: (map: ReturnType<Kernel["bpf"]["createMap"]>) => void) => () => {
      const map = kernel.bpf.createMap(mapSpec(change));
      try {
        use(map);
      } finally {
        map.close();
      }
    };
    const namespace = (t: TestContext): NetworkNamespace => {
      const name = subject.name();
      const netns = kernel.netns.create(name);
      t.after(() => {
        netns.close();
        kernel.netns.delete(name);
      });
      return netns;
    };
    /** A veth pair a - b inside a fresh namespace. */
    const veth = (t: TestContext) => {
      const netns = namespace(t);
      const netlink = kernel.netlink(netns);
      t.after(() => netlink.close());
      netlink.apply([{ kind: "createVeth", link: { name: "a" }, peer: { name: "b" } }]);
      return { netns, netlink, a: netlink.link("a")!, b: netlink.link("b")! };
    };

    describe("maps", () => {
      it(
        "what was updated is looked up, iterated and deleted",
        withMap({}, (map) => {
          map.update(u32(1), u64(10n));
          map.update(u32(2), u64(20n));
          assert.deepEqual(map.lookup(u32(1)), u64(10n));
          assert.equal(map.lookup(u32(3)), undefined);
          assert.deepEqual(sorted(map.entries()), [[1, 10n], [2, 20n]]); // biome-ignore format: rows
          assert.equal(map.delete(u32(1)), true);
          assert.equal(map.delete(u32(1)), false);
          assert.equal(map.lookup(u32(1)), undefined);
        }),
      );

      it(
        "knows its own shape",
        withMap({ name: "shape", maxEntries: 16 }, (map) => {
          assert.deepEqual(map.spec, mapSpec({ name: "shape", maxEntries: 16 }));
          assert.ok(map.id > 0);
        }),
      );

      it("create and exist are told apart", withMap({}, (map) => {
        assert.throws(() => map.update(u32(1), u64(1n), "exist"), (e) => isErrno(e, "ENOENT"));
        map.update(u32(1), u64(1n), "create");
        assert.throws(() => map.update(u32(1), u64(2n), "create"), (e) => isErrno(e, "EEXIST"));
        map.update(u32(1), u64(2n), "exist");
      })); // biome-ignore format: one table

      it(
        "a full map says so, and how much it holds",
        withMap({ maxEntries: 2 }, (map) => {
          map.update(u32(1), u64(1n));
          map.update(u32(2), u64(2n));
          assert.throws(
            () => map.update(u32(3), u64(3n)),
            (e) =>
              e instanceof KernelError &&
              e.code === "MAP_FULL" &&
              /map suite is full: it holds 2 entries/.test(e.message),
          );
        }),
      );

      it(
        "keys and values of a wrong size are refused before the kernel reads past their ends",
        withMap({}, (map) => {
          assert.throws(() => map.lookup(new Uint8Array(3)), /a key of 3 bytes, 4 expected/);
          assert.throws(() => map.update(u32(1), new Uint8Array(4)), /a value of 4 bytes, 8 expected/);
        }),
      );

      for (const [name, change] of Object.entries({
        "a hash": {},
        "an LRU hash": { type: MapType.LRU_HASH, maxEntries: 50_000 },
        "a trie": { type: MapType.LPM_TRIE, keySize: 8, flags: NO_PREALLOC },
        "a per-CPU hash": { type: MapType.PERCPU_HASH },
      })) {
        it(
          `many entries at once: ${name}`,
          withMap({ maxEntries: 10_000, ...change }, (map) => {
            const total = 9000;
            const key = (i: number) => (map.spec.type === MapType.LPM_TRIE ? concat(u32(32), u32(i)) : u32(i));
            const value = (i: number) => new Uint8Array(map.storedValueSize).fill(i & 0xff);
            map.updateAll(Array.from({ length: total }, (_, i) => [key(i), value(i)] as const));
            const seen = new Map([...map.entries()].map(([k, v]) => [Buffer.from(k).toString("hex"), v]));
            assert.equal(seen.size, total);
            for (const i of [0, 1, 4095, 4096, total - 1])
              assert.deepEqual(seen.get(Buffer.from(key(i)).toString("hex")), value(i));
            const keys = Array.from({ length: total }, (_, i) => key(i));
            assert.equal(map.deleteAll([key(total + 1), ...keys.slice(0, 5000), key(3)]), 5000);
            assert.equal([...map.entries()].length, total - 5000);
          }),
        );
      }

      it("many entries at once into too small a map: full", withMap({ maxEntries: 10 }, (map) => {
        const rows = Array.from({ length: 100 }, (_, i) => [u32(i), u64(1n)] as const);
        assert.throws(() => map.updateAll(rows), (e) => e instanceof KernelError && e.code === "MAP_FULL");
      })); // biome-ignore format: one table

      for (const [name, type] of Object.entries({
        hash: MapType.HASH,
        "LRU hash": MapType.LRU_HASH,
        trie: MapType.LPM_TRIE,
      })) {
        it(`entries may be deleted while they are read: ${name}`, () => {
          const trie = type === MapType.LPM_TRIE;
          const spec = mapSpec({ type, maxEntries: 20_000, keySize: trie ? 8 : 4, flags: trie ? NO_PREALLOC : 0 });
          const map = kernel.bpf.createMap(spec);
          const key = (i: number) => (trie ? concat(u32(32), u32(i)) : u32(i));
          map.updateAll(Array.from({ length: 6000 }, (_, i) => [key(i), u64(1n)] as const));
          let seen = 0;
          for (const [found] of map.entries()) if (map.delete(found)) seen++;
          assert.equal(seen, 6000);
          assert.deepEqual([...map.entries()], []);
          map.close();
        });
      }

      it(
        "an empty map has no entries",
        withMap({}, (map) => {
          assert.deepEqual([...map.entries()], []);
          map.updateAll([]);
          assert.equal(map.deleteAll([]), 0);
        }),
      );

      it("an array holds zeroes, at all its indexes", withMap({ type: MapType.ARRAY, maxEntries: 3 }, (map) => {
        map.update(u32(1), u64(7n));
        assert.deepEqual(sorted(map.entries()), [[0, 0n], [1, 7n], [2, 0n]]); // biome-ignore format: rows
        assert.equal(map.lookup(u32(3)), undefined);
        assert.throws(() => map.update(u32(3), u64(1n)), (e) => isErrno(e, "E2BIG") && e.code === "KERNEL_REFUSED");
        assert.throws(() => map.delete(u32(1)), (e) => isErrno(e, "EINVAL"));
      })); // biome-ignore format: one table

      it(
        "a per-CPU map holds one value for each CPU",
        withMap({ type: MapType.PERCPU_ARRAY }, (map) => {
          assert.equal(map.storedValueSize % 8, 0);
          const values = new Uint8Array(map.storedValueSize).map((_, i) => (i % 8 === 0 ? i / 8 + 1 : 0));
          map.update(u32(2), values);
          assert.deepEqual(map.lookup(u32(2)), values);
        }),
      );

      it("the longest prefix matches", withMap({ type: MapType.LPM_TRIE, keySize: 8, flags: NO_PREALLOC }, (map) => {
        const key = (length: number, ...address: number[]) => concat(u32(length), Uint8Array.from(address));
        map.update(key(0, 0, 0, 0, 0), u64(1n));
        map.update(key(8, 10, 0, 0, 0), u64(2n));
        map.update(key(24, 10, 1, 2, 99), u64(3n));
        assert.deepEqual(map.lookup(key(32, 10, 1, 2, 3)), u64(3n));
        assert.deepEqual(map.lookup(key(32, 10, 1, 3, 3)), u64(2n));
        assert.deepEqual(map.lookup(key(32, 11, 1, 2, 3)), u64(1n));
        assert.equal(map.delete(key(24, 10, 1, 2, 0)), true);
        assert.deepEqual(map.lookup(key(32, 10, 1, 2, 3)), u64(2n));
        assert.throws(() => map.update(key(33, 1, 1, 1, 1), u64(1n)), (e) => isErrno(e, "EINVAL"));
      })); // biome-ignore format: one table

      it("a trie without NO_PREALLOC is refused", () => {
        const spec = mapSpec({ type: MapType.LPM_TRIE, keySize: 8 });
        assert.throws(() => kernel.bpf.createMap(spec), /create map suite: invalid argument \(EINVAL\)/);
      });

      it("a map of maps holds maps, which live as long as it names them", () => {
        const shape = { type: MapType.ARRAY, maxEntries: 1 };
        const sample = kernel.bpf.createMap(mapSpec(shape));
        const outer = kernel.bpf.createMap(mapSpec({ type: MapType.HASH_OF_MAPS, valueSize: 4, maxEntries: 2 }), sample);
        const maps = kernel.bpf.mapsIn(outer);
        assert.equal(maps.get(u32(7)), undefined);
        sample.update(u32(0), u64(5n));
        maps.set(u32(7), sample);
        sample.close();
        const found = maps.get(u32(7))!;
        assert.deepEqual(found.lookup(u32(0)), u64(5n));
        const other = kernel.bpf.createMap(mapSpec(shape));
        maps.set(u32(7), other);
        maps.set(u32(8), other);
        assert.throws(() => maps.set(u32(9), other), (e) => e instanceof KernelError && e.code === "MAP_FULL");
        assert.deepEqual(maps.get(u32(7))!.lookup(u32(0)), u64(0n));
        assert.deepEqual([...maps.keys()].map((key) => key[0]).sort(), [7, 8]);
        assert.equal(maps.delete(u32(7)), true);
        assert.equal(maps.delete(u32(7)), false);
        for (const held of [found, other, outer]) held.close();
      }); // biome-ignore format: one story

      it("a pinned map is found again, with its contents, and another pin takes the place of the first", () => {
        const pin = `${subject.pins}/map`;
        assert.equal(kernel.bpf.openMap(pin), undefined);
        const map = kernel.bpf.createMap(mapSpec());
        map.update(u32(1), u64(1n));
        map.pin(pin);
        map.close();
        const again = kernel.bpf.openMap(pin)!;
        assert.deepEqual(again.lookup(u32(1)), u64(1n));
        const other = kernel.bpf.createMap(mapSpec());
        other.pin(pin);
        const latest = kernel.bpf.openMap(pin)!;
        assert.equal(latest.id, other.id);
        for (const held of [again, other, latest]) held.close();
        assert.equal(kernel.bpf.unpin(pin), true);
        assert.equal(kernel.bpf.unpin(pin), false);
      });

      it("pins are listed, and removed with their directory", () => {
        const directory = `${subject.pins}/several`;
        assert.deepEqual(kernel.bpf.pinned(directory), []);
        const map = kernel.bpf.createMap(mapSpec());
        for (const name of ["one", "two", "deeper/three"]) map.pin(`${directory}/${name}`);
        map.close();
        assert.deepEqual([...kernel.bpf.pinned(directory)].sort(), ["deeper", "one", "two"]);
        assert.equal(kernel.bpf.unpin(directory), true);
        assert.deepEqual(kernel.bpf.pinned(directory), []);
        assert.equal(kernel.bpf.unpin(directory), false);
      });

      it("a pin of another kind is told apart", () => {
        const pin = `${subject.pins}/kind`;
        const map = kernel.bpf.createMap(mapSpec());
        map.pin(pin);
        assert.throws(() => kernel.bpf.openProgram(pin), /pinned at .*kind/);
        assert.throws(() => kernel.bpf.openLink(pin), /pinned at .*kind/);
        map.close();
        kernel.bpf.unpin(pin);
      });
    });

    describe("objects and programs", () => {
      it("an object tells what it holds without being loaded", () => {
        const spec = kernel.bpf.inspectObject(subject.probe);
        assert.deepEqual([...spec.programs].sort(), ["first", "pass", "report", "rewrite", "second"]);
        assert.deepEqual(spec.maps.map((m) => m.name).sort(), ["counts", "records", "table"]);
        const table = spec.maps.find((m) => m.name === "table");
        assert.deepEqual(table, {
          name: "table",
          type: MapType.HASH,
          keySize: 4,
          valueSize: 8,
          maxEntries: 8,
          flags: 0,
        });
      });

      it("only the wanted programs are loaded, with given maps and capacities", () => {
        const counts = kernel.bpf.createMap(mapSpec({ name: "counts", type: MapType.PERCPU_ARRAY, maxEntries: 4 }));
        const object = kernel.bpf.loadObject(subject.probe, {
          reuse: { counts },
          maxEntries: { table: 32 },
          programs: ["first"],
        });
        assert.deepEqual(Object.keys(object.programs), ["first"]);
        assert.equal(object.maps.table!.spec.maxEntries, 32);
        assert.equal(object.maps.counts!.id, counts.id);
        object.programs.first!.testRun({ packet: new Uint8Array(14) });
        assert.deepEqual(sum(counts.lookup(u32(0))!), 1n);
        object.close();
        counts.close();
      });

      it("a test run gives result, packet and mark back", () => {
        const object = kernel.bpf.loadObject(subject.probe, { programs: ["rewrite"] });
        const packet = Uint8Array.from({ length: 60 }, (_, i) => i);
        const out = object.programs.rewrite!.testRun({ packet, mark: 7, ingressIfindex: 3 });
        assert.equal(out.result, 2);
        assert.equal(out.mark, 11);
        assert.deepEqual(out.packet, packet.with(0, 0xff));
        assert.equal(packet[0], 0, "the caller's packet stays");
        object.close();
      });

      it("a place for tail calls takes a program, and another in its stead", () => {
        const map = kernel.bpf.createMap(
          mapSpec({ type: MapType.PROG_ARRAY, keySize: 4, valueSize: 4, maxEntries: 2 }),
        );
        const object = kernel.bpf.loadObject(subject.probe, { programs: ["first", "second"] });
        const at = (index: number) => map.lookup(new Uint8Array(Uint32Array.of(index).buffer));
        const id = (name: string) => new Uint8Array(Uint32Array.of(object.programs[name]!.id).buffer);
        assert.equal(at(1), undefined);
        kernel.bpf.setTailCall(map, 1, object.programs.second!);
        assert.deepEqual(at(1), id("second"));
        kernel.bpf.setTailCall(map, 1, object.programs.first!);
        assert.deepEqual(at(1), id("first"));
        assert.throws(() => kernel.bpf.setTailCall(map, 2, object.programs.first!), /E2BIG|full/);
        object.close();
        map.close();
      });

      it("a pinned program is found again", () => {
        const pin = `${subject.pins}/program`;
        const object = kernel.bpf.loadObject(subject.probe, { programs: ["first"] });
        object.programs.first!.pin(pin);
        object.close();
        const program = kernel.bpf.openProgram(pin)!;
        assert.equal(program.name, "first");
        program.close();
        assert.equal(kernel.bpf.unpin(pin), true);
        assert.equal(kernel.bpf.openProgram(pin), undefined);
      });
    });

    describe("the ring buffer", () => {
      const withRing =
        (use: (report: (length: number) => void, ring: ReturnType<Kernel["bpf"]["openRingBuffer"]>) => unknown) =>
        async () => {
          const object = kernel.bpf.loadObject(subject.probe, { programs: ["report"] });
          const ring = kernel.bpf.openRingBuffer(object.maps.records!);
          try {
            await use((length) => object.programs.report!.testRun({ packet: new Uint8Array(length) }), ring);
          } finally {
            ring.close();
            object.close();
          }
        };
      const drained = (ring: ReturnType<Kernel["bpf"]["openRingBuffer"]>, limit?: number) => {
        const records: bigint[] = [];
        ring.drain((view, offset, length) => {
          assert.equal(length, 16);
          records.push(view.getBigUint64(offset, true));
          assert.equal(view.getBigUint64(offset + 8, true), records.at(-1));
        }, limit);
        return records;
      };

      it(
        "hands records over in order, once",
        withRing((report, ring) => {
          for (const length of [60, 61, 62]) report(length);
          assert.equal(ring.backlogBytes, 72);
          assert.deepEqual(drained(ring, 2), [60n, 61n]);
          assert.deepEqual(drained(ring), [62n]);
          assert.deepEqual(drained(ring), []);
          assert.equal(ring.backlogBytes, 0);
        }),
      );

      it(
        "goes on after it has wrapped around many times",
        withRing((report, ring) => {
          assert.equal(ring.capacityBytes, 4096);
          for (let round = 0; round < 40; round++) {
            for (let i = 0; i < 100; i++) report(60 + i);
            assert.deepEqual(
              drained(ring),
              Array.from({ length: 100 }, (_, i) => BigInt(60 + i)),
            );
          }
        }),
      );

      it(
        "a record whose reader failed counts as consumed",
        withRing((report, ring) => {
          report(60);
          report(61);
          assert.throws(() => ring.drain(() => { throw new Error("reader"); }), /reader/); // biome-ignore format: one line
          assert.deepEqual(drained(ring), [61n]);
        }),
      );

      it(
        "wakes its reader",
        withRing(async (report, ring) => {
          const { promise, resolve } = Promise.withResolvers<void>();
          const stop = ring.onReadable(resolve);
          report(60);
          await promise;
          stop();
          assert.deepEqual(drained(ring), [60n]);
        }),
      );
    });

    describe("hooks", () => {
      const withProbe = (t: TestContext) => {
        const object = kernel.bpf.loadObject(subject.probe, { programs: ["first", "second", "pass"] });
        t.after(() => object.close());
        return object.programs as Record<"first" | "second" | "pass", (typeof object.programs)[string]>;
      };
      /** A veth pair on a kernel with TCX; undefined when the test is skipped. */
      const tcxVeth = (t: TestContext): ReturnType<typeof veth> | undefined => {
        const made = veth(t);
        const target = { kind: "tcx", ifindex: made.a.index, direction: "ingress", netns: made.netns } as const;
        return subject.supports(t, "TCX", "6.6", () => kernel.bpf.attached(target)) ? made : undefined;
      };
      const names = (list: readonly { readonly programName: string }[]) => list.map(({ programName }) => programName);

      it("TCX: several programs in order, and first comes before what is there", (t) => {
        const made = tcxVeth(t);
        if (made === undefined) return;
        const { netns, a } = made;
        const programs = withProbe(t);
        const target = { kind: "tcx", ifindex: a.index, direction: "ingress", netns } as const;
        assert.deepEqual(kernel.bpf.attached(target), []);
        const foreign = kernel.bpf.attach(programs.second, target);
        const ours = kernel.bpf.attach(programs.first, { ...target, first: true });
        assert.deepEqual(names(kernel.bpf.attached(target)), ["first", "second"]);
        assert.throws(
          () => kernel.bpf.attach(programs.first, target),
          (e) => isErrno(e, "EEXIST"),
        );
        assert.deepEqual(kernel.bpf.attached({ ...target, direction: "egress" }), []);
        foreign.close();
        assert.deepEqual(names(kernel.bpf.attached(target)), ["first"]);
        ours.close();
        assert.deepEqual(kernel.bpf.attached(target), []);
      });

      it("a pinned link outlives its holder, is found again, and gets another program in place", async (t) => {
        const made = tcxVeth(t);
        if (made === undefined) return;
        const { netns, a } = made;
        const programs = withProbe(t);
        const pin = `${subject.pins}/link`;
        const target = { kind: "tcx", ifindex: a.index, direction: "egress", netns } as const;
        assert.equal(kernel.bpf.openLink(pin), undefined);
        const link = kernel.bpf.attach(programs.first, target);
        link.pin(pin);
        link.close();
        const again = kernel.bpf.openLink(pin)!;
        assert.equal(again.programId(), programs.first.id);
        assert.equal(again.ifindex(), a.index);
        again.replace(programs.second);
        assert.equal(again.programId(), programs.second.id);
        assert.deepEqual(names(kernel.bpf.attached(target)), ["second"]);
        again.close();
        assert.equal(kernel.bpf.unpin(pin), true);
        // The kernel lets go of a link's last pin in a worker of its own.
        for (let tries = 0; tries < 100 && kernel.bpf.attached(target).length > 0; tries++) await sleep(10);
        assert.deepEqual(kernel.bpf.attached(target), []);
      });

      it("a link whose interface has vanished says so", (t) => {
        const made = tcxVeth(t);
        if (made === undefined) return;
        const { netns, netlink, a } = made;
        const link = kernel.bpf.attach(withProbe(t).first, {
          kind: "tcx",
          ifindex: a.index,
          direction: "ingress",
          netns,
        });
        assert.equal(link.ifindex(), a.index);
        netlink.apply([{ kind: "deleteLink", ifindex: a.index }]);
        assert.equal(link.ifindex(), 0);
        link.close();
      });

      it("detach works although a pin holds the link", (t) => {
        const made = tcxVeth(t);
        if (made === undefined) return;
        const { netns, a } = made;
        const pin = `${subject.pins}/detached`;
        const target = { kind: "tcx", ifindex: a.index, direction: "ingress", netns } as const;
        const link = kernel.bpf.attach(withProbe(t).first, target);
        link.pin(pin);
        link.detach();
        assert.deepEqual(kernel.bpf.attached(target), []);
        link.close();
        kernel.bpf.unpin(pin);
      });

      it("clsact: attach, replace in place, detach", (t) => {
        const { netns, a } = veth(t);
        const programs = withProbe(t);
        const target = { kind: "clsact", ifindex: a.index, direction: "ingress", netns } as const;
        assert.deepEqual(kernel.bpf.attached(target), []);
        const filter = kernel.bpf.attach(programs.first, target);
        assert.equal(filter.programId(), programs.first.id);
        filter.replace(programs.second);
        assert.deepEqual(names(kernel.bpf.attached(target)), ["second"]);
        const anew = kernel.bpf.attach(programs.first, target);
        assert.deepEqual(names(kernel.bpf.attached(target)), ["first"], "one filter of ours, not two");
        anew.detach();
        assert.deepEqual(kernel.bpf.attached(target), []);
      });

      it("XDP: one program an interface", (t) => {
        const { netns, a } = veth(t);
        const { pass } = withProbe(t);
        const target = { kind: "xdp", ifindex: a.index, mode: "native", netns } as const;
        const link = kernel.bpf.attach(pass, target);
        assert.deepEqual(names(kernel.bpf.attached(target)), ["pass"]);
        assert.throws(() => kernel.bpf.attach(pass, target), (e) => isErrno(e, "EBUSY"));
        link.close();
        assert.deepEqual(kernel.bpf.attached(target), []);
      }); // biome-ignore format: one table

      it("an interface that isn't there", (t) => {
        const netns = namespace(t);
        const target = { kind: "tcx", ifindex: 4711, direction: "ingress", netns } as const;
        assert.throws(() => kernel.bpf.attach(withProbe(t).first, target), (e) => isErrno(e, "ENODEV"));
      }); // biome-ignore format: one table
    });

    describe("network namespaces", () => {
      it("are created, listed, opened and deleted by name", (t) => {
        const name = subject.name();
        assert.equal(kernel.netns.open(name), undefined);
        const made = kernel.netns.create(name);
        t.after(() => kernel.netns.delete(name));
        assert.ok(kernel.netns.list().includes(name));
        const opened = kernel.netns.open(name)!;
        assert.equal(opened.inode, made.inode);
        assert.notEqual(opened.inode, kernel.netns.current().inode);
        assert.throws(() => kernel.netns.create(name), (e) => isErrno(e, "EEXIST"));
        opened.close();
        made.close();
        assert.equal(kernel.netns.delete(name), true);
        assert.equal(kernel.netns.delete(name), false);
        assert.ok(!kernel.netns.list().includes(name));
      }); // biome-ignore format: one table

      it("code runs inside, and comes back even if it throws", (t) => {
        const netns = namespace(t);
        const home = kernel.netns.current().inode;
        assert.equal(netns.run(() => kernel.netns.current().inode), netns.inode);
        assert.throws(() => netns.run(() => { throw new Error("inside"); }), /inside/); // biome-ignore format: one line
        assert.equal(kernel.netns.current().inode, home);
        assert.throws(() => netns.run(async () => undefined), /only synchronous code/);
      }); // biome-ignore format: one table

      it("each has its own settings", (t) => {
        const [one, two] = [namespace(t), namespace(t)];
        one.writeSysctl("net.ipv4.ip_forward", "1");
        two.writeSysctl("net.ipv4.ip_forward", "0");
        assert.equal(one.readSysctl("net.ipv4.ip_forward"), "1");
        assert.equal(two.readSysctl("net.ipv4.ip_forward"), "0");
        assert.throws(
          () => one.writeSysctl("net.ipv4.conf.nope.rp_filter", "0"),
          /write sysctl net.ipv4.conf.nope.rp_filter.*ENOENT/,
        );
      });

      it("this process's own namespace is found by its number", () => {
        assert.equal(kernel.netns.ofProcess(process.pid)!.inode, kernel.netns.current().inode);
        assert.equal(kernel.netns.ofProcess(2 ** 22 + 1), undefined);
      });
    });

    describe("netlink", () => {
      it("a veth pair appears in two namespaces at once, with MACs and MTU", (t) => {
        const [host, pod] = [namespace(t), namespace(t)];
        const [inHost, inPod] = [kernel.netlink(host), kernel.netlink(pod)];
        inHost.apply([
          {
            kind: "createVeth",
            link: { name: "tslff", mac: mac(1), mtu: 1450 },
            peer: { name: "eth0", mac: mac(2), mtu: 1450, netns: pod },
          },
        ]);
        const link = inHost.link("tslff")!;
        const peer = inPod.link("eth0")!;
        assert.deepEqual([link.mac, link.mtu, link.type, link.up], [mac(1), 1450, "veth", false]);
        assert.deepEqual([peer.mac, peer.mtu, peer.type], [mac(2), 1450, "veth"]);
        assert.equal(link.peerIndex, peer.index);
        assert.equal(inHost.link("eth0"), undefined);
        assert.deepEqual(inHost.link(link.index), link);
        inHost.apply([{ kind: "setLink", ifindex: link.index, up: true }]);
        assert.deepEqual([inHost.link("tslff")!.up, inHost.link("tslff")!.running], [true, false]);
        inPod.apply([{ kind: "setLink", ifindex: peer.index, up: true, mtu: 1400 }]);
        assert.deepEqual([inHost.link("tslff")!.running, inPod.link("eth0")!.mtu], [true, 1400]);
        inHost.apply([{ kind: "deleteLink", ifindex: link.index }, { kind: "deleteLink", ifindex: link.index }]); // biome-ignore format: one row
        assert.equal(inPod.link("eth0"), undefined);
        assert.deepEqual(inHost.links().map((l) => l.name), ["lo"]);
        inHost.close();
        inPod.close();
      }); // biome-ignore format: one table

      it("a taken name is refused, in words", (t) => {
        const { netlink } = veth(t);
        assert.throws(
          () => netlink.apply([{ kind: "createVeth", link: { name: "a" }, peer: { name: "c" } }]),
          (e) => isErrno(e, "EEXIST") && e.message.startsWith("create veth pair a - c: exists already (EEXIST)"),
        );
      });

      it("later changes are tried although an earlier one was refused", (t) => {
        const { netlink, a } = veth(t);
        const address = ip("10.1.1.1");
        assert.throws(
          () =>
            netlink.apply([
              { kind: "setLink", ifindex: 4711, up: true },
              { kind: "replaceAddress", ifindex: a.index, address, length: 32 },
            ]),
          (e) => isErrno(e, "ENODEV"),
        );
        assert.deepEqual(netlink.addresses(a.index), [{ ifindex: a.index, address, length: 32 }]);
      });

      for (const [family, own, other, gateway] of [
        ["IPv4", "10.217.0.5", "10.217.0.6", "169.254.1.1"],
        ["IPv6", "fd10:217::5", "fd10:217::6", "fe80::1"],
      ] as const) {
        it(`${family}: addresses, routes and neighbours; twice is once, and gone is gone`, (t) => {
          const { netlink, a, b } = veth(t);
          const bits = family === "IPv4" ? 32 : 128;
          const number = family === "IPv4" ? 4 : 6;
          const host = (text: string) => parsePrefix(`${text}/${bits}`)!;
          const anywhere = parsePrefix(family === "IPv4" ? "0.0.0.0/0" : "::/0")!;
          const address = { ifindex: a.index, address: ip(own), length: bits };
          const pod = { destination: host(other), ifindex: a.index, source: ip(own) };
          const standard = { destination: anywhere, ifindex: a.index, gateway: ip(gateway), onlink: true, mtu: 1400 };
          const local = { destination: anywhere, ifindex: 1, type: "local" as const, table: 2004 };
          const neighbour = { ifindex: a.index, address: ip(other), mac: mac(9) };
          netlink.apply([
            { kind: "setLink", ifindex: 1, up: true },
            { kind: "setLink", ifindex: a.index, up: true },
            { kind: "setLink", ifindex: b.index, up: true },
          ]);
          const make = [
            { kind: "replaceAddress", ...address },
            { kind: "replaceRoute", route: pod },
            { kind: "replaceRoute", route: standard },
            { kind: "replaceRoute", route: local },
            { kind: "replaceNeighbour", neighbour },
          ] as const;
          netlink.apply(make);
          netlink.apply(make);
          const owned = () => netlink.addresses(a.index).filter((row) => same(row.address, ip(own)));
          const route = (destination: IpAddress, length: number, table?: number) =>
            netlink
              .routes(number, table)
              .filter((r) => same(r.destination, destination) && r.destination.length === length);
          assert.deepEqual(owned(), [address]);
          assert.deepEqual(route(pod.destination, bits), [{ ...pod, table: 254, type: "unicast", onlink: false }]);
          assert.deepEqual(route(anywhere, 0), [{ ...standard, table: 254, type: "unicast" }]);
          assert.deepEqual(route(anywhere, 0, 2004), [{ ...local, onlink: false }]);
          assert.deepEqual(netlink.neighbours(number, a.index), [neighbour]);
          const unmake = [
            { kind: "deleteNeighbour", neighbour },
            { kind: "deleteRoute", route: local },
            { kind: "deleteRoute", route: standard },
            { kind: "deleteRoute", route: pod },
            { kind: "deleteAddress", ...address },
          ] as const;
          netlink.apply(unmake);
          netlink.apply(unmake);
          assert.deepEqual(owned(), []);
          assert.deepEqual([...route(pod.destination, bits), ...route(anywhere, 0), ...route(anywhere, 0, 2004)], []);
          assert.deepEqual(netlink.neighbours(number, a.index), []);
        });

        it(`${family}: a rule by mark; twice is once, and gone is gone`, (t) => {
          const netlink = kernel.netlink(namespace(t));
          const rule = {
            family: family === "IPv4" ? 4 : 6,
            mark: 0x200,
            mask: 0xf00,
            table: 2004,
            priority: 9,
          } as const;
          netlink.apply([{ kind: "ensureRule", rule }, { kind: "ensureRule", rule }]); // biome-ignore format: one row
          assert.deepEqual(netlink.rules(rule.family), [rule]);
          netlink.apply([{ kind: "deleteRule", rule }, { kind: "deleteRule", rule }]); // biome-ignore format: one row
          assert.deepEqual(netlink.rules(rule.family), []);
          netlink.close();
        });
      }

      it("hundreds of changes in one go", (t) => {
        const { netlink, a } = veth(t);
        netlink.apply(
          Array.from({ length: 300 }, (_, i) => ({
            kind: "replaceAddress" as const,
            ifindex: a.index,
            address: ip(`10.9.${i >> 8}.${i & 255}`),
            length: 32,
          })),
        );
        assert.equal(netlink.addresses(a.index).length, 300);
      });
    });
  });
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Of the values of all CPUs. */
function sum(values: Uint8Array): bigint {
  return new BigUint64Array(values.slice().buffer).reduce((a, b) => a + b, 0n);
}

function sorted(entries: Iterable<readonly [Uint8Array, Uint8Array]>): [number, bigint][] {
  return [...entries]
    .map(([key, value]): [number, bigint] => [new DataView(key.buffer).getUint32(0, true), new DataView(value.buffer).getBigUint64(0, true)]) // biome-ignore format: one row
    .sort((a, b) => a[0] - b[0]);
}

function mac(last: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, last);
}

function ip(text: string): IpAddress {
  return parseAddress(text)!;
}

function same(a: IpAddress, b: IpAddress): boolean {
  return Buffer.compare(a.bytes, b.bytes) === 0;
}
