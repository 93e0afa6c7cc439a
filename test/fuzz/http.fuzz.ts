/**
 * The HTTP reader against mutated input. Properties: it never throws; how the bytes are cut into chunks changes nothing; what it
 * accepts llhttp (node:http, strict) accepts too, with the same method, target and framing.
 */
import assert from "node:assert/strict";
import { createServer, METHODS } from "node:http";
import { Duplex } from "node:stream";
import {
  BodyReader,
  type Framing,
  HeadReader,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
} from "#proxy/http";

/** What the fuzz runner calls; throws with the seed and the input if a property is broken. */
export const fuzz = {
  name: "http",
  async run({ seconds, seed }: { readonly seconds: number; readonly seed: number }): Promise<number> {
    const deadline = performance.now() + seconds * 1000;
    const random = generator(seed);
    const llhttp = createOracle();
    let cases = 0;
    while (performance.now() < deadline) {
      const input = mutate(pick(seeds, random), random);
      try {
        const head = checkSplits(
          () => readRequest(input),
          (cuts) => readRequest(input, cuts),
          random,
          input.length,
        );
        if (typeof head !== "string" && METHODS.includes(head.method) && isShort(head.framing)) {
          await llhttp(input.subarray(0, head.stop), head);
        }
        const response = mutate(pick(responseSeeds, random), random);
        checkSplits(
          () => readResponse(response),
          (cuts) => readResponse(response, cuts),
          random,
          response.length,
        );
        const body = mutate(pick(bodySeeds, random), random);
        checkSplits(
          () => readBody(body),
          (cuts) => readBody(body, cuts),
          random,
          body.length,
        );
      } catch (error) {
        throw new Error(`http fuzz: seed ${seed}, case ${cases}: ${JSON.stringify(input.toString("latin1"))}`, {
          cause: error,
        });
      }
      cases++;
    }
    return cases;
  },
};

/** The body is made up for llhttp to read: only where that is feasible. */
const isShort = (framing: Framing): boolean => framing.kind !== "length" || framing.lengthBytes < 1e6;

interface ReadHead {
  readonly method: string;
  readonly target: string;
  readonly framing: Framing;
  readonly keepAlive: boolean;
  readonly upgrade: string | undefined;
  readonly host: string;
  /** Where the head ended. */
  readonly stop: number;
}

/** Bytes in chunks that end at the cuts, one after another, until `feed` says that it has enough. */
function feedAll(
  bytes: Buffer,
  cuts: readonly number[],
  feed: (chunk: Buffer, start: number, end: number) => number | undefined,
): number {
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    // A copy, padded in front: nothing may depend on other chunks or on offsets.
    const chunk = Buffer.concat([Buffer.from("##"), bytes.subarray(from, to)]);
    const stop = feed(chunk, 2, chunk.length);
    if (stop !== undefined) return from + stop - 2;
    from = to;
  }
  return bytes.length;
}

function readRequest(bytes: Buffer, cuts: readonly number[] = []): ReadHead | string {
  const reader = new HeadReader("request");
  const stop = feedAll(bytes, cuts, (chunk, start, end) => {
    const at = reader.feed(chunk, start, end);
    return reader.complete || reader.refusal !== undefined ? at : undefined;
  });
  if (!reader.complete) return reader.refusal ?? "incomplete";
  const head: RequestHead | string = parseRequestHead(reader);
  if (typeof head === "string") return head;
  const { method, target, framing, keepAlive, upgrade, host } = head;
  return { method, target, framing, keepAlive, upgrade, host, stop };
}

function readResponse(bytes: Buffer, cuts: readonly number[] = []) {
  const reader = new HeadReader("response");
  const stop = feedAll(bytes, cuts, (chunk, start, end) => {
    const at = reader.feed(chunk, start, end);
    return reader.complete || reader.refusal !== undefined ? at : undefined;
  });
  if (!reader.complete) return reader.refusal ?? "incomplete";
  const head = parseResponseHead(reader, { method: "GET", upgrade: undefined });
  return typeof head === "string" ? head : { ...head, stop };
}

function readBody(bytes: Buffer, cuts: readonly number[] = []): string {
  const reader = new BodyReader();
  reader.start({ kind: "chunked" });
  const stop = feedAll(bytes, cuts, (chunk, start, end) => {
    const at = reader.feed(chunk, start, end);
    return reader.done || reader.refusal !== undefined ? at : undefined;
  });
  if (reader.refusal !== undefined) return reader.refusal;
  return `${reader.done ? "done" : "incomplete"} at ${stop}`;
}

function checkSplits<T>(
  whole: () => T,
  split: (cuts: readonly number[]) => T,
  random: () => number,
  length: number,
): T {
  const expected = whole();
  const bytewise = Array.from({ length: Math.max(0, length - 1) }, (_, i) => i + 1);
  const some = Array.from({ length: 3 }, () => Math.floor(random() * length)).sort((a, b) => a - b);
  assert.deepEqual(split(some), expected, `cut at ${some}`);
  if (length < 400) assert.deepEqual(split(bytewise), expected, "byte by byte");
  return expected;
}

