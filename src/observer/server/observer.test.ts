import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import http2 from "node:http2";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import {
  type Flow,
  type GetFlowsRequest,
  type GetFlowsResponse,
  type GetNodesResponse,
  type ObserverClient,
  openObserverClient,
} from "#contracts/hubble";
import type { EndpointId, NumericIdentity } from "#core/model";
import { eventSizeBytes } from "#observer/decode";
import { encodeEvent, type RawEvent } from "#observer/decode/testing";
import { accessLogRecord, twoPods } from "#observer/flow/testing";
import { createObserver, type Observer } from "./index.ts";

const ignore = (): void => undefined;
const noLog = { debug: ignore, info: ignore, warn: ignore, error: ignore };

interface Node {
  readonly observer: Observer;
  readonly client: ObserverClient;
  readonly path: string;
  ingest(raw?: RawEvent): void;
}

async function startNode(t: TestContext, capacity = 63): Promise<Node> {
  const folder = await mkdtemp(join(tmpdir(), `tsilium-observer-${process.pid}-`));
  const path = join(folder, "hubble.sock");
  const log = {
    ...noLog,
    error: (fields: object, message: string) => assert.fail(`${message} ${JSON.stringify(fields)}`),
  };
  const observer = createObserver({ nodeName: "node-1", version: "0.1.0", lookups: twoPods, capacity, log });
  await observer.serve({ path });
  const client = await openObserverClient(path);
  t.after(async () => {
    client.close();
    await observer.close();
    await rm(folder, { recursive: true });
  });
  const ingest = (raw: RawEvent = {}): void => observer.ingestEvent(encodeEvent(raw), 0, eventSizeBytes);
  return { observer, client, path, ingest };
}

/** Events that differ by their source port: 1, 2, ..., a second apart. */
function fill({ ingest }: Node, count: number): void {
  for (let i = 1; i <= count; i++) ingest({ sport: i, timeNs: BigInt(i) * 1_000_000_000n });
}

const portOf = (flow: Flow): number => {
  const l4 = flow.l4?.protocol;
  return l4?.$case === "TCP" ? (l4.value.source_port ?? 0) : -1;
};
const shown = (response: GetFlowsResponse): number | string => {
  const types = response.response_types!;
  switch (types.$case) {
    case "flow":
      return portOf(types.value);
    case "lost_events":
      return `lost ${types.value.num_events_lost}`;
    default:
      return types.$case;
  }
};

function collect(stream: ClientReadableStream<GetFlowsResponse>): Promise<GetFlowsResponse[]> {
  const responses: GetFlowsResponse[] = [];
  return new Promise((resolve, reject) => {
    stream.on("data", (response: GetFlowsResponse) => responses.push(response));
    stream.on("error", reject);
    stream.on("end", () => resolve(responses));
  });
}

async function ports({ client }: Node, request: GetFlowsRequest): Promise<(number | string)[]> {
  return (await collect(client.getFlows(request))).map(shown);
}

const at = (second: number) => ({ seconds: 1_700_000_000n + BigInt(second), nanos: 0 });
const even = { source_port: ["2", "4", "6", "8", "10"] };

