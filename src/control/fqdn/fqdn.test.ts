import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DnsMatch } from "#contracts/proxy";
import { createPolicyEngine, type Peer, type Rule } from "#control/policy";
import { type EndpointId, findLabel, type NumericIdentity, parsePrefix } from "#core/model";
import {
  canonicalName,
  compileName,
  createNameCache,
  createNameIdentities,
  createNameSelectors,
  defaultNameCacheLimits,
  type NameCacheLimits,
} from "./index.ts";

const one = 1 as EndpointId;
const two = 2 as EndpointId;
const noConnections = () => false;

describe("patterns of DNS rules", () => {
  // Cilium's pkg/fqdn/matchpattern, row by row.
  const rows: readonly (readonly [pattern: string, matches: readonly string[], not: readonly string[]])[] = [
    ["cilium.io", ["cilium.io", "CILIUM.io."], ["a.cilium.io", "cilium.io.evil.com", "ciliumxio"]],
    ["*.cilium.io", ["a.cilium.io", "a-b_1.cilium.io", ".cilium.io."], ["cilium.io", "b.a.cilium.io", "a.cilium.iox"]],
    ["*cilium.io", ["cilium.io", "mycilium.io"], ["sub.cilium.io", "my.cilium.io"]],
    ["cilium*.io", ["cilium.io", "cilium-2.io"], ["cilium.a.io"]],
    ["a*b*c.io", ["abc.io", "axxbyyc.io", "abcbc.io"], ["acb.io", "ab.c.io", "ac.io"]],
    ["**.cilium.io", ["a.cilium.io", "c.b.a.cilium.io"], ["cilium.io", ".cilium.io.", "xcilium.io"]],
    ["****.cilium.io", ["a.cilium.io", "c.b.a.cilium.io"], ["cilium.io"]],
    ["**.*.io", ["b.a.io", "c.b.a.io"], ["a.io"]],
    ["test.**.io", ["test.a.io"], ["test.b.a.io", "test.io"]],
    ["test.*.io", ["test.a.io"], ["test.b.a.io", "test.io"]],
    ["**cilium.io", ["cilium.io", "mycilium.io"], ["sub.cilium.io"]],
    ["*", ["a", "a.b.c.d", "."], ["a b.c", "\\000.io", ".a."]],
    ["**", ["a.b.c", "."], ["a!b.c"]],
    ["***.", ["a.b.c"], []],
    ["*.*", ["a.b"], ["a", "a.b.c"]],
    ["_http._tcp.*.io", ["_http._tcp.a.io"], ["http._tcp.a.io"]],
  ];
  for (const [pattern, matches, not] of rows)
    it(pattern, () => {
      const matcher = compileName({ matchPattern: pattern });
      for (const name of matches) assert.ok(matcher.matches(canonicalName(name)), `should match ${name}`);
      for (const name of not) assert.ok(!matcher.matches(canonicalName(name)), `should not match ${name}`);
    });

  it("a name is taken as it is, stars too", () => {
    const matcher = compileName({ matchName: "Www.Example.com" });
    assert.ok(matcher.matches("www.example.com."));
    assert.ok(!compileName({ matchName: "*.io" }).matches("a.io."));
  });

  it("agrees with Cilium's regular expressions on random patterns and names", () => {
    const seed = Date.now() % 100_000;
    const random = randomFrom(seed);
    const pick = (letters: string, most: number) =>
      Array.from(
        { length: Math.floor(random() * (most + 1)) },
        () => letters[Math.floor(random() * letters.length)],
      ).join("");
    for (let i = 0; i < 20_000; i++) {
      const pattern = pick("ab*.*", 8) || "*";
      const name = canonicalName(pick("ab.c", 8));
      assert.equal(
        compileName({ matchPattern: pattern }).matches(name),
        ciliumRegex(pattern).test(name),
        `seed ${seed}: ${pattern} against ${name}`,
      );
    }
  });

  it("a pattern made to be slow is not", () => {
    const matcher = compileName({ matchPattern: `${"*a".repeat(120)}*b` });
    const started = performance.now();
    for (let i = 0; i < 1000; i++) matcher.matches(`${"a".repeat(63)}.`);
    assert.ok(performance.now() - started < 1000);
  });
});

