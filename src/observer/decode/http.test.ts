import assert from "node:assert/strict";
import { test } from "node:test";
import { Direction, EventType, type HttpEvent, HttpEventKind, HttpFault, httpEventCodec, IpFamily } from "#contracts/bpf"; // biome-ignore format: one door
import type { PolicyRef } from "#contracts/proxy";
import type { EndpointId, NumericIdentity } from "#core/model";
import { parseAddress } from "#core/model";
import { createHttpDecoder, httpEventHeadBytes, isHttpEvent } from "./http.ts";

const ref: PolicyRef = { kind: "CiliumNetworkPolicy", namespace: "default", name: "web", path: "spec.ingress[0]" };
const decoder = () =>
  createHttpDecoder({
    wallOffsetNs: () => 1_000_000_000n,
    reasonsOf: ({ program, rule, request, isWhole }) => {
      if (program !== 5) return { rules: [] };
      if (rule === 2) return { rules: [ref] };
      return { rules: [], nearest: { ref, field: "path", expected: String(isWhole), found: request.path } };
    },
  });
const padded = (text: string, size: number) => Buffer.from(text.padEnd(size, "\0"), "latin1");
const usual: HttpEvent = {
  timeNs: 2_500_000_000n,
  type: EventType.HTTP,
  kind: HttpEventKind.REQUEST,
  verdict: 1,
  direction: Direction.INGRESS,
  family: IpFamily.IPV4,
  fault: 0,
  minorVersion: 1,
  foreign: 0,
  connection: 77,
  request: 3,
  latencyNs: 0n,
  clientIdentity: 1001 as NumericIdentity,
  serverIdentity: 1002 as NumericIdentity,
  clientEp: 1 as EndpointId,
  serverEp: 2 as EndpointId,
  clientPort: 40_000,
  serverPort: 80,
  client: parseAddress("10.0.1.1")!.bytes,
  server: parseAddress("10.0.1.2")!.bytes,
  program: 5,
  rule: 3,
  status: 0,
  pathLength: 7,
  methodLength: 3,
  hostLength: 1,
  text: padded("GETa/public", 304),
};
const viewOf = (change: Partial<HttpEvent>) => {
  const bytes = httpEventCodec.encode({ ...usual, ...change });
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};
const decode = (d: ReturnType<typeof decoder>, change: Partial<HttpEvent>, length = httpEventCodec.size) =>
  d.decode(viewOf(change), 0, length);

test("a request is told with its texts, its ends and the rule that allowed it", () => {
  assert.deepEqual(decode(decoder(), {}), {
    kind: "request",
    timeMs: 3500,
    connection: 77,
    source: { address: "10.0.1.1", port: 40_000, identity: 1001, endpoint: 1 },
    destination: { address: "10.0.1.2", port: 80, identity: 1002, endpoint: 2 },
    direction: "ingress",
    verdict: "FORWARDED",
    protocol: "HTTP/1.1",
    method: "GET",
    path: "/public",
    host: "a",
    status: 0,
    latencyNs: 0,
    rules: [ref],
    reason: "",
  });
});

test("an answer, whose event has no texts, is told with its request's", () => {
  const d = decoder();
  const none = { methodLength: 0, pathLength: 0, hostLength: 0, rule: 0, kind: HttpEventKind.RESPONSE };
  decode(d, {});
  const answer = decode(d, { ...none, status: 204, latencyNs: 1500n }, httpEventHeadBytes)!;
  assert.deepEqual(
    [answer.kind, answer.status, answer.latencyNs, answer.method, answer.path, answer.host, answer.rules],
    ["response", 204, 1500, "GET", "/public", "a", [ref]],
  );
  assert.equal(decode(d, { ...none, status: 204 }, httpEventHeadBytes)!.method, "", "once");
});

test("a denial and a malformed request say why", () => {
  const denied = decode(decoder(), { kind: HttpEventKind.DENIED, status: 403, rule: 0 })!;
  assert.deepEqual([denied.kind, denied.verdict, denied.status, denied.rules], ["denied", "DROPPED", 403, []]);
  assert.deepEqual(denied.nearest, { ref, field: "path", expected: "true", found: "/public" });
  const cut = decode(decoder(), { kind: HttpEventKind.DENIED, rule: 0, pathLength: 4000 })!;
  assert.equal(cut.nearest?.expected, "false", "of a target that was told cut");
  for (const [name, fault] of Object.entries(HttpFault)) {
    const { reason } = decode(decoder(), { kind: HttpEventKind.MALFORMED, fault })!;
    assert.ok(name === "NONE" || /^[A-Za-z]/.test(reason), name);
  }
});

test("IPv6 and egress are told apart", () => {
  const record = decode(decoder(), { family: IpFamily.IPV6, client: parseAddress("fd00::1")!.bytes, direction: 1 })!;
  assert.deepEqual([record.source.address, record.direction], ["fd00::1", "egress"]);
});

test("what is too short, or of another type, is no HTTP event", () => {
  assert.ok(!isHttpEvent(viewOf({ kind: HttpEventKind.RESPONSE }), 0, httpEventHeadBytes - 1));
  assert.ok(!isHttpEvent(viewOf({ type: 1 }), 0, httpEventCodec.size));
  assert.ok(!isHttpEvent(new DataView(new ArrayBuffer(8)), 0, 400));
});