/** node:http in strict mode over a pipe in memory: must read the head, the body that we say belongs to it, and then a marker request. */
function createOracle(): (head: Buffer, ours: ReadHead) => Promise<void> {
  const marker = "GET /marker HTTP/1.1\r\nHost: marker\r\n\r\n";
  return (head, ours) =>
    new Promise((resolve, reject) => {
      const seen: string[] = [];
      const opaque = ours.upgrade !== undefined || ours.method === "CONNECT";
      const expected =
        opaque || !ours.keepAlive
          ? [`${ours.method} ${ours.target}`]
          : [`${ours.method} ${ours.target}`, "GET /marker"];
      const finish = (error?: unknown) => {
        clearTimeout(timer);
        pipe.destroy();
        try {
          if (error) throw error;
          assert.deepEqual(seen, expected);
          resolve();
        } catch (cause) {
          reject(
            new Error(`llhttp differs: ours ${JSON.stringify(ours)}, llhttp saw ${JSON.stringify(seen)}`, { cause }),
          );
        }
      };
      const take = (method: string | undefined, url: string | undefined) => {
        seen.push(`${method} ${url}`);
        if (seen.length === expected.length) setImmediate(finish);
      };
      const server = createServer(
        { maxHeaderSize: 128 * 1024, requireHostHeader: true, keepAliveTimeout: 0 },
        (request, response) => {
          request.resume();
          request.on("end", () => {
            take(request.method, request.url);
            response.end();
          });
        },
      );
      server.maxHeadersCount = 0;
      server.on("upgrade", (request) => take(request.method, request.url));
      server.on("connect", (request) => take(request.method, request.url));
      server.on("clientError", finish);
      const pipe = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
      pipe.on("error", finish);
      const timer = setTimeout(() => finish(new Error("no answer within 2 s")), 2000);
      server.emit("connection", pipe);
      pipe.push(Buffer.concat([head, bodyFor(ours.framing), Buffer.from(opaque || !ours.keepAlive ? "" : marker)]));
    });
}

function bodyFor(framing: Framing): Buffer {
  switch (framing.kind) {
    case "length":
      return Buffer.alloc(framing.lengthBytes, "x");
    case "chunked":
      return Buffer.from("3\r\nabc\r\n0\r\n\r\n");
    default:
      return Buffer.alloc(0);
  }
}

const seeds = [
  "GET /public HTTP/1.1\r\nHost: a\r\n\r\n",
  "POST /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 12\r\nContent-Type: text/plain\r\n\r\n",
  "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
  "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  "GET /ws HTTP/1.1\r\nHost: [::1]\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
  "DELETE /%2e%2e/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: b\r\nX-A:  c \r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
  "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
];
const responseSeeds = [
  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.1 204\r\n\r\n",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];
const bodySeeds = [
  "5\r\nhello\r\n0\r\n\r\n",
  'a;x=y;z="q\\"r"\r\n0123456789\r\n1\r\nx\r\n0;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n',
  "0\r\n\r\n",
];

const dictionary = [
  "\r\n",
  "\n",
  "\r",
  " ",
  "\t",
  ":",
  "\0",
  "\x0b",
  "\x7f",
  "\xff",
  ",",
  ";",
  '"',
  "0",
  "1",
  "chunked",
  "Transfer-Encoding: chunked\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 0\r\n",
  "Host: b\r\n",
  " HTTP/1.1\r\n",
  "HTTP/1.0",
  "X: y\r\n",
  "Connection: close\r\n",
  "Upgrade: h2c\r\n",
  "Connection: upgrade\r\n",
  "/../",
  "%2e",
  "%",
  "#",
  "?",
  "\\",
  "GET /private HTTP/1.1\r\nHost: a\r\n\r\n",
  "http://a",
  "*",
  "+",
  "-",
  "0x",
];

function mutate(text: string, random: () => number): Buffer {
  let bytes = text;
  for (let n = Math.floor(random() * 4); n > 0; n--) {
    const at = Math.floor(random() * (bytes.length + 1));
    const kind = random();
    if (kind < 0.45) bytes = bytes.slice(0, at) + pick(dictionary, random) + bytes.slice(at);
    else if (kind < 0.6) bytes = bytes.slice(0, at) + bytes.slice(at + 1 + Math.floor(random() * 3));
    else if (kind < 0.8)
      bytes = bytes.slice(0, at) + String.fromCharCode(Math.floor(random() * 256)) + bytes.slice(at + 1);
    else {
      // Whole lines: doubled, moved, swapped in case.
      const lines = bytes.split("\r\n");
      const line = pick(lines, random);
      lines.splice(1 + Math.floor(random() * lines.length), 0, random() < 0.5 ? line : line.toUpperCase());
      bytes = lines.join("\r\n");
    }
  }
  return Buffer.from(bytes, "latin1");
}

const pick = <T>(from: readonly T[], random: () => number): T => from[Math.floor(random() * from.length)]!;

/** mulberry32: small, seeded, good enough to pick mutations. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
