import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyEntry, PolicyKey } from "#contracts/bpf";
import { HttpLimit, policyKeyCodec } from "#contracts/bpf";
import type { NumericIdentity } from "#core/model";
import { MapType } from "#datapath/linux";
import { createFakeKernel } from "#datapath/linux/testing";
import { openHttpProgramMap } from "#datapath/maps";
import type { MapDoor } from "./doors.ts";
import { createHttpPrograms, createPolicySets, type DesiredPolicySet, type HttpProgram } from "./index.ts";

const program = (n: number): HttpProgram => ({ bytes: new Uint8Array(HttpLimit.WORDS * 8).fill(n) });

/** A kernel's two maps, with a clock. */
function world(capacity = 3) {
  const { bpf } = createFakeKernel();
  const sample = bpf.createMap({ name: "sample", type: MapType.ARRAY, keySize: 4, valueSize: HttpLimit.WORDS * 8, maxEntries: 1, flags: 0 }); // biome-ignore format: one shape
  const outer = bpf.createMap(
    { name: "http_programs", type: MapType.HASH_OF_MAPS, keySize: 4, valueSize: 4, maxEntries: capacity, flags: 0 },
    sample,
  );
  const rows = new Map<string, readonly [PolicyKey, PolicyEntry]>();
  const name = (key: PolicyKey) => Buffer.from(policyKeyCodec.encode(key)).toString("hex");
  const policy: MapDoor<PolicyKey, PolicyEntry> = {
    name: "policy",
    capacity: 100,
    get: (key) => rows.get(name(key))?.[1],
    set: (key, value) => void rows.set(name(key), [key, value]),
    delete: (key) => rows.delete(name(key)),
    entries: () => [...rows.values()],
    setAll: (all) => all.forEach(([key, value]) => void rows.set(name(key), [key, value])),
    deleteAll: (keys) => keys.filter((key) => rows.delete(name(key))).length,
  };
  const clock = { ms: 1_700_000_000_000 };
  const map = openHttpProgramMap(bpf, outer);
  const start = () => {
    const programs = createHttpPrograms(map, () => clock.ms);
    return { programs, sets: createPolicySets(policy, programs) };
  };
  return { map, clock, start, entries: () => [...rows.values()].map(([, value]) => value.httpProgram) };
}

const set = (...programs: readonly (HttpProgram | undefined)[]): DesiredPolicySet => ({
  entries: programs.map((http, i) => ({
    key: { prefixlen: 72, identity: (i + 1) as NumericIdentity, direction: 0, protocol: 0, dport: 0 },
    value: { precedence: 1, cookie: 0, httpProgram: 0, proxyPort: 10_000, l4Prefix: 0, flags: 0 },
    ...(http && { http }),
  })),
});

test("entries name their programs, equal ones the same", () => {
  const { map, start, entries } = world();
  const { sets, programs } = start();
  sets.acquire(set(program(1), program(1), program(2), undefined));
  const [a, b, c, none] = entries();
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.equal(none, 0);
  assert.equal(programs.numberOf(program(2)), c);
  assert.deepEqual(map.get(a!), program(1).bytes);
});

test("a program outlives the last entry that names it by a minute", () => {
  const { clock, map, start } = world();
  const { sets, programs } = start();
  sets.acquire(set(program(1)));
  sets.collect(new Set());
  clock.ms += 59_000;
  programs.sweep(clock.ms);
  assert.equal(map.numbers().length, 1);
  clock.ms += 1000;
  programs.sweep(clock.ms);
  assert.equal(map.numbers().length, 0);
});

test("a program that is wanted again in that minute is the same one, and stays", () => {
  const { clock, map, start, entries } = world();
  const { sets, programs } = start();
  sets.acquire(set(program(1)));
  const [number] = entries();
  sets.collect(new Set());
  clock.ms += 59_000;
  sets.acquire(set(program(1), undefined));
  clock.ms += 59_000;
  programs.sweep(clock.ms);
  assert.deepEqual(map.numbers(), [number]);
  assert.equal(entries()[0], number);
});

test("when all places are taken the entry goes to the proxy; what nothing names makes room", () => {
  const { map, start, entries } = world(2);
  const { sets, programs } = start();
  const first = sets.acquire(set(program(1), program(2), program(3)));
  assert.deepEqual(
    entries().map((number) => number !== 0),
    [true, true, false],
  );
  assert.equal(programs.numberOf(program(3)), undefined);
  assert.equal(programs.count, programs.capacity);
  sets.collect(new Set());
  assert.notEqual(sets.acquire(set(program(3))), first);
  assert.ok(programs.numberOf(program(3)) !== undefined);
  assert.equal(map.numbers().length, 2);
});

test("an agent that starts again takes programs and sets over, and gives no number out twice", () => {
  const { map, clock, start, entries } = world();
  const before = start();
  const number = before.sets.acquire(set(program(1)));
  const [held] = entries();
  clock.ms += 5000;
  const after = start();
  assert.equal(after.sets.acquire(set(program(1))), number);
  assert.deepEqual(map.numbers(), [held]);
  after.sets.collect(new Set());
  clock.ms += 60_000;
  after.programs.sweep(clock.ms);
  assert.deepEqual(map.numbers(), []);
  const third = start();
  third.sets.acquire(set(program(2)));
  assert.ok(entries().every((other) => other > held!));
});

test("a program that a dead agent left without entries goes, too", () => {
  const { map, clock, start } = world();
  start().programs.acquire(program(1));
  const { programs } = start();
  clock.ms += 60_000;
  programs.sweep(clock.ms);
  assert.deepEqual(map.numbers(), []);
});
