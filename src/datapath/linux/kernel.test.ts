import { type Kernel, MapType } from "./kernel.ts";
import { kernelBehaviour } from "./suite.ts";
import { createFakeKernel, FAKE_CPUS, type FakeObject, testName } from "./testing.ts";

/** testdata/probe.bpf.c in TypeScript. */
const probe: FakeObject = {
  maps: [
    { name: "counts", type: MapType.PERCPU_ARRAY, keySize: 4, valueSize: 8, maxEntries: 4, flags: 0 },
    { name: "records", type: MapType.RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 },
    { name: "table", type: MapType.HASH, keySize: 4, valueSize: 8, maxEntries: 8, flags: 0 },
  ],
  programs: {
    first(_, maps) {
      const values = new BigUint64Array(FAKE_CPUS);
      values[0] = 1n;
      maps.counts!.update(new Uint8Array(4), new Uint8Array(values.buffer));
      return { result: -1 };
    },
    second: () => ({ result: -1 }),
    rewrite: ({ packet, mark = 0, ingressIfindex = 0 }) => ({
      result: 2,
      packet: packet.with(0, ~packet[0]! & 0xff),
      mark: mark + ingressIfindex + 1,
    }),
    report({ packet }, maps) {
      const record = new BigUint64Array([BigInt(packet.length), BigInt(packet.length)]);
      maps.records!.records.push(new Uint8Array(record.buffer));
      return { result: 0 };
    },
    pass: () => ({ result: 2 }),
  },
};

kernelBehaviour("the kernel in memory", () => {
  const kernel: Kernel = createFakeKernel({ "probe.bpf.o": probe });
  return { kernel, pins: "/pins", probe: "probe.bpf.o", name: testName, supports: () => true, close: () => undefined };
});
