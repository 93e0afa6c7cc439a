import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { attribute, decodeAttributes, decodeReplies, encodeRequests, zeroTerminated } from "./netlink-message.ts";

describe("netlink messages", () => {
  it("attributes of every kind, padded to four bytes", () => {
    const bytes = Buffer.concat([attribute(3, "eth0"), attribute(4, 1450), attribute(18, [attribute(1, "veth")])]);
    assert.equal(bytes.length % 4, 0);
    const read = decodeAttributes(bytes);
    assert.equal(zeroTerminated(read.get(3)!), "eth0");
    assert.equal(read.get(4)!.readUInt32LE(), 1450);
    assert.equal(zeroTerminated(decodeAttributes(read.get(18)!).get(1)!), "veth");
  });

  it("requests are numbered in order and stand one behind the other", () => {
    const bytes = encodeRequests([{ type: 16, flags: 4, body: Buffer.alloc(5) }, { type: 18, flags: 0, body: Buffer.alloc(0) }], 7); // biome-ignore format: one row
    assert.deepEqual([bytes.readUInt32LE(0), bytes.readUInt16LE(4), bytes.readUInt16LE(6), bytes.readUInt32LE(8)], [21, 16, 5, 7]); // biome-ignore format: one row
    assert.deepEqual([bytes.readUInt32LE(24), bytes.readUInt16LE(28), bytes.readUInt32LE(32)], [16, 18, 8]);
  });

  const reply = (flags: number, payload: Buffer, type = 2) => {
    const bytes = Buffer.alloc(16 + payload.length);
    bytes.writeUInt32LE(bytes.length, 0);
    bytes.writeUInt16LE(type, 4);
    bytes.writeUInt16LE(flags, 6);
    bytes.writeUInt32LE(9, 8);
    payload.copy(bytes, 16);
    return bytes;
  };
  const refusal = (errno: number) => {
    const bytes = Buffer.alloc(20);
    bytes.writeInt32LE(-errno, 0);
    bytes.writeUInt32LE(16, 4);
    return bytes;
  };

  it("an acknowledgement, a refusal, and a refusal in the kernel's words", () => {
    const words = Buffer.concat([refusal(22), attribute(1, "Required attributes not provided")]);
    const datagram = Buffer.concat([reply(0x100, refusal(0)), reply(0, refusal(17)), reply(0x300, words)]);
    const read = [...decodeReplies(datagram)].map(({ sequence, errno, explanation }) => [sequence, errno, explanation]);
    assert.deepEqual(read, [[9, 0, ""], [9, 17, ""], [9, 22, "Required attributes not provided"]]); // biome-ignore format: one row
  });

  it("a dump that was disturbed says so", () => {
    const [only] = [...decodeReplies(reply(0x10, Buffer.alloc(4), 3))];
    assert.equal(only!.interrupted, true);
  });

  it("what is cut off or has impossible lengths ends the reading, and is never read past", () => {
    const whole = reply(0, refusal(1));
    for (let length = 0; length < whole.length; length++)
      assert.deepEqual([...decodeReplies(whole.subarray(0, length))], []);
    assert.equal(decodeAttributes(Buffer.from([1, 0, 1, 0])).size, 0);
    assert.equal(decodeAttributes(Buffer.from([200, 0, 1, 0])).size, 0);
  });
});
