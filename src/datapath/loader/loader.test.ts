import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type MapSpec, MapType, NO_PREALLOC } from "#datapath/linux";
import { createFakeKernel, testName } from "#datapath/linux/testing";
import { mapDefinitions } from "#datapath/maps";
import { planObjects } from "./index.ts";
import { loaderBehaviour } from "./suite.ts";

const maps: MapSpec[] = [
  ...Object.values(mapDefinitions).map(({ name, type, key, value }) => ({
    name,
    type,
    keySize: key.size,
    valueSize: value.size,
    maxEntries: 64,
    flags: type === MapType.LPM_TRIE ? NO_PREALLOC : 0,
  })),
  { name: "http_stages", type: MapType.PROG_ARRAY, keySize: 4, valueSize: 4, maxEntries: 2, flags: 0 },
  { name: "events", type: MapType.RINGBUF, keySize: 0, valueSize: 0, maxEntries: 65536, flags: 0 },
];
const pass = () => ({ result: 0 });

loaderBehaviour("the loader on the kernel in memory", () => ({
  kernel: createFakeKernel({
    "/objects/endpoint.bpf.o": { maps, programs: { from_endpoint: pass, to_endpoint: pass } },
    "/objects/http.bpf.o": { maps, programs: { http_request: pass, http_response: pass } },
    "/objects/network.bpf.o": { maps, programs: { from_network: pass, to_network: pass } },
  }),
  objectDirectory: "/objects",
  name: testName,
}));

describe("the plan", () => {
  it("names only the objects that the hooks need, and those that these call", () => {
    const plan = planObjects({ objectDirectory: "/o", hooks: ["from_endpoint", "to_endpoint"] });
    assert.deepEqual(plan.objects, [
      { path: "/o/endpoint.bpf.o", programs: ["from_endpoint", "to_endpoint"] },
      { path: "/o/http.bpf.o", programs: ["http_request", "http_response"] },
    ]);
  });
});
