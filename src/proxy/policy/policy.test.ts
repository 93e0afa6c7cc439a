import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HttpRule, PolicyFilter, PolicyRef, StateChange } from "#contracts/proxy";
import { type EndpointId, type NumericIdentity, type PolicySetId, parseAddress } from "#core/model";
import { HeadReader, parseRequestHead, type RequestHead } from "#proxy/http";
import { ConnectionPolicy, compilePattern, PolicyStore } from "./index.ts";

const client = 1001 as NumericIdentity;
const server = 1002 as NumericIdentity;
const ref = (path: string): PolicyRef => ({ kind: "CiliumNetworkPolicy", namespace: "default", name: "p", path });

function filter(kind: PolicyFilter["kind"], more: Partial<PolicyFilter> = {}): PolicyFilter {
  return {
    direction: "ingress",
    peers: "any",
    protocol: "TCP",
    port: 80,
    kind,
    precedence: 1,
    refs: [ref(kind)],
    ...more,
  };
}
const http = (rules: readonly Omit<HttpRule, "ref">[], more: Partial<PolicyFilter> = {}) =>
  filter("l7", {
    l7: { protocol: "http", rules: rules.map((rule, i) => ({ ...rule, ref: ref(`http[${i}]`) })) },
    ...more,
  });

/** A store with a client at 10.0.0.1 and a server at 10.0.0.2, each under the filters of its directions. */
function storeOf(filters: readonly PolicyFilter[], locals: "client" | "server" | "both" = "server"): PolicyStore {
  const store = new PolicyStore();
  const session = store.session();
  const put = (id: number, ip: string, identity: NumericIdentity, policySet: number): StateChange => ({
    kind: "put-endpoint",
    endpoint: {
      id: id as EndpointId,
      ips: [ip],
      identity,
      policySet: policySet as PolicySetId,
      labels: [],
      podName: "",
      namespace: "",
    },
  });
  session.stage({ kind: "put-set", set: { id: 1 as PolicySetId, filters } });
  session.stage({
    kind: "put-ipcache",
    entries: [
      { prefix: "10.0.0.1/32", identity: client },
      { prefix: "10.0.0.2/32", identity: server },
    ],
  });
  if (locals !== "server") session.stage(put(1, "10.0.0.1", client, 1));
  if (locals !== "client") session.stage(put(2, "10.0.0.2", server, 1));
  assert.deepEqual(session.commit(1), []);
  return store;
}

function request(
  target: string,
  options: { method?: string; headers?: readonly string[]; host?: string } = {},
): RequestHead {
  const { method = "GET", headers = [], host = "web" } = options;
  const reader = new HeadReader("request");
  const bytes = Buffer.from(
    `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`,
    "latin1",
  );
  reader.feed(bytes, 0, bytes.length);
  const head = parseRequestHead(reader);
  assert.ok(typeof head !== "string", String(head));
  return head;
}

function judge(store: PolicyStore, head: RequestHead, port = 80) {
  return new ConnectionPolicy(store, parseAddress("10.0.0.1")!, parseAddress("10.0.0.2")!, port).judge(head);
}