const selections: ReadonlyArray<readonly [string, GetFlowsRequest, readonly number[]]> = [
  ["nothing asked for: all of the buffer", {}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ["the last three", { number: 3n }, [8, 9, 10]],
  ["the first three", { number: 3n, first: true }, [1, 2, 3]],
  ["more than there are", { number: 2n ** 64n - 1n }, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ["the last two that match", { number: 2n, whitelist: [even] }, [8, 10]],
  ["the first two that match", { number: 2n, first: true, whitelist: [even] }, [2, 4]],
  ["one of two filters matches", { whitelist: [{ source_port: ["1"] }, { source_port: ["9"] }] }, [1, 9]],
  ["all but", { blacklist: [even] }, [1, 3, 5, 7, 9]],
  ["since a time, which counts", { since: at(8) }, [8, 9, 10]],
  ["until a time, which counts", { until: at(3) }, [1, 2, 3]],
  ["between two times", { since: at(3), until: at(5) }, [3, 4, 5]],
  ["the first two since a time", { since: at(3), number: 2n }, [3, 4]],
  ["since a time that match", { since: at(3), whitelist: [even] }, [4, 6, 8, 10]],
];
for (const [name, request, expected] of selections) {
  test(`flows are chosen as Hubble does: ${name}`, async (t) => {
    const node = await startNode(t);
    fill(node, 10);
    assert.deepEqual(await ports(node, request), expected);
  });
}

test("an answer has node and time beside its flow, and each flow keeps its uuid", async (t) => {
  const node = await startNode(t);
  fill(node, 2);
  const [first, second] = await collect(node.client.getFlows({}));
  assert.equal(first!.node_name, "node-1");
  assert.deepEqual(first!.time, at(1));
  const uuid = (r: GetFlowsResponse): string =>
    r.response_types?.$case === "flow" ? r.response_types.value.uuid! : "";
  assert.match(uuid(first!), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(uuid(first!), uuid(second!));
  assert.deepEqual(await ports(node, { whitelist: [{ uuid: [uuid(second!)] }] }), [2]);
});

test("a follower gets what comes after it, or the last ones first", async (t) => {
  const node = await startNode(t);
  fill(node, 5);
  const follow = async (request: GetFlowsRequest, count: number): Promise<(number | string)[]> => {
    const stream = node.client.getFlows({ ...request, follow: true });
    const got: (number | string)[] = [];
    await new Promise<void>((resolve, reject) => {
      stream.on("error", (error: ServiceError) => (error.code === 1 ? resolve() : reject(error)));
      stream.on("metadata", () => {
        for (let i = 6; i <= 8; i++) setTimeout(() => node.ingest({ sport: i }), i * 5);
      });
      stream.on("data", (response: GetFlowsResponse) => {
        got.push(shown(response));
        if (got.length === count) stream.cancel();
      });
    });
    return got;
  };
  assert.deepEqual(await follow({}, 3), [6, 7, 8]);
  assert.deepEqual(await follow({ number: 2n }, 5), [7, 8, 6, 7, 8]);
});

const refusals: ReadonlyArray<readonly [string, GetFlowsRequest, number, RegExp]> = [
  ["first with follow", { first: true, follow: true }, 3, /first cannot be specified with follow/],
  ["a filter that can't be read", { whitelist: [{ source_ip: ["x"] }] }, 3, /"x" is no address/],
  [
    "a port that is none: the message comes as it was written",
    { whitelist: [{ source_port: ["99999 ü%"] }] },
    3,
    /invalid port filter: "99999 ü%" is no/,
  ],
];
for (const [name, request, code, message] of refusals) {
  test(`a request is refused: ${name}`, async (t) => {
    const node = await startNode(t);
    await assert.rejects(collect(node.client.getFlows(request)), (error: ServiceError) => {
      assert.equal(error.code, code);
      assert.match(error.details, message);
      return true;
    });
  });
}

test("events that the kernel or the proxy lost are told in their place", async (t) => {
  const node = await startNode(t);
  node.ingest({ sport: 1 });
  node.observer.ingestLost("ring-buffer", 7);
  node.observer.ingestLost("proxy", 2);
  node.observer.ingestLost("proxy", 0);
  node.ingest({ sport: 2 });
  assert.deepEqual(await ports(node, {}), [1, "lost 7", "lost 2", 2]);
  // They don't count as flows.
  assert.deepEqual(await ports(node, { number: 2n }), [1, "lost 7", "lost 2", 2]);
});

test("a slow client is told what it missed; nothing queues up for it", async (t) => {
  const node = await startNode(t);
  node.ingest();
  const stream = node.client.getFlows({ follow: true, number: 1n });
  stream.on("error", () => stream.destroy());
  await new Promise((resolve) => stream.once("data", resolve));
  stream.pause();
  const total = 60_000;
  const before = process.memoryUsage().rss;
  for (let i = 0; i < total; i++) {
    node.ingest({ sport: i & 0xffff });
    if (i % 32 === 0) await new Promise(setImmediate);
  }
  const grown = process.memoryUsage().rss - before;
  let [flows, lost] = [0, 0];
  const done = new Promise<void>((resolve) => {
    stream.on("data", (response: GetFlowsResponse) => {
      const types = response.response_types!;
      if (types.$case === "lost_events") lost += Number(types.value.num_events_lost);
      else flows++;
      if (flows + lost === total) resolve();
    });
  });
  stream.resume();
  await Promise.race([done, sleep(10_000, undefined, { ref: false })]);
  stream.cancel();
  assert.equal(flows + lost, total, `${flows} flows and ${lost} lost`);
  assert.ok(lost > total / 2, `${lost} lost`);
  assert.ok(grown < 60e6, `memory grew by ${grown} bytes`);
});

test("the status tells how full the buffer is and how much was seen", async (t) => {
  const node = await startNode(t, 7);
  fill(node, 20);
  const status = await new Promise<Record<string, unknown>>((resolve, reject) =>
    node.client.serverStatus({}, (error, response) => (error ? reject(error) : resolve({ ...response }))),
  );
  assert.deepEqual(
    [status.num_flows, status.max_flows, status.seen_flows, status.num_connected_nodes, status.version],
    [7n, 7n, 20n, 1, "tsilium 0.1.0"],
  );
  assert.ok((status.uptime_ns as bigint) > 0n);
});

test("the rate of flows is that of the last minute", async () => {
  const now = process.hrtime.bigint();
  const lookups = { ...twoPods, wallOffsetNs: () => BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint() };
  const observer = createObserver({ nodeName: "n", version: "0", lookups, capacity: 127, log: noLog });
  for (let i = 0; i < 120; i++)
    observer.ingestEvent(encodeEvent({ timeNs: now - BigInt(120 - i) * 1_000_000_000n }), 0, eventSizeBytes);
  const { flowsPerSecond } = observer.status();
  assert.ok(flowsPerSecond > 0.9 && flowsPerSecond < 1.1, String(flowsPerSecond));
});

test("this node and the namespaces of its flows are listed", async (t) => {
  const node = await startNode(t);
  const namespaces = (): Promise<unknown> =>
    new Promise((resolve, reject) =>
      node.client.getNamespaces({}, (error, r) => (error ? reject(error) : resolve(r.namespaces))),
    );
  assert.deepEqual(await namespaces(), []);
  node.ingest();
  assert.deepEqual(await namespaces(), [{ cluster: "", namespace: "default" }]);
  const nodes = await new Promise<NonNullable<GetNodesResponse["nodes"]>>((resolve, reject) =>
    node.client.getNodes({}, (error, r) => (error ? reject(error) : resolve(r.nodes ?? []))),
  );
  assert.deepEqual([nodes[0]!.name, nodes[0]!.state, nodes.length], ["node-1", 1, 1]);
});

test("a second decoder, made from the .proto files at run time, reads the same", async (t) => {
  const node = await startNode(t);
  node.ingest({ verdict: 2, reason: 133, srcEp: 0 as EndpointId, srcIdentity: 9 as NumericIdentity });
  node.observer.ingestAccessLog(accessLogRecord({ kind: "response", status: 200, latencyNs: 1_000_000 }));
  // The loader is grpc-js's own; as a package of ours it would be one more to keep up to date.
  const { loadSync } = createRequire(import.meta.resolve("@grpc/grpc-js"))("@grpc/proto-loader") as {
    loadSync(file: string, options: object): Parameters<typeof loadPackageDefinition>[0];
  };
  const protos = join(import.meta.dirname, "../../contracts/hubble/proto");
  const loaded = loadSync("observer/service.proto", {
    includeDirs: [protos],
    keepCase: true,
    enums: String,
    longs: String,
    oneofs: true,
  });
  type Dynamic = new (
    target: string,
    with_: unknown,
  ) => { GetFlows(request: object): ClientReadableStream<GetFlowsResponse>; close(): void };
  const Client = (loadPackageDefinition(loaded) as unknown as { observer: { Observer: Dynamic } }).observer.Observer;
  const client = new Client(`unix:${node.path}`, credentials.createInsecure());
  t.after(() => client.close());
  const [denied, response] = (await collect(client.GetFlows({}))) as unknown as { flow: Record<string, never> }[];
  const { flow } = denied!;
  assert.deepEqual(
    [flow.verdict, flow.drop_reason_desc, flow.Type, flow.event_type, flow.source],
    ["DROPPED", "POLICY_DENIED", "L3_L4", { type: 5 }, { identity: 9, labels: ["reserved:world-ipv4"] }],
  );
  assert.match(
    (flow.why as unknown as { sentence: string }).sentence,
    /^no rule allows ingress TCP 80 from world-ipv4/,
  );
  const { l7 } = response!.flow as unknown as { l7: Record<string, unknown> };
  assert.deepEqual([l7.type, l7.latency_ns, l7.record], ["RESPONSE", "1000000", "http"]);
});

test("other methods and other protocols get the answers that gRPC has for them", async (t) => {
  const node = await startNode(t);
  const session = http2.connect("http://localhost", { createConnection: () => connect(node.path) });
  t.after(() => session.close());
  const ask = (headers: http2.OutgoingHttpHeaders, body: Buffer): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const seen: Record<string, unknown> = {};
      const stream = session.request({ ":method": "POST", ...headers });
      stream.on("response", (h) => Object.assign(seen, { http: h[":status"] }));
      stream.on("trailers", (h) => Object.assign(seen, { grpc: h["grpc-status"], message: h["grpc-message"] }));
      stream
        .on("error", reject)
        .on("close", () => resolve(seen))
        .resume();
      stream.end(body);
    });
  const grpc = { "content-type": "application/grpc" };
  const empty = Buffer.from([0, 0, 0, 0, 0]);
  const status = "/observer.Observer/ServerStatus";
  const flows = "/observer.Observer/GetFlows";
  assert.deepEqual(await ask({ ":path": status, ...grpc }, empty), { http: 200, grpc: "0", message: undefined });
  assert.equal((await ask({ ":path": "/observer.Observer/GetAgentEvents", ...grpc }, empty)).grpc, "12");
  assert.equal((await ask({ ":path": status, "content-type": "text/plain" }, empty)).http, 415);
  assert.equal((await ask({ ":path": status, ...grpc }, Buffer.from([0, 0, 0, 0, 9]))).grpc, "3");
  assert.equal((await ask({ ":path": status, ...grpc }, Buffer.from([1, 0, 0, 0, 0]))).grpc, "12");
  assert.equal((await ask({ ":path": flows, ...grpc }, Buffer.from([0, 0, 0, 0, 1, 0x0f]))).grpc, "3");
  const follow = Buffer.from([0, 0, 0, 0, 2, 0x18, 1]);
  assert.equal((await ask({ ":path": flows, ...grpc, "grpc-timeout": "50m" }, follow)).grpc, "4");
});

test("a socket that a dead process left is replaced; one that is served is not taken away", async (t) => {
  const { path, observer } = await startNode(t);
  assert.equal((await stat(path)).mode & 0o777, 0o660);
  const other = createObserver({ nodeName: "n", version: "0", lookups: twoPods, log: noLog });
  await assert.rejects(other.serve({ path }), { code: "OBSERVER_ADDRESS_IN_USE" });
  await observer.close();
  await writeFile(path, "");
  const served = await other.serve({ path });
  await served.close();
});

test("loopback can be served too", async (t) => {
  const { observer, ingest } = await startNode(t);
  ingest();
  const { port } = await observer.serve({ port: 0 });
  const client = await openObserverClient(`127.0.0.1:${port}`);
  t.after(() => client.close());
  assert.equal((await collect(client.getFlows({}))).length, 1);
  const taken = createServer().listen(0, "127.0.0.1");
  t.after(() => taken.close());
  await new Promise((resolve) => taken.once("listening", resolve));
  const address = taken.address() as { port: number };
  await assert.rejects(observer.serve({ port: address.port }), { code: "OBSERVER_ADDRESS_IN_USE" });
});

test("all is counted, under bounded labels; junk is counted apart", async () => {
  const observer = createObserver({ nodeName: "n", version: "0", lookups: twoPods, log: noLog });
  const ingest = (raw: RawEvent): void => observer.ingestEvent(encodeEvent(raw), 0, eventSizeBytes);
  ingest({});
  ingest({ verdict: 2, reason: 133, direction: 1 });
  ingest({ verdict: 2, reason: 133, direction: 1, protocol: 17 });
  ingest({ type: 3 });
  observer.ingestEvent(new DataView(new ArrayBuffer(8)), 0, 8);
  observer.ingestAccessLog(accessLogRecord());
  observer.ingestAccessLog(accessLogRecord({ kind: "response", status: 200 }));
  observer.ingestAccessLog(accessLogRecord({ kind: "denied", verdict: "DROPPED", status: 403, method: "BREW" }));
  observer.ingestLost("ring-buffer", 5);
  const lines = (await observer.metricsText()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assert.deepEqual(lines.sort(), [
    'hubble_drop_total{protocol="TCP",direction="egress",reason="POLICY_DENIED"} 1',
    'hubble_drop_total{protocol="UDP",direction="egress",reason="POLICY_DENIED"} 1',
    'hubble_flows_processed_total{protocol="HTTP",verdict="DROPPED",type="L7"} 1',
    'hubble_flows_processed_total{protocol="HTTP",verdict="FORWARDED",type="L7"} 2',
    'hubble_flows_processed_total{protocol="TCP",verdict="DROPPED",type="PolicyVerdict"} 1',
    'hubble_flows_processed_total{protocol="TCP",verdict="FORWARDED",type="PolicyVerdict"} 1',
    'hubble_flows_processed_total{protocol="TCP",verdict="FORWARDED",type="Trace"} 1',
    'hubble_flows_processed_total{protocol="UDP",verdict="DROPPED",type="PolicyVerdict"} 1',
    'hubble_http_requests_total{method="GET",status="200"} 1',
    'hubble_http_requests_total{method="other",status="403"} 1',
    'hubble_lost_events_total{source="proxy"} 0',
    'hubble_lost_events_total{source="ring-buffer"} 5',
    "tsilium_malformed_events_total 1",
  ]);
});
