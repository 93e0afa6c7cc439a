import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { HttpMatch } from "#contracts/proxy";
import { createRandom, type Random } from "./random.ts";
import { mustCompile, openStepper, parseHead, proxyJudge, type WrittenRequest } from "./stepper.ts";

const stepper = openStepper();
after(() => stepper.close());

const request = (method: string, target: string, more: Partial<WrittenRequest> = {}): WrittenRequest => ({
  method,
  target,
  host: "web",
  headers: [],
  ...more,
});

/** Both judges on one request; they must agree on the rules, too. */
function judged(rules: readonly HttpMatch[], asked: WrittenRequest): readonly number[] {
  const head = parseHead(asked);
  assert.notEqual(typeof head, "string", `${asked.target}: ${String(head)}`);
  stepper.put(1, mustCompile(rules));
  const kernel = stepper.judge(1, asked);
  assert.deepEqual(kernel, proxyJudge(rules)(head as Exclude<typeof head, string>));
  return kernel!;
}

describe("kernel and proxy give the same verdict by the same rule", () => {
  const rules: readonly HttpMatch[] = [
    { method: "GET", path: "/public/.*" },
    { method: "POST|PUT", path: "/items/[0-9]+(\\?.*)?", host: "shop(:80)?" },
    { path: "/admin", headers: [{ name: "X-Token", value: "a,b" }, { name: "X-Role" }] },
    { method: "OPTIONS", path: "\\*" },
    { host: "(?i)any\\.example" },
  ];
  const cases: Record<string, readonly [WrittenRequest, readonly number[]]> = {
    "method and path": [request("GET", "/public/a"), [0]],
    "another path": [request("GET", "/private"), []],
    "another method": [request("HEAD", "/public/a"), []],
    "a method that begins like one": [request("GETS", "/public/a"), []],
    "the query is part of the path": [request("POST", "/items/7?x=1", { host: "shop:80" }), [1]],
    "another host": [request("POST", "/items/7", { host: "web" }), []],
    "a host in other case": [request("GET", "/", { host: "ANY.example" }), [4]],
    "headers": [request("GET", "/admin", { headers: [["x-token", "a,b"], ["X-ROLE", ""]] }), [2]],
    "a header's lines are joined": [request("GET", "/admin", { headers: [["X-Token", " a "], ["X-Role", "r"], ["X-Token", "b\t"]] }), [2]],
    "a header's value with something behind it": [request("GET", "/admin", { headers: [["X-Token", "a,b"], ["X-Role", "r"], ["X-Token", "c"]] }), []],
    "a header that is missing": [request("GET", "/admin", { headers: [["X-Token", "a,b"]] }), []],
    "the asterisk": [request("OPTIONS", "*"), [3]],
    "CONNECT is no method that a rule without one means": [request("CONNECT", "any.example:443", { host: "any.example" }), []],
    "two readings, both allowed": [request("GET", "/public/x/../y"), [0]],
    "two readings, the resolved one denied": [request("GET", "/public/../private"), []],
    "two readings, by two rules": [request("GET", "/public/../admin", { headers: [["X-Token", "a,b"], ["X-Role", "r"]] }), [0, 2]],
    "two readings, the written one denied": [request("GET", "/x/../public/a"), []],
    "without a host": [request("GET", "/public/a", { host: undefined as never }), [0]],
  }; // biome-ignore format: a table
  for (const [name, [asked, expected]] of Object.entries(cases))
    it(name, () => assert.deepEqual(judged(rules, asked), expected));

  it("a path deeper than the stack is judged as long as there is nothing to resolve", () => {
    const deep = "/d".repeat(60);
    assert.deepEqual(judged([{ path: "/d.*" }], request("GET", deep)), [0]);
    stepper.put(1, mustCompile([{ path: "/d.*" }]));
    assert.deepEqual(stepper.judge(1, request("GET", `${deep}/..`)), [], "fails closed; the proxy would say yes");
  });

  it("a program that is gone judges nothing", () => {
    stepper.put(7, mustCompile([{}]));
    assert.deepEqual(stepper.judge(7, request("GET", "/")), [0]);
    stepper.remove(7);
    assert.equal(stepper.judge(7, request("GET", "/")), undefined);
  });

  it("a program of another layout judges nothing", () => {
    const bytes = mustCompile([{}]);
    new DataView(bytes.buffer).setUint16(8, 99, true);
    stepper.put(7, bytes);
    assert.equal(stepper.judge(7, request("GET", "/")), undefined);
  });
});