/** As pkg/fqdn/matchpattern builds them. */
function ciliumRegex(given: string): RegExp {
  const pattern = canonicalName(given);
  if (/^\*+\.$/.test(pattern)) return /(^([-a-zA-Z0-9_]+[.])+$)|(^[.]$)/;
  const deep = /^\*\*+\./.exec(pattern)?.[0] ?? "";
  const rest = pattern.slice(deep.length).replaceAll(".", "[.]").replaceAll(/\*+/g, "[-a-zA-Z0-9_]*");
  return new RegExp(`^${deep === "" ? "" : "([-a-zA-Z0-9_]+[.])+"}${rest}$`);
}

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

describe("what names lead to", () => {
  const cacheWith = (limits: Partial<NameCacheLimits> = {}) =>
    createNameCache({ ...defaultNameCacheLimits, graceMs: 0, ...limits });
  const learn = (
    cache: ReturnType<typeof cacheWith>,
    name: string,
    addresses: readonly string[],
    ttlSeconds: number,
    nowMs: number,
    endpoint = one,
  ) => cache.learn({ endpoint, name, addresses: addresses.map((address) => ({ address, ttlSeconds })) }, nowMs);

  it("an address stays for its time to live, and the grace behind it", () => {
    const cache = cacheWith({ graceMs: 500 });
    assert.equal(learn(cache, "A.com", ["192.0.2.1"], 10, 1000).untilMs, 11_500);
    assert.ok(!cache.collect(11_499, noConnections));
    assert.deepEqual(
      [...cache.addresses()].map(([a, names]) => [a, [...names]]),
      [["192.0.2.1", ["a.com."]]],
    );
    assert.ok(cache.collect(11_500, noConnections));
    assert.equal(cache.addresses().size, 0);
  });

  it("a short time to live is lengthened to the least one", () => {
    assert.equal(learn(cacheWith({ minTtlSeconds: 60 }), "a.com", ["192.0.2.1"], 1, 0).untilMs, 60_000);
  });

  it("a shorter answer does not take time away that an earlier one gave", () => {
    const cache = cacheWith();
    learn(cache, "a.com", ["192.0.2.1"], 100, 0);
    learn(cache, "a.com", ["192.0.2.1"], 1, 0);
    assert.ok(!cache.collect(50_000, noConnections));
  });

  it("an address with a living connection stays when its time is up, and goes with the connection", () => {
    const cache = cacheWith();
    learn(cache, "a.com", ["192.0.2.1", "192.0.2.2"], 1, 0);
    cache.collect(5000, (endpoint, address) => endpoint === one && address === "192.0.2.1");
    assert.deepEqual([...cache.addresses().keys()], ["192.0.2.1"]);
    assert.ok(cache.hasExpired(5000));
    cache.collect(6000, noConnections);
    assert.equal(cache.addresses().size, 0);
  });

  it("beyond the limit of addresses the one that ends first goes", () => {
    const cache = cacheWith({ addressesPerName: 2 });
    learn(cache, "a.com", ["192.0.2.1"], 10, 0);
    learn(cache, "a.com", ["192.0.2.2"], 5, 0);
    learn(cache, "a.com", ["192.0.2.3"], 1, 0);
    assert.deepEqual([...cache.addresses().keys()].sort(), ["192.0.2.1", "192.0.2.3"]);
    const { refused } = learn(cache, "b.com", ["192.0.2.4", "192.0.2.5", "192.0.2.6"], 1, 0);
    assert.deepEqual(refused, ["192.0.2.6"]);
  });

  it("beyond the limit of names the one that was asked for longest ago goes", () => {
    const cache = cacheWith({ namesPerEndpoint: 2 });
    learn(cache, "a.com", ["192.0.2.1"], 10, 0);
    learn(cache, "b.com", ["192.0.2.2"], 10, 0);
    learn(cache, "a.com", ["192.0.2.1"], 10, 0);
    learn(cache, "c.com", ["192.0.2.3"], 10, 0);
    assert.deepEqual([...cache.addresses().keys()].sort(), ["192.0.2.1", "192.0.2.3"]);
  });

  it("what two endpoints were told goes when both are gone", () => {
    const cache = cacheWith();
    learn(cache, "a.com", ["192.0.2.1"], 10, 0, one);
    learn(cache, "a.com", ["192.0.2.1"], 10, 0, two);
    cache.forgetEndpoint(one);
    assert.equal(cache.addresses().size, 1);
    assert.deepEqual(cache.namesOf(two, "192.0.2.1"), ["a.com."]);
    assert.deepEqual(cache.namesOf(one, "192.0.2.1"), []);
    cache.forgetEndpoint(two);
    assert.equal(cache.addresses().size, 0);
  });

  it("a snapshot restores everything, also what is over by then", () => {
    const cache = cacheWith();
    learn(cache, "a.com", ["192.0.2.1", "2001:db8::1"], 1, 0);
    const again = cacheWith();
    again.restore(JSON.parse(JSON.stringify([...cache.snapshot(), [1, 2, 3, 4], ["x"]])));
    assert.deepEqual(again.snapshot(), cache.snapshot());
    again.collect(5000, noConnections);
    assert.equal(again.addresses().size, 0);
  });

  it("holds exactly what a simple model holds, after random answers, collections and departures", () => {
    const seed = Date.now() % 100_000;
    const random = randomFrom(seed);
    const cache = cacheWith();
    let model: { endpoint: EndpointId; name: string; address: string; endMs: number }[] = [];
    for (let step = 0, nowMs = 0; step < 5000; step++, nowMs += Math.floor(random() * 2000)) {
      const endpoint = (1 + Math.floor(random() * 3)) as EndpointId;
      const name = `${"abc"[Math.floor(random() * 3)]}.`;
      const address = `192.0.2.${Math.floor(random() * 5)}`;
      const what = random();
      if (what < 0.7) {
        const ttl = Math.floor(random() * 10);
        learn(cache, name, [address], ttl, nowMs, endpoint);
        const endMs = nowMs + ttl * 1000;
        const known = model.find((m) => m.endpoint === endpoint && m.name === name && m.address === address);
        if (known) known.endMs = Math.max(known.endMs, endMs);
        else model.push({ endpoint, name, address, endMs });
      } else if (what < 0.95) {
        const used = `192.0.2.${Math.floor(random() * 5)}`;
        cache.collect(nowMs, (_, one) => one === used);
        model = model.filter((m) => m.endMs > nowMs || m.address === used);
      } else {
        cache.forgetEndpoint(endpoint);
        model = model.filter((m) => m.endpoint !== endpoint);
      }
      const shown = [...cache.addresses()].flatMap(([a, names]) => [...names].map((n) => `${a} ${n}`)).sort();
      const wanted = [...new Set(model.map((m) => `${m.address} ${m.name}`))].sort();
      assert.deepEqual(shown, wanted, `seed ${seed}, step ${step}`);
    }
  });
});

