import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileRules, type RequestRule } from "./index.ts";
import { runProgram, type SteppedRequest } from "./testing.ts";

function programOf(rules: readonly RequestRule[]): Uint8Array {
  const compiled = compileRules(rules);
  assert.ok(compiled.kind === "program", compiled.kind === "proxy" ? compiled.reason : "");
  return compiled.bytes;
}
const matching = (rules: readonly RequestRule[], request: SteppedRequest) => runProgram(programOf(rules), request);

describe("a program finds the rules that match", () => {
  it("all of them, in order", () =>
    assert.deepEqual(
      matching([{ path: "/a.*" }, { method: "POST" }, { method: "GET", path: "/ab" }, {}], {
        method: "GET",
        target: "/ab",
      }),
      [0, 2, 3],
    ));
  it("an empty pattern asks nothing", () =>
    assert.deepEqual(matching([{ method: "", path: "", host: "" }], { method: "GET", target: "/" }), [0]));
  it("a rule without a method does not mean CONNECT, one that names it does", () =>
    assert.deepEqual(
      matching([{}, { method: "CONNECT" }, { method: ".*" }], { method: "CONNECT", target: "a:443" }),
      [1, 2],
    ));
  it("methods that begin like CONNECT are others", () => {
    for (const method of ["CONNEC", "CONNECTS", "C", "connect"])
      assert.deepEqual(matching([{}], { method, target: "/" }), [0]);
  });
  it("a request without Host has the empty one", () =>
    assert.deepEqual(matching([{ host: "a*" }, { host: "a" }], { method: "GET", target: "/" }), [0]));
  it("more than 64 rules, each with its own header", () => {
    const rules = Array.from({ length: 300 }, (_, i) => ({ headers: [{ name: "X-Token", value: `t${i}` }] }));
    const headers = [["x-token", "t277"]] as const;
    assert.deepEqual(matching(rules, { method: "GET", target: "/", headers }), [277]);
  });
  const value = (required: string, ...lines: string[]) =>
    matching([{ headers: [{ name: "X", value: required }] }], {
      method: "GET",
      target: "/",
      headers: lines.map((line) => ["x", line] as const),
    }).length === 1;
  it("a header's lines count as one value", () => {
    assert.ok(value("a,b", "a", "b"));
    assert.ok(value("a,b", "a,b"));
    assert.ok(value("a,b", " a\t", "\tb "));
    assert.ok(!value("a,b", "a ,b"));
    assert.ok(!value("a, b", "a", "b"));
    assert.ok(value(",", "", ""));
    assert.ok(!value("a", "a", "a"));
  });
  it("a value that no header can have matches none", () => {
    for (const impossible of [" a", "a ", "a\nb", "\u0001"]) assert.ok(!value(impossible, impossible, "b"));
  });
  it("a value outside of ASCII is compared as UTF-8", () => assert.ok(value("é", "\u00c3\u00a9")));
});

describe("what does not fit is refused with the reason", () => {
  const cases: Record<string, [readonly RequestRule[], RegExp]> = {
    "a pattern that can't be told": [[{ path: "/a\\b" }], /^the path \/a\\b uses word boundaries/],
    "too many rules": [Array.from({ length: 1025 }, () => ({})), /^1025 rules on one port, 1024 fit/],
    "too many headers": [
      Array.from({ length: 9 }, (_, i) => ({ headers: [{ name: `X-${i}` }] })),
      /^9 different headers on one port, 8 fit/,
    ],
    "patterns that multiply": [
      Array.from({ length: 24 }, (_, i) => ({ path: `.*${String.fromCharCode(97 + i)}.*` })),
      /^the methods and paths (need more than 12000 states|take too much work)/,
    ],
    "rows that don't fit": [
      Array.from({ length: 12 }, (_, i) => ({ path: `.*${String.fromCharCode(97 + i)}.*` })),
      /^the rules come to more than the 128 KiB/,
    ],
  };
  for (const [name, [rules, reason]] of Object.entries(cases))
    it(name, () => {
      const compiled = compileRules(rules);
      assert.match(compiled.kind === "proxy" ? compiled.reason : "compiled", reason);
    });
});

describe("what people write by the hundred fits", () => {
  const words = ["orders", "users", "carts", "search", "admin", "health", "metrics", "items", "prices", "stock"];
  const cases: Record<string, (i: number) => RequestRule> = {
    "numbered services": (i) => ({ method: "GET", path: `/api/v1/service-${i}/.*` }),
    "resources of several words with a number behind": (i) => ({
      method: ["GET", "POST", "PUT", "DELETE"][i % 4]!,
      path: `/${words[i % 10]}/${words[Math.floor(i / 10) % 10]}-${Math.floor(i / 100)}/[0-9]+(\\?.*)?`,
    }),
    "one path, many hosts": (i) => ({ path: "/.*", host: `shop-${i}\\.example\\.com` }),
    "one path, many tokens": (i) => ({
      path: "/.*",
      headers: [{ name: "Authorization", value: `Bearer ${i * 7919}` }],
    }),
    "random names": (i) => ({ path: `/${((i * 2_654_435_761) >>> 0).toString(36)}${i.toString(36)}/.*` }),
  };
  for (const [name, rule] of Object.entries(cases))
    it(`500 rules: ${name}`, (t) => {
      const rules = Array.from({ length: 500 }, (_, i) => rule(i));
      const began = performance.now();
      const compiled = compileRules(rules);
      t.diagnostic(
        `${Math.round(performance.now() - began)} ms, ${compiled.kind === "program" ? compiled.stateCount : compiled.reason} states`,
      );
      assert.equal(compiled.kind, "program");
    });
});
