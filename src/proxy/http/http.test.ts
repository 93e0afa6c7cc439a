import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BodyReader, HeadReader, headLimits, judgedTargets, parseRequestHead } from "./index.ts";

describe("the targets that a request is judged by", () => {
  const rows: readonly [target: string, resolved?: string][] = [
    ["/a"],
    ["/"],
    ["/a/"],
    ["/a?b=../c"],
    ["/.well-known/x"],
    ["/a..b/c."],
    ["/a/%20b"],
    ["/a/%C3%A9"],
    ["/a/../b", "/b"],
    ["/a/./b", "/a/b"],
    ["/a/..", "/"],
    ["/a/b/.", "/a/b/"],
    ["/../../a", "/a"],
    ["//a", "/a"],
    ["/a//b", "/a/b"],
    ["/a\\..\\b", "/b"],
    ["/a/%2e%2E/b", "/b"],
    ["/a%2f..%2Fb", "/b"],
    ["/a%5c..%5Cb", "/b"],
    ["/%61", "/a"],
    ["/a%00.jpg", "/a"],
    ["/a/..;x=y/b", "/b"],
    ["/a/.;/b?c", "/a/b?c"],
    ["/a/%252e%252e/b"],
    ["/a;x/b"],
  ];
  for (const [target, resolved] of rows)
    it(resolved === undefined ? `${target}: only as written` : `${target}: also as ${resolved}`, () =>
      assert.deepEqual(judgedTargets(target), resolved === undefined ? [target] : [target, resolved]),
    );
});

describe("the head reader", () => {
  const read = (text: string) => {
    const reader = new HeadReader("request");
    const bytes = Buffer.from(text, "latin1");
    reader.feed(bytes, 0, bytes.length);
    return reader;
  };

  it("accepts heads up to its limits, and not a byte more", () => {
    const head = (pad: number) => `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(pad)}\r\n\r\n`;
    const spare = headLimits.headBytes - head(0).length;
    assert.equal(read(head(spare)).complete, true);
    assert.equal(read(head(spare + 1)).refusal, "head-too-large");
    const target = (bytes: number) => `GET /${"y".repeat(bytes - 1)} HTTP/1.1\r\nHost: a\r\n\r\n`;
    assert.equal(read(target(headLimits.targetBytes)).complete, true);
    assert.equal(read(target(headLimits.targetBytes + 1)).refusal, "target-too-long");
    const lines = (n: number) => `GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(n - 1)}\r\n`;
    assert.equal(read(lines(headLimits.headers)).complete, true);
    assert.equal(read(lines(headLimits.headers + 1)).refusal, "too-many-headers");
  });

  it("stops behind the head, and reads the next one after a reset", () => {
    const reader = new HeadReader("request");
    const bytes = Buffer.from("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n");
    const stop = reader.feed(bytes, 0, bytes.length);
    const first = parseRequestHead(reader);
    reader.reset();
    assert.equal(reader.feed(bytes, stop, bytes.length), bytes.length);
    const second = parseRequestHead(reader);
    assert.deepEqual(
      [first, second].map((head) => typeof head !== "string" && [head.target, head.host]),
      [
        ["/a", "a"],
        ["/b", "b"],
      ],
    );
  });

  it("finds all values of a header, without the white space around them", () => {
    const head = parseRequestHead(read("GET / HTTP/1.1\r\nHost: a\r\nX-A:  one \t\r\nx-a: two\r\nX-B:\r\n\r\n"));
    assert.ok(typeof head !== "string");
    assert.deepEqual([head.header("x-a"), head.header("x-b"), head.header("x-c")], ["one,two", "", undefined]);
  });
});

describe("the body reader", () => {
  it("reads one body after another", () => {
    const body = new BodyReader();
    body.start({ kind: "length", lengthBytes: 3 });
    assert.equal(body.feed(Buffer.from("ab"), 0, 2), 2);
    assert.equal(body.done, false);
    assert.equal(body.feed(Buffer.from("cde"), 0, 3), 1);
    assert.equal(body.done, true);
    for (let i = 0; i < 2; i++) {
      body.start({ kind: "chunked" });
      const bytes = Buffer.from("1\r\na\r\n0\r\nX: y\r\n\r\nGET");
      assert.equal(body.feed(bytes, 0, bytes.length), bytes.length - 3);
      assert.equal(body.done, true);
    }
    body.start({ kind: "none" });
    assert.equal(body.done, true);
  });
});