describe("identities of what names led to", () => {
  const selectors = (...matches: DnsMatch[]) => {
    const made = createNameSelectors();
    made.replace(matches);
    return made;
  };
  const learnt = (...pairs: readonly (readonly [name: string, address: string])[]) => {
    const cache = createNameCache();
    for (const [name, address] of pairs)
      cache.learn({ endpoint: one, name, addresses: [{ address, ttlSeconds: 60 }] }, 0);
    return cache;
  };
  const wild: DnsMatch = { matchPattern: "*.a.com." };
  const exact: DnsMatch = { matchName: "www.a.com." };

  it("one number for each distinct set of selectors, none for addresses that no rule means", () => {
    const identities = createNameIdentities();
    const cache = learnt(
      ["www.a.com", "192.0.2.1"],
      ["www.a.com", "192.0.2.2"],
      ["api.a.com", "192.0.2.3"],
      ["b.com", "192.0.2.4"],
    );
    const { added } = identities.update(cache, selectors(wild, exact), []);
    assert.equal(added.length, 2);
    const rows = identities.rows();
    assert.equal(rows.get("192.0.2.1/32"), rows.get("192.0.2.2/32"));
    assert.notEqual(rows.get("192.0.2.1/32"), rows.get("192.0.2.3/32"));
    assert.equal(rows.get("192.0.2.4/32"), undefined);
    const both = added.find(({ id }) => id === rows.get("192.0.2.1/32"))!;
    assert.deepEqual(
      both.labels.filter(({ source }) => source === "fqdn").map(({ key }) => key),
      ["*.a.com.", "www.a.com."],
    );
    assert.ok(findLabel(both.labels, "world-ipv4", "reserved"));
  });

  it("an unchanged set keeps its number, one that nobody has any more comes back as removed", () => {
    const identities = createNameIdentities();
    const first = identities.update(learnt(["www.a.com", "192.0.2.1"]), selectors(exact), []).added[0]!;
    assert.deepEqual(identities.update(learnt(["www.a.com", "192.0.2.9"]), selectors(exact), []), {
      added: [],
      removed: [],
    });
    const { added, removed } = identities.update(learnt(["www.a.com", "192.0.2.9"]), selectors(wild), []);
    assert.deepEqual(removed, [first]);
    assert.notEqual(added[0]!.id, first.id);
  });

  it("numbers that the kernel holds are taken over, and given to nobody else", () => {
    const before = createNameIdentities();
    before.update(learnt(["www.a.com", "192.0.2.1"], ["api.a.com", "192.0.2.2"]), selectors(wild, exact), []);
    const kernel = [...before.rows()].map(([text, id]) => [parsePrefix(text)!, id] as const);
    const after = createNameIdentities(kernel);
    after.update(
      learnt(["api.a.com", "192.0.2.2"], ["b.com", "192.0.2.3"]),
      selectors(wild, { matchName: "b.com." }),
      [],
    );
    assert.equal(after.rows().get("192.0.2.2/32"), before.rows().get("192.0.2.2/32"));
    assert.ok(![...before.rows().values()].includes(after.rows().get("192.0.2.3/32")!));
  });

  it("rules on CIDRs and the world go on meaning an address to which a name led", () => {
    const identities = createNameIdentities();
    const prefix = parsePrefix("192.0.2.0/24")!;
    const everything = parsePrefix("0.0.0.0/0")!;
    const { added } = identities.update(
      learnt(["www.a.com", "192.0.2.1"], ["www.a.com", "198.51.100.1"], ["www.a.com", "2001:db8::1"]),
      selectors(exact),
      [prefix, everything],
    );
    assert.equal(added.length, 3);
    assert.equal(added.find(({ id }) => id === identities.rows().get("192.0.2.1/32"))?.prefix, "192.0.2.0/24");
    const engine = createPolicyEngine();
    const subject = 300 as NumericIdentity;
    for (const identity of added) engine.upsertIdentity(identity);
    engine.upsertIdentity({ id: subject, labels: [{ source: "k8s", key: "app", value: "a" }] });
    engine.addSubject(subject);
    const allowed = (peer: Peer) => {
      const rule: Rule = {
        kind: "CiliumClusterwideNetworkPolicy",
        name: "a",
        path: "spec",
        subject: { key: "", requirements: [] },
        statements: [
          {
            direction: "egress",
            action: "allow",
            peers: [peer],
            ports: "any",
            ref: { kind: "CiliumClusterwideNetworkPolicy", name: "a", path: "spec.egress[0]" },
          },
        ],
        defaultDeny: { ingress: false, egress: true },
      };
      engine.upsertRules("rule", [rule]);
      engine.flush();
      const ids = engine
        .policyOf(subject)!
        .entries.filter(({ direction }) => direction === "egress")
        .map(({ identity }) => identity);
      return [...identities.rows()]
        .filter(([, id]) => ids.includes(id))
        .map(([row]) => row)
        .sort();
    };
    assert.deepEqual(allowed({ kind: "fqdn", name: exact, path: "" }), [
      "192.0.2.1/32",
      "198.51.100.1/32",
      "2001:db8::1/128",
    ]);
    assert.deepEqual(allowed({ kind: "cidr", prefix, except: [], path: "" }), ["192.0.2.1/32"]);
    assert.deepEqual(allowed({ kind: "cidr", prefix: everything, except: [prefix], path: "" }), ["198.51.100.1/32"]);
    assert.equal(allowed({ kind: "entity", entity: "world", path: "" }).length, 3);
    assert.deepEqual(allowed({ kind: "fqdn", name: wild, path: "" }), []);
  });
});
