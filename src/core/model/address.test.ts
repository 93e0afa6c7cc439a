import assert from "node:assert/strict";
import { isIP, isIPv4 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  addressAt,
  formatAddress,
  formatPrefix,
  maskAddress,
  parseAddress,
  parsePrefix,
  prefixContains,
} from "./address.ts";

const canonical: ReadonlyArray<readonly [text: string, canonical: string]> = [
  ["10.0.0.1", "10.0.0.1"],
  ["::", "::"],
  ["::1", "::1"],
  ["fe80::1", "fe80::1"],
  ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["::ffff:10.1.2.3", "::ffff:10.1.2.3"],
  ["1::", "1::"],
];
for (const [text, expected] of canonical) {
  test(`${text} is written ${expected}`, () => assert.equal(formatAddress(parseAddress(text)!), expected));
}

for (const text of [
  "",
  "10.0.0",
  "10.0.0.256",
  "010.0.0.1",
  "1:2:3",
  ":::",
  "1::2::3",
  "fe80::1%eth0",
  "12345::",
  "1.2.3.4::",
  "::1.2.3",
]) {
  test(`"${text}" is no address`, () => assert.equal(parseAddress(text), undefined));
}

test("any 16 bytes survive formatting and parsing, and Node agrees that the text is an address", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const text = formatAddress({ family: 6, bytes });
      assert.equal(isIP(text), 6);
      assert.deepEqual(parseAddress(text)!.bytes, bytes);
    }),
  );
});

test("every dotted text that Node takes for IPv4 is taken here too, and no other", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 3, maxLength: 5 }), (parts) => {
      const text = parts.join(".");
      assert.equal(parseAddress(text) !== undefined, isIPv4(text));
    }),
  );
});

test("a prefix clears the bits behind its length and contains what shares the rest", () => {
  assert.equal(formatPrefix(parsePrefix("10.1.2.3/9")!), "10.0.0.0/9");
  assert.equal(parsePrefix("10.0.0.1"), undefined);
  assert.equal(parsePrefix("10.0.0.0/33"), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 0, max: 128 }), (bytes, length) => {
      const prefix = maskAddress({ family: 6, bytes }, length);
      assert.ok(prefixContains(prefix, { family: 6, bytes }));
      if (length > 0) {
        const other = Uint8Array.from(bytes);
        const bit = length - 1;
        other[bit >> 3]! ^= 0x80 >> (bit & 7);
        assert.ok(!prefixContains(prefix, { family: 6, bytes: other }));
      }
    }),
  );
});

test("a shorter prefix never lies inside a longer one", () => {
  assert.ok(!prefixContains(parsePrefix("10.0.0.0/16")!, parsePrefix("10.0.0.0/8")!));
  assert.ok(prefixContains(parsePrefix("0.0.0.0/0")!, parsePrefix("10.0.0.0/8")!));
  assert.ok(!prefixContains(parsePrefix("0.0.0.0/0")!, parsePrefix("::/0")!));
});

test("the n-th address carries over byte borders", () => {
  assert.equal(formatAddress(addressAt(parsePrefix("10.0.0.0/16")!, 258)), "10.0.1.2");
  assert.equal(formatAddress(addressAt(parsePrefix("fd00::/64")!, 65536)), "fd00::1:0");
});
