/** HTTP rules judged twice: by a program in the kernel, stepped byte by byte, and by the proxy. */
import { resolve } from "node:path";
import type { HttpMatch } from "#contracts/proxy";
import { compileRules } from "#control/http";
import { type EndpointId, type NumericIdentity, type PolicySetId, parseAddress } from "#core/model";
import { MapType, openKernel } from "#datapath/linux";
import { compileTestObject } from "#datapath/linux/testing";
import { HeadReader, parseRequestHead, type RequestHead } from "#proxy/http";
import { ConnectionPolicy, PolicyStore } from "#proxy/policy";

/** A request as it is written; header lines in order. */
export interface WrittenRequest {
  readonly method: string;
  readonly target: string;
  /** Absent: HTTP/1.0 without the header. */
  readonly host?: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Numbers of the rules that let a request through, one for each reading of its path; empty: denied. */
export type Verdict = readonly number[];

const operations = { line: 1, lineEnd: 2, headerBegin: 3, header: 4, colon: 5, headerEnd: 6, host: 7 } as const;

function steps(request: WrittenRequest): number[] {
  const out: number[] = [];
  const text = (operation: number, bytes: string) => {
    for (const byte of Buffer.from(bytes, "latin1")) out.push(operation, byte);
  };
  text(operations.line, `${request.method} ${request.target}`);
  out.push(operations.lineEnd, 0);
  const line = (name: string, value: string) => {
    out.push(operations.headerBegin, 0);
    text(operations.header, name);
    out.push(operations.colon, 0);
    text(operations.header, value);
    out.push(operations.headerEnd, 0);
  };
  if (request.host !== undefined) {
    line("Host", request.host);
    text(operations.host, request.host);
  }
  for (const [name, value] of request.headers) line(name, value);
  return out;
}

/** The kernel's judge; `close` lets go of it. */
export function openStepper() {
  const root = resolve(import.meta.dirname, "../..");
  const { bpf } = openKernel();
  const object = bpf.loadObject(
    compileTestObject(`${import.meta.dirname}/judge.bpf.c`, [`${root}/bpf/include`, `${root}/bpf/lib`]),
  );
  const programs = bpf.mapsIn(object.maps.http_programs!);
  const key = (number: number) => new Uint8Array(Uint32Array.of(number).buffer);
  const put = (number: number, bytes: Uint8Array) => {
    const map = bpf.createMap({ name: "http_program", type: MapType.ARRAY, keySize: 4, valueSize: bytes.length, maxEntries: 1, flags: 0 }); // biome-ignore format: one shape
    map.update(key(0), bytes);
    programs.set(key(number), map);
    map.close();
  };
  const run = (number: number, request: WrittenRequest, repeat = 1) => {
    const pairs = steps(request);
    const packet = Buffer.alloc(14 + 8 + pairs.length);
    packet.writeUInt32LE(number, 14);
    packet.writeUInt32LE(pairs.length / 2, 18);
    packet.set(pairs, 22);
    return object.programs.judge!.testRun({ packet, repeat });
  };
  return {
    put,
    remove: (number: number) => programs.delete(key(number)),
    /** Undefined: there is no such program. */
    judge(number: number, request: WrittenRequest): Verdict | undefined {
      const { result, mark } = run(number, request);
      if (result === -1) return undefined;
      if (result < -1) throw new Error(`the stepper failed: ${result}`);
      return result === 0 ? [] : mark === 0 || mark === result ? [result - 1] : [result - 1, mark - 1];
    },
    /** Mean time of judging it, the stepping program's own included. */
    timeNs: (number: number, request: WrittenRequest, repeat: number) => run(number, request, repeat).durationNs,
    close: () => object.close(),
  };
}

/** The head as the proxy reads it; a refusal's name if it is none. */
export function parseHead({ method, target, host, headers }: WrittenRequest): RequestHead | string {
  const lines = [...(host === undefined ? [] : [["Host", host]]), ...headers].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const bytes = Buffer.from(
    `${method} ${target} HTTP/1.${host === undefined ? 0 : 1}\r\n${lines.join("")}\r\n`,
    "latin1",
  );
  const reader = new HeadReader("request");
  reader.feed(bytes, 0, bytes.length);
  if (reader.refusal !== undefined) return reader.refusal;
  return reader.complete ? parseRequestHead(reader) : "incomplete";
}

/** The proxy's judge for a list of rules. */
export function proxyJudge(rules: readonly HttpMatch[]): (head: RequestHead) => Verdict {
  const store = new PolicyStore();
  const session = store.session();
  const referenced = rules.map((rule, i) => ({ ...rule, ref: { kind: "", namespace: "", name: "", path: String(i) } }));
  session.stage({
    kind: "put-set",
    set: {
      id: 1 as PolicySetId,
      filters: [
        { direction: "ingress", peers: "any", protocol: "TCP", port: 0, kind: "l7", precedence: 1, refs: [], l7: { protocol: "http", rules: referenced } },
      ],
    },
  }); // biome-ignore format: one row
  session.stage({ kind: "put-endpoint", endpoint: { id: 1 as EndpointId, ips: ["10.0.0.2"], identity: 2 as NumericIdentity, policySet: 1 as PolicySetId, labels: [], podName: "", namespace: "" } }); // biome-ignore format: one row
  const problems = session.commit(1);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const policy = new ConnectionPolicy(store, parseAddress("10.0.0.1")!, parseAddress("10.0.0.2")!, 80);
  return (head) => {
    const answer = policy.judge(head);
    return answer.kind === "permit" ? answer.rules.map(({ path }) => Number(path)) : [];
  };
}

/** A program for a list that can be told exactly. */
export function mustCompile(rules: Parameters<typeof compileRules>[0]): Uint8Array {
  const compiled = compileRules(rules);
  if (compiled.kind === "proxy") throw new Error(compiled.reason);
  return compiled.bytes;
}
