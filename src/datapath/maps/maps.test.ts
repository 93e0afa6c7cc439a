import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CtFlags, ct4KeyCodec, ipcacheKeyCodec, PolicyFlags, policyKeyCodec } from "#contracts/bpf";
import { type EndpointId, type NumericIdentity, type PolicySetId, parseAddress, parsePrefix } from "#core/model";
import { MapType, NO_PREALLOC } from "#datapath/linux";
import { createFakeKernel, FAKE_CPUS } from "#datapath/linux/testing";
import { decodePolicyKey, ipcacheKey, ipcachePrefix, ipv4Address, ipv4Number, l4Prefix, mapDefinitions, openDatapathMaps, openTypedMap, policyKey } from "./index.ts"; // biome-ignore format: one door

const { bpf } = createFakeKernel();
const id = (n: number) => n as NumericIdentity;
const set = (n: number) => n as PolicySetId;

/** An empty map of that definition. */
function empty<Name extends keyof typeof mapDefinitions>(name: Name, maxEntries = 16) {
  const { type, key, value } = mapDefinitions[name];
  const flags = type === MapType.LPM_TRIE ? NO_PREALLOC : 0;
  return bpf.createMap({ name, type, keySize: key.size, valueSize: value.size, maxEntries, flags });
}

describe("keys", () => {
  for (const text of ["0.0.0.0/0", "10.217.0.5/32", "10.0.0.0/8", "::/0", "fd10:217::/112", "fd10:217::5/128"]) {
    it(`a prefix and its ipcache key: ${text}`, () => {
      const prefix = parsePrefix(text)!;
      const key = ipcacheKey(prefix);
      assert.equal(key.prefixlen, 32 + prefix.length);
      assert.deepEqual(ipcachePrefix(ipcacheKeyCodec.decode(ipcacheKeyCodec.encode(key))), prefix);
    });
  }

  for (const [name, protocol, port, portBits, prefixlen, l4] of [
    ["any protocol", 0, 0, 0, 72, 0],
    ["any port of a protocol", 6, 0, 0, 80, 8],
    ["one port", 6, 80, 16, 96, 24],
    ["a block of ports", 17, 0x8000, 1, 81, 9],
  ] as const) {
    it(`a policy entry's key: ${name}`, () => {
      const match = { set: set(3), identity: id(1001), direction: "egress" as const, protocol, port, portBits };
      const key = policyKey(match);
      assert.equal(key.prefixlen, prefixlen);
      assert.equal(l4Prefix(key), l4);
      assert.deepEqual(decodePolicyKey(policyKeyCodec.decode(policyKeyCodec.encode(key))), match);
    });
  }

  for (const [name, protocol, port, portBits] of [
    ["a port without a protocol", 0, 80, 16],
    ["bits behind the block", 6, 81, 15],
    ["a port beyond 16 bits", 6, 65536, 16],
    ["a block of more than 16 bits", 6, 80, 17],
  ] as const) {
    it(`no policy key: ${name}`, () => {
      const match = { set: set(1), identity: id(0), direction: "ingress" as const, protocol, port, portBits };
      assert.throws(() => policyKey(match), RangeError);
    });
  }

  it("an IPv4 address and its number", () => {
    const address = parseAddress("10.217.0.1")!;
    assert.equal(ipv4Number(address), 0x0ad90001);
    assert.deepEqual(ipv4Address(0x0ad90001), address);
  });
});

describe("typed maps", () => {
  it("rows go in and come out decoded", () => {
    const map = openTypedMap(empty("ipcache"), mapDefinitions.ipcache);
    const value = { identity: id(1001), tunnelEndpoint: 0, endpointId: 5 as EndpointId, flags: 0 };
    const wide = ipcacheKey(parsePrefix("10.217.0.0/24")!);
    map.setAll([[wide, value]]);
    assert.deepEqual(map.get(ipcacheKey(parsePrefix("10.217.0.9/32")!)), value, "the longest prefix answers");
    assert.deepEqual([...map.entries()], [[wide, value]]);
    assert.equal(map.deleteAll([wide]), 1);
    assert.equal(map.delete(wide), false);
    assert.deepEqual([map.name, map.capacity], ["ipcache", 16]);
  });

  it("the CPUs' counters are added up", () => {
    const raw = empty("metrics", 4);
    const values = new BigUint64Array(2 * FAKE_CPUS).map((_, i) => BigInt(i + 1));
    raw.update(Uint8Array.of(2, 0, 0, 0), new Uint8Array(values.buffer));
    const map = openTypedMap(raw, mapDefinitions.metrics);
    assert.deepEqual(map.get(2), { packets: 4n, bytes: 6n });
    map.set(2, { packets: 0n, bytes: 0n });
    assert.deepEqual(map.get(2), { packets: 0n, bytes: 0n });
  });

  it("a map of another shape is refused, and a missing one", () => {
    assert.throws(() => openTypedMap(empty("ct4"), mapDefinitions.ct6), /map ct6 has keys of 16 bytes, 40 expected/);
    assert.throws(() => openTypedMap(empty("ct4"), mapDefinitions.nat), /keys of 16 bytes, 40 expected/);
    assert.throws(() => openTypedMap(empty("ct4"), mapDefinitions.policy), /of type 9, 11 expected/);
    assert.throws(() => openDatapathMaps({ ct4: empty("ct4") }), /there is no map node_config among ct4/);
  });
});

