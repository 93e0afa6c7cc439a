import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, parseAddress, parsePrefix } from "#core/model";
import { createAddressPool, routerAddress } from "./index.ts";

const pool = (prefix: string) => createAddressPool(parsePrefix(prefix)!);
const text = (address: ReturnType<ReturnType<typeof pool>["allocate"]>) => address && formatAddress(address);

for (const [prefix, router, first, capacity] of [
  ["10.217.0.0/24", "10.217.0.1", "10.217.0.2", 253],
  ["10.0.0.0/8", "10.0.0.1", "10.0.0.2", 65_533],
  ["fd10:217::/112", "fd10:217::1", "fd10:217::2", 65_534],
  ["10.1.2.4/30", "10.1.2.5", "10.1.2.6", 1],
  ["10.1.2.4/32", "10.1.2.5", undefined, 0],
] as const) {
  test(`${prefix}: router ${router}, first pod ${first}, room for ${capacity}`, () => {
    const p = pool(prefix);
    assert.equal(formatAddress(routerAddress(p.prefix)), router);
    assert.equal(p.capacity, capacity);
    assert.equal(text(p.allocate()), first);
  });
}

test("an address that was given back is the last to be given out again", () => {
  const p = pool("10.0.0.0/29");
  const first = p.allocate()!;
  p.release(first);
  const given = Array.from({ length: 5 }, () => text(p.allocate()));
  assert.deepEqual(given, ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]);
  assert.equal(p.allocate(), undefined);
});

test("a claimed address is not given out, and allocation goes on behind it", () => {
  const p = pool("10.0.0.0/24");
  assert.ok(p.claim(parseAddress("10.0.0.7")!));
  assert.ok(!p.claim(parseAddress("10.0.0.7")!), "twice");
  assert.ok(!p.claim(parseAddress("10.0.1.7")!), "of another prefix");
  assert.ok(!p.claim(parseAddress("10.0.0.1")!), "the router's");
  assert.ok(!p.claim(parseAddress("10.0.0.255")!), "the last");
  assert.equal(text(p.allocate()), "10.0.0.8");
  assert.equal(p.used, 2);
});