it("random rules and requests: kernel and proxy agree", (t) => {
  const random = createRandom(t);
  let allowed = 0;
  let denied = 0;
  let twofold = 0;
  for (let i = 0; i < 250; i++) {
    const rules = Array.from({ length: 1 + random.below(i % 10 === 0 ? 120 : 6) }, () => randomRule(random));
    const judge = proxyJudge(rules);
    stepper.put(2, mustCompile(rules));
    for (let j = 0; j < 40; j++) {
      const asked = randomRequest(random);
      const head = parseHead(asked);
      if (typeof head === "string") continue;
      const expected = judge(head);
      if (expected.length > 1) twofold++;
      if (expected.length > 0) allowed++;
      else denied++;
      assert.deepEqual(stepper.judge(2, asked), expected, JSON.stringify({ rules, asked, seed: random.seed }));
    }
  }
  t.diagnostic(`${allowed} allowed, ${denied} denied, ${twofold} by two rules`);
  assert.ok(allowed > 500 && denied > 500 && twofold > 5, `${allowed} allowed, ${denied} denied, ${twofold} twofold`);
});

const segments = ["a", "b", "ab", "admin", ".", "..", "", "%2e", "%2E%2e", "a%2fb", "..;x", "...", "%41", "\\", "a.b", ".a", "%00", "%7e", "%20"]; // biome-ignore format: one table
const patterns = ["/.*", "/a/.*", "/a", "/[ab]+", "/(a|b)(/.*)?", "/a\\?.*", "/admin.*", "/.*\\?x=[0-9]", "(?i)/A/B", "/a/b/?", "[^.]*", "/.*b", "/[^/]*/[^/]*", "/"]; // biome-ignore format: one table
const headerNames = ["X-A", "x-b", "Host", "Accept"];
const headerValues = ["", "1", "a,b", "a", "b", "x y", "a, b", "web"];

function randomRule({ below, pick }: Random): HttpMatch {
  const maybe = <T extends object>(chance: number, part: T) => (below(chance) === 0 ? part : {});
  const headers = Array.from({ length: below(3) }, () =>
    below(2) === 0 ? { name: pick(headerNames) } : { name: pick(headerNames), value: pick(headerValues) },
  );
  return {
    ...maybe(2, { method: pick(["GET", "POST", "GET|HEAD", "P.*", ".*", "CONNECT"]) }),
    ...(below(4) > 0 ? { path: pick(patterns) } : {}),
    ...maybe(4, { host: pick(["web", "shop.*", "[a-z]+(:[0-9]+)?", ""]) }),
    ...maybe(3, { headers }),
  };
}

function randomRequest({ below, pick }: Random): WrittenRequest {
  const path = Array.from({ length: 1 + below(5) }, () => `/${pick(segments)}`).join("");
  const query = below(3) === 0 ? `?${pick(["", "x=1", "/../a", "%2e"])}` : "";
  const host = below(12) === 0 ? {} : { host: pick(["web", "shop.example", "web:80", "WEB"]) };
  return {
    method: pick(["GET", "GET", "POST", "HEAD", "PUT", "OPTIONS"]),
    target: below(40) === 0 ? "*" : path + query,
    headers: Array.from(
      { length: below(4) },
      () => [pick(headerNames.filter((name) => name !== "Host")), pick(headerValues)] as const,
    ),
    ...host,
  };
}

it("500 rules cost a request no more than one", (t) => {
  const one = [{ method: "GET", path: "/api/v1/item-250/[a-z]+" }];
  const many = Array.from({ length: 500 }, (_, i) => ({ method: "GET", path: `/api/v1/item-${i}/[a-z]+` }));
  stepper.put(3, mustCompile(one));
  stepper.put(4, mustCompile(many));
  const asked = request("GET", "/api/v1/item-250/details");
  assert.deepEqual(stepper.judge(4, asked), [250]);
  // Interleaved rounds; the least disturbed counts.
  const times: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 15; round++)
    for (const [i, number] of [3, 4].entries()) times[i] = Math.min(times[i]!, stepper.timeNs(number, asked, 20_000));
  t.diagnostic(`one rule ${times[0]} ns, 500 rules ${times[1]} ns`);
  assert.ok(times[1] <= times[0] * 1.25, `one rule ${times[0]} ns, 500 rules ${times[1]} ns`);
});