describe("rows as people read them", () => {
  const dumped = <Name extends keyof typeof mapDefinitions>(name: Name, key: never, value: never) => {
    const map = openTypedMap<never, never>(empty(name, 512), mapDefinitions[name] as never);
    map.set(key, value);
    const { entries } = map.dump(1000);
    assert.equal(entries.length, 1);
    assert.doesNotThrow(() => JSON.stringify(entries));
    return entries[0];
  };
  const policy = (match: Parameters<typeof policyKey>[0], flags: number, proxyPort = 0) =>
    dumped(
      "policy",
      policyKey(match) as never,
      { precedence: 5, cookie: 2, httpProgram: 0, proxyPort, l4Prefix: 24, flags } as never,
    );

  it("a policy entry for one port that goes to the proxy", () => {
    const match = {
      set: set(3),
      identity: id(1001),
      direction: "ingress" as const,
      protocol: 6,
      port: 80,
      portBits: 16,
    };
    assert.deepEqual(policy(match, PolicyFlags.REDIRECT, 10000), {
      key: { set: 3, direction: "ingress", identity: 1001, protocol: "TCP", port: "80" },
      value: { action: "redirect", proxyPort: 10000, precedence: 5, cookie: 2 },
    });
  });

  it("a policy entry for a block of ports of anyone", () => {
    const match = { set: set(3), identity: id(0), direction: "egress" as const, protocol: 17, port: 8192, portBits: 3 };
    assert.deepEqual(policy(match, PolicyFlags.DENY)?.key, {
      set: 3,
      direction: "egress",
      identity: "any",
      protocol: "UDP",
      port: "8192-16383",
    });
  });

  it("a connection stands in its initiator's orientation, whichever end is the smaller", () => {
    const key = ct4KeyCodec.decode(new Uint8Array(16));
    const ends = { ...key, addrLo: 0x0a000001, addrHi: 0x0a000002, portLo: 80, portHi: 40000, protocol: 6 };
    const entry = { expires: 9, epoch: 1, srcIdentity: id(5), dstIdentity: id(6), srcEp: 1, dstEp: 2, proxyPort: 0 };
    const names = (flags: number) => {
      const row = dumped("ct4", ends as never, { ...entry, flags } as never) as {
        key: { source: string; destination: string };
      };
      return [row.key.source, row.key.destination];
    };
    assert.deepEqual(names(CtFlags.SEEN_SYN), ["10.0.0.2:40000", "10.0.0.1:80"]);
    assert.deepEqual(names(CtFlags.INITIATOR_LO), ["10.0.0.1:80", "10.0.0.2:40000"]);
  });

  it("a counter beyond what JSON numbers can say stays exact", () => {
    assert.deepEqual(dumped("metrics", (133 * 2 + 1) as never, { packets: 2n ** 60n, bytes: 1n } as never), {
      key: { reason: "POLICY_DENIED", direction: "egress" },
      value: { packets: "1152921504606846976", bytes: 1 },
    });
  });

  it("free slots and zero counters are left out; the limit cuts and says so", () => {
    for (const name of ["endpoints", "metrics", "helper_errors"] as const) {
      const map = openTypedMap<never, never>(empty(name), mapDefinitions[name] as never);
      assert.deepEqual(map.dump(10), { entries: [], truncated: false });
    }
    const ifaces = openTypedMap(empty("ifaces"), mapDefinitions.ifaces);
    for (const index of [3, 4, 5]) ifaces.set(index, index as EndpointId);
    assert.equal(ifaces.dump(2).entries.length, 2);
    assert.equal(ifaces.dump(2).truncated, true);
    assert.equal(ifaces.dump(3).truncated, false);
  });
});
