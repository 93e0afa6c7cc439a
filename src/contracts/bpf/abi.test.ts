import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import { CtFlags, ctEntryCodec, DropReason, enumName, flagNames, policyKeyCodec, verdictEventCodec } from "./index.ts";

describe("a codec writes what the kernel reads", () => {
  it("wire-order fields big-endian, the rest little-endian", () => {
    const key = {
      prefixlen: 96,
      set: 7 as PolicySetId,
      identity: 0x01020304 as NumericIdentity,
      direction: 1,
      protocol: 6,
      dport: 443,
    };
    const bytes = policyKeyCodec.encode(key);
    assert.equal(Buffer.from(bytes).toString("hex"), "60000000" + "07000000" + "04030201" + "01" + "06" + "01bb");
    assert.deepEqual(policyKeyCodec.decode(bytes), key);
  });

  it("at an offset, over old contents, padding zeroed", () => {
    const memory = new Uint8Array(64).fill(0xff);
    const entry = {
      expires: 9,
      epoch: 1,
      srcIdentity: 5 as NumericIdentity,
      dstIdentity: 6 as NumericIdentity,
      srcEp: 1 as EndpointId,
      dstEp: 0 as EndpointId,
      flags: CtFlags.PROXIED,
      proxyPort: 10000,
    };
    const view = new DataView(memory.buffer);
    ctEntryCodec.write(view, 8, { ...ctEntryCodec.read(view, 8), ...entry });
    const back = ctEntryCodec.read(view, 8);
    assert.deepEqual({ ...back, ...entry }, back);
    assert.equal(memory[7], 0xff);
    assert.equal(memory[8 + ctEntryCodec.size], 0xff);
  });

  it("arrays in what was read are copies: the ring buffer reuses its memory", () => {
    const memory = new Uint8Array(verdictEventCodec.size);
    const event = verdictEventCodec.decode(memory);
    memory.fill(0xff);
    assert.deepEqual(event.src, new Uint8Array(16));
  });

  it("an array of the wrong length is refused", () => {
    const event = verdictEventCodec.decode(new Uint8Array(verdictEventCodec.size));
    assert.throws(
      () => verdictEventCodec.encode({ ...event, src: new Uint8Array(4) }),
      /a field of 16 bytes can't hold 4/,
    );
  });

  it("reading past the end is refused", () => {
    assert.throws(() => verdictEventCodec.decode(new Uint8Array(verdictEventCodec.size - 1)), RangeError);
  });
});

describe("codes have names", () => {
  it("a known code", () => assert.equal(enumName(DropReason, 133), "POLICY_DENIED"));
  it("a code of a newer kernel side has none", () => assert.equal(enumName(DropReason, 250), undefined));
  it("flags, lowest first, unknown bits in hexadecimal", () =>
    assert.deepEqual(flagNames(CtFlags, 2 | 32 | 0x8000), ["SEEN_REPLY", "PROXIED", "0x8000"]));
  it("no flags", () => assert.deepEqual(flagNames(CtFlags, 0), []));
  it("the highest of 32 bits", () => assert.deepEqual(flagNames({}, 0x80000000), ["0x80000000"]));
});