describe("the policy check", () => {
  const decisions: readonly {
    name: string;
    filters: readonly PolicyFilter[];
    allowed: boolean;
    port?: number;
    locals?: "client" | "server" | "both";
  }[] = [
    { name: "no filter at all denies", filters: [], allowed: false },
    { name: "an allow lets every request pass", filters: [filter("allow")], allowed: true },
    { name: "a deny beats an allow", filters: [filter("allow"), filter("deny")], allowed: false },
    { name: "a deny beats an http rule that matches", filters: [http([{}]), filter("deny")], allowed: false },
    {
      name: "an allow makes http rules moot",
      filters: [http([{ path: "/other" }]), filter("allow", { port: 0 })],
      allowed: true,
    },
    {
      name: "http rules of several filters are one list",
      filters: [http([{ path: "/other" }]), http([{ path: "/a" }])],
      allowed: true,
    },
    { name: "an http rule that doesn't match denies", filters: [http([{ path: "/other" }])], allowed: false },
    { name: "an empty rule matches", filters: [http([{}])], allowed: true },
    {
      name: "a filter for another peer doesn't count",
      filters: [filter("allow", { peers: [server] })],
      allowed: false,
    },
    { name: "a filter for this peer counts", filters: [filter("allow", { peers: [client] })], allowed: true },
    {
      name: "a deny for another peer doesn't count",
      filters: [filter("allow"), filter("deny", { peers: [server] })],
      allowed: true,
    },
    { name: "another port doesn't count", filters: [filter("allow", { port: 81 })], allowed: false },
    { name: "a range counts to its end", filters: [filter("allow", { port: 70, endPort: 80 })], allowed: true },
    { name: "a range ends", filters: [filter("allow", { port: 70, endPort: 79 })], allowed: false },
    { name: "port 0 is every port", filters: [filter("allow", { port: 0 })], allowed: true, port: 65535 },
    { name: "the other direction doesn't count", filters: [filter("allow", { direction: "egress" })], allowed: false },
    {
      name: "a higher tier's allow beats a lower one's deny",
      filters: [filter("deny", { precedence: 255 }), filter("allow", { precedence: 257 })],
      allowed: true,
    },
    {
      name: "egress counts where the source is local",
      filters: [filter("allow", { direction: "egress" })],
      allowed: true,
      locals: "client",
    },
    {
      name: "with both local, both directions must allow",
      filters: [filter("allow", { direction: "egress" })],
      allowed: false,
      locals: "both",
    },
    {
      name: "with both local, rules of both directions must match",
      filters: [http([{ path: "/a" }], { direction: "egress" }), http([{ path: "/b" }])],
      allowed: false,
      locals: "both",
    },
    {
      name: "with both local, both may match",
      filters: [http([{ path: "/a" }], { direction: "egress" }), http([{ method: "GET" }])],
      allowed: true,
      locals: "both",
    },
  ];
  for (const { name, filters, allowed, port, locals } of decisions) {
    it(name, () =>
      assert.equal(judge(storeOf(filters, locals), request("/a"), port).kind, allowed ? "permit" : "policy"),
    );
  }

  const matches: readonly { name: string; rule: Omit<HttpRule, "ref">; head: RequestHead; allowed: boolean }[] = [
    { name: "a path must match as a whole", rule: { path: "/a" }, head: request("/ab"), allowed: false },
    { name: "alternatives match as a whole, too", rule: { path: "/a|/ab" }, head: request("/ab"), allowed: true },
    { name: "the query is part of the path", rule: { path: "/a" }, head: request("/a?b"), allowed: false },
    { name: "a dollar at the end does no harm", rule: { path: "/a$" }, head: request("/a"), allowed: true },
    {
      name: "a path that begins with the expression",
      rule: { path: "/a/.*" },
      head: request("/a/b?c=d"),
      allowed: true,
    },
    { name: "an escaped dot is a dot", rule: { path: "/a\\.js" }, head: request("/axjs"), allowed: false },
    {
      name: "methods are case-sensitive",
      rule: { method: "GET" },
      head: request("/a", { method: "get" }),
      allowed: false,
    },
    {
      name: "methods are expressions",
      rule: { method: "GET|HEAD" },
      head: request("/a", { method: "HEAD" }),
      allowed: true,
    },
    {
      name: "the host includes its port",
      rule: { host: "web" },
      head: request("/a", { host: "web:8080" }),
      allowed: false,
    },
    {
      name: "the host is an expression",
      rule: { host: ".*[.]example[.]com" },
      head: request("/a", { host: "a.example.com" }),
      allowed: true,
    },
    {
      name: "a header by value",
      rule: { headers: [{ name: "X-Key", value: "v" }] },
      head: request("/a", { headers: ["x-key: v"] }),
      allowed: true,
    },
    {
      name: "a header by name",
      rule: { headers: [{ name: "X-Key" }] },
      head: request("/a", { headers: ["x-key:"] }),
      allowed: true,
    },
    { name: "a header that is missing", rule: { headers: [{ name: "X-Key" }] }, head: request("/a"), allowed: false },
    {
      name: "a header with spaces in its value",
      rule: { headers: [{ name: "X-Key", value: "a b" }] },
      head: request("/a", { headers: ["X-Key: a b"] }),
      allowed: true,
    },
    {
      name: "a header given twice is neither of its values",
      rule: { headers: [{ name: "X-Key", value: "v" }] },
      head: request("/a", { headers: ["X-Key: v", "X-Key: w"] }),
      allowed: false,
    },
    {
      name: "a header value in UTF-8",
      rule: { headers: [{ name: "X-Key", value: "\u00e4" }] },
      head: request("/a", { headers: ["X-Key: \xc3\xa4"] }),
      allowed: true,
    },
    {
      name: "another value of a header",
      rule: { headers: [{ name: "X-Key", value: "v" }] },
      head: request("/a", { headers: ["X-Key: w"] }),
      allowed: false,
    },
    {
      name: "a header with a mismatch action never fails the rule",
      rule: { headers: [{ name: "X-Key", value: "v", mismatch: "LOG" }] },
      head: request("/a"),
      allowed: true,
    },
    {
      name: "CONNECT needs a rule that names it",
      rule: {},
      head: request("a:1", { method: "CONNECT", host: "a:1" }),
      allowed: false,
    },
    {
      name: "CONNECT named by a rule",
      rule: { method: "CONNECT" },
      head: request("a:1", { method: "CONNECT", host: "a:1" }),
      allowed: true,
    },
    {
      name: "an upgrade to a websocket",
      rule: {},
      head: request("/a", { headers: ["Connection: upgrade", "Upgrade: websocket"] }),
      allowed: true,
    },
    {
      name: "an upgrade to h2c in a list",
      rule: {},
      head: request("/a", { headers: ["Connection: upgrade", "Upgrade: x, h2c"] }),
      allowed: false,
    },
    {
      name: "a nested quantifier takes linear time",
      rule: { path: "/(a|aa)+b" },
      head: request(`/${"a".repeat(5000)}`),
      allowed: false,
    },
  ];
  for (const { name, rule, head, allowed } of matches) {
    it(`rule match: ${name}`, () =>
      assert.equal(judge(storeOf([http([rule])]), head).kind, allowed ? "permit" : "policy"));
  }

  it("a permit names the rules that allowed it, a denial the nearest rule and what failed", () => {
    const store = storeOf([
      http([
        { method: "POST", path: "/x" },
        { method: "GET", path: "/b" },
      ]),
    ]);
    const permit = judge(store, request("/b"));
    assert.deepEqual(permit.rules, [ref("http[1]")]);
    const denial = judge(store, request("/a"));
    assert.ok(denial.kind === "policy");
    assert.deepEqual(denial.nearest, { ref: ref("http[1]"), field: "path", expected: "/b", found: "/a" });
    assert.equal(denial.reason, "nearest rule: CiliumNetworkPolicy default/p http[1]: path is /a, expected /b");
    const none = judge(storeOf([]), request("/a"));
    assert.ok(none.kind === "policy");
    assert.equal(none.reason, "no rule allows ingress from identity 1001 on port 80");
  });

  it("denies everything where neither side is local, and where nothing is known", () => {
    assert.equal(judge(new PolicyStore(), request("/a")).kind, "no-state");
    const store = storeOf([filter("allow")]);
    const policy = new ConnectionPolicy(store, parseAddress("10.0.0.8")!, parseAddress("10.0.0.9")!, 80);
    assert.equal(policy.judge(request("/a")).kind, "policy");
  });

  it("follows the ipcache by the longest prefix, and its changes", () => {
    const store = storeOf([]);
    const session = store.session();
    const entries = [
      ["0.0.0.0/0", 9],
      ["10.0.0.0/8", 100],
      ["10.1.0.0/16", 101],
      ["10.1.2.3/32", 102],
      ["fd00::/8", 200],
    ] as const;
    session.stage({
      kind: "put-ipcache",
      entries: entries.map(([prefix, id]) => ({ prefix, identity: id as NumericIdentity })),
    });
    session.commit(2);
    const identity = (ip: string) => store.identity(parseAddress(ip)!);
    assert.deepEqual(
      ["1.1.1.1", "10.9.9.9", "10.1.9.9", "10.1.2.3", "fd00::1", "2001::1"].map(identity),
      [9, 100, 101, 102, 200, 10],
    );
    session.stage({ kind: "delete-ipcache", prefixes: ["10.1.2.3/32", "0.0.0.0/0", "192.168.0.0/16"] });
    session.commit(3);
    assert.deepEqual(["1.1.1.1", "10.1.2.3"].map(identity), [9, 101]);
  });

  it("an endpoint that moves takes its addresses along", () => {
    const store = storeOf([filter("allow")], "both");
    const session = store.session();
    const endpoint = {
      id: 2 as EndpointId,
      ips: ["10.0.0.2"],
      identity: server,
      policySet: 1 as PolicySetId,
      labels: [],
      podName: "",
      namespace: "",
    };
    session.stage({ kind: "put-endpoint", endpoint });
    session.commit(2);
    session.stage({ kind: "put-endpoint", endpoint: { ...endpoint, id: 3 as EndpointId } });
    session.stage({ kind: "delete-endpoint", id: 2 as EndpointId });
    session.commit(3);
    assert.equal(store.endpoint(parseAddress("10.0.0.2")!)?.id, 3);
    assert.equal(
      store.endpoint(parseAddress("10.0.0.1")!),
      undefined,
      "the first commit of a session replaces everything",
    );
  });

  it("patterns that RE2 doesn't know are refused with a sentence", () => {
    for (const source of ["(", "(?=a)", "a{2000}", "\\1", "[z-a]"])
      assert.equal(typeof compilePattern(source), "string", source);
  });

  it("the short ways for plain patterns agree with RE2", () => {
    for (const [source, text, expected] of [
      ["/a", "/a", true],
      ["/a", "/a\n", false],
      ["/a.*", "/a", true],
      ["/a.*", "/ab\n", false],
      [".*", "", true],
      ["/a\\.b", "/a.b", true],
      ["/a\\.b", "/a\\.b", false],
    ] as const) {
      const [plain, re2] = [compilePattern(source), compilePattern(`(?:${source})`)];
      assert.ok(typeof plain !== "string" && typeof re2 !== "string");
      assert.equal(plain.matches(text), expected, `${source} on ${JSON.stringify(text)}`);
      assert.equal(re2.matches(text), expected, `RE2: ${source} on ${JSON.stringify(text)}`);
    }
  });
});
