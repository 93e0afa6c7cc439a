/**
 * A workload that makes its own packets, one that gets a used address, an operator whose processes die and whose hand slips:
 * what must not get through does not, and what is left over goes.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { EndpointDetail } from "#contracts/agent";
import { checksum, type Ipv4, type Ipv6, type PacketLayers, packet } from "../packet/index.ts";
import { type Peer, TestNode, type TestWorkload, tracesOf, worldAddresses } from "./node.ts";
import { openWire, type Wire } from "./wire.ts";

const { node4, node6, world4, world6 } = worldAddresses;

const policies = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: victim, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: victim}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: peer}}]
    toPorts:
    - ports: [{port: "7", protocol: TCP}, {port: "5000", protocol: UDP}]
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: '\\bGET'}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: attacker, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: attacker}}
  egress:
  - toEntities: [world]
  - toEndpoints: [{matchLabels: {app: victim}}]
`;

/** The frame with IPv4 options put in; `options` in whole words. */
function withOptions(frame: Uint8Array, options: readonly number[]): Uint8Array {
  const header = Buffer.concat([frame.subarray(14, 34), Buffer.from(options)]);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(frame.length - 14 + options.length, 2);
  header.writeUInt16BE(0, 10);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([frame.subarray(0, 14), header, frame.subarray(34)]);
}

describe("a hostile workload", () => {
  let node: TestNode;
  let victim: TestWorkload;
  let attacker: TestWorkload;
  let peer: TestWorkload;
  let own: EndpointDetail;
  let wires: Record<"victim" | "peer" | "attacker" | "world", Wire>;

  before(async () => {
    node = await TestNode.start();
    [victim, attacker, peer] = await Promise.all([
      node.workload("victim"),
      node.workload("attacker"),
      node.workload("peer"),
    ]);
    for (const one of [victim, peer, await node.peer("node"), await node.peer("world")])
      await one.tell({ op: "serve-udp", port: 5000 });
    await victim.tell({ op: "serve-echo", port: 7 });
    await victim.tell({ op: "serve-http", port: 80 });
    await node.apply(policies);
    own = await node.client.endpoint(attacker.workload.id);
    const [v, p, a, w] = await Promise.all([
      openWire(victim.workload.netnsName),
      openWire(peer.workload.netnsName),
      openWire(attacker.workload.netnsName),
      openWire(node.worldNetns),
    ]);
    wires = { victim: v, peer: p, attacker: a, world: w };
  });
  after(async () => {
    for (const wire of Object.values(wires ?? {})) wire.close();
    assert.deepEqual(await node?.close(), []);
  });

  const frame = (layers: PacketLayers) =>
    packet({ ...layers, ethernet: { source: own.mac, destination: own.hostMac, ...layers.ethernet } });

  test("none of its frames arrives where policy, or the truth of its addresses, forbids it", async () => {
    const ports = { source: 5000, destination: 5000 };
    const [victimMac, peerMac] = await Promise.all(
      [victim, peer].map(async ({ workload }) => (await node.client.endpoint(workload.id)).mac),
    );
    const hostLinkLocal =
      /inet6 (fe80[^/]*)/.exec(node.exec("ip", "-6", "-o", "addr", "show", "dev", "eth0"))?.[1] ?? "";
    let count = 0;
    const rows: { what: string; tag: string; frames: Uint8Array[]; seenBy: string[] }[] = [];
    const add = (what: string, make: (tag: Buffer) => Uint8Array[], seenBy: string[] = []) => {
      const tag = `EVIL-${String(count++).padStart(3, "0")}`;
      rows.push({ what, tag, frames: make(Buffer.from(tag)), seenBy });
    };
    const v4 = (
      what: string,
      source: string,
      destination: string,
      more: PacketLayers = {},
      ip: Partial<Ipv4> = {},
      seenBy: string[] = [], // biome-ignore format: a row
    ) =>
      add(what, (payload) => [frame({ ipv4: { source, destination, ...ip }, udp: ports, payload, ...more })], seenBy);
    const v6 = (what: string, source: string, destination: string, ip: Partial<Ipv6> = {}, seenBy: string[] = []) =>
      add(what, (payload) => [frame({ ipv6: { source, destination, ...ip }, udp: ports, payload })], seenBy);

    // That the taps see what does pass.
    v4("to the world, allowed", attacker.ipv4, world4, {}, {}, ["attacker", "world"]);
    v6("to the world over IPv6, allowed", attacker.ipv6, world6, {}, ["attacker", "world"]);

    v4("to a denied workload", attacker.ipv4, victim.ipv4);
    v6("to a denied workload over IPv6", attacker.ipv6, victim.ipv6);
    for (const source of [peer.ipv4, victim.ipv4, "10.217.0.1", node4, world4, "127.0.0.1", "0.0.0.0", "169.254.1.1", "10.217.0.77"]) // biome-ignore format: a list
      for (const destination of [victim.ipv4, peer.ipv4, world4])
        v4(`from ${source} to ${destination}`, source, destination);
    for (const source of [peer.ipv6, victim.ipv6, "fd10:217::1", node6, world6, "::1", "::", "fe80::1", "fe80::5"])
      for (const destination of [victim.ipv6, peer.ipv6, world6])
        v6(`from ${source} to ${destination}`, source, destination);

    const ethernets = { victimMac, peerMac, broadcast: "ff:ff:ff:ff:ff:ff" } as const;
    for (const [name, mac] of Object.entries(ethernets)) {
      v4(`to the MAC ${name}`, attacker.ipv4, victim.ipv4, { ethernet: { destination: mac! } });
      v4(`from peer's address to the MAC ${name}`, peer.ipv4, victim.ipv4, { ethernet: { source: peerMac!, destination: mac! } }); // biome-ignore format: a row
    }
    for (const vlans of [[0], [5], [5, 6]])
      v4(`with VLAN tags ${vlans}`, attacker.ipv4, victim.ipv4, { ethernet: { source: own.mac, destination: own.hostMac, vlans } }); // biome-ignore format: a row

    // The host is denied: by its addresses, and by those under which it would listen too.
    for (const to of ["127.0.0.1", "127.255.255.255", "0.0.0.0", "10.217.0.1", node4, "192.0.2.255", "255.255.255.255", "224.0.0.1", "10.217.0.255"]) // biome-ignore format: a list
      for (const mac of [own.hostMac, "ff:ff:ff:ff:ff:ff"]) v4(`to the host as ${to}, ${mac}`, attacker.ipv4, to, { ethernet: { source: own.mac, destination: mac } }); // biome-ignore format: a row
    for (const to of [
      "::1",
      node6,
      "fd10:217::1",
      "fd10:217::",
      "ff02::1",
      "ff01::1",
      "ff05::2",
      "ff0e::1",
      hostLinkLocal,
    ])
      v6(`to the host as ${to}`, attacker.ipv6, to);

    v6("of a fragment that is whole", attacker.ipv6, victim.ipv6, { extensions: [{ type: 44, bytes: new Uint8Array(8) }] }); // biome-ignore format: a row
    for (const [name, type, bytes] of [
      ["destination options", 60, Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0)],
      ["a routing header", 43, Uint8Array.of(0, 0, 4, 0, 0, 0, 0, 0)],
      ["hop-by-hop options", 0, Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0)],
    ] as const)
      for (const to of [victim.ipv6, world6]) v6(`with ${name} to ${to}`, attacker.ipv6, to, { extensions: [{ type, bytes }] }); // biome-ignore format: a row
    const octets = (text: string) => text.split(".").map(Number);
    for (const [name, kind] of [["loose", 131], ["strict", 137]] as const) // biome-ignore format: a table
      add(`with ${name} source routing over the host`, (payload) => [
        withOptions(frame({ ipv4: { source: attacker.ipv4, destination: node4 }, udp: ports, payload }), [kind, 7, 4, ...octets(victim.ipv4), 0]), // biome-ignore format: a row
      ]);

    // Fragments: a harmless first one never lends its ports to another datagram, and a tiny one has none.
    const datagram = (offset: number, more: boolean, payload: Uint8Array, id: number, udp?: typeof ports) =>
      frame({ ipv4: { source: attacker.ipv4, destination: victim.ipv4, protocol: 17, id, fragmentOffset: offset, moreFragments: more }, ...(udp && { udp }), payload }); // biome-ignore format: a row
    add("a first fragment", (tag) => [datagram(0, true, Buffer.concat([tag, tag]), 71, ports)]);
    add("a later fragment alone", (tag) => [datagram(8, false, tag, 72)]);
    add("fragments that overlap", (tag) => [
      datagram(0, true, Buffer.concat([tag, tag, tag]), 73, ports),
      datagram(8, true, tag, 73),
      datagram(0, true, Buffer.concat([tag, tag]), 73),
      datagram(16, false, tag, 73),
    ]);
    add("a TCP header in two fragments", (tag) => {
      const whole = packet({ ipv4: { source: attacker.ipv4, destination: victim.ipv4 }, tcp: { source: 5000, destination: 7 }, payload: tag }); // biome-ignore format: a row
      const ip = { source: attacker.ipv4, destination: victim.ipv4, protocol: 6, id: 74 };
      return [
        frame({ ipv4: { ...ip, moreFragments: true }, payload: whole.subarray(34, 42) }),
        frame({ ipv4: { ...ip, fragmentOffset: 8 }, payload: whole.subarray(42) }),
      ];
    });

    // What belongs to the link ends there.
    for (const operation of [1, 2] as const)
      add(`ARP ${operation} for peer's address`, (payload) => [
        Buffer.concat([frame({ arp: { operation, senderMac: own.mac, senderIp: peer.ipv4, targetIp: victim.ipv4 }, ethernet: { destination: "ff:ff:ff:ff:ff:ff" } }), payload]), // biome-ignore format: a row
      ]);
    for (const type of [133, 134, 135, 136, 137])
      for (const [
        to,
        source,
      ] of [["ff02::1", "fe80::1"], [victim.ipv6, peer.ipv6], [victim.ipv6, attacker.ipv6], [peer.ipv6, attacker.ipv6]] as const) // biome-ignore format: a table
        add(`ICMPv6 ${type} to ${to} from ${source}`, (payload) => [
          frame({ ipv6: { source, destination: to, hopLimit: 255 }, icmp: { type }, payload: Buffer.concat([Buffer.alloc(16), payload]) }), // biome-ignore format: a row
        ]);

    // Errors about connections of others.
    for (const type of [3, 5, 11, 12])
      add(`ICMP ${type} about victim's connection with peer`, (payload) => [
        frame({
          ipv4: { source: attacker.ipv4, destination: victim.ipv4 },
          icmp: { type, code: 1 },
          payload: Buffer.concat([packet({ ipv4: { source: victim.ipv4, destination: peer.ipv4 }, tcp: { source: 7, destination: 40000 } }).subarray(14), payload]), // biome-ignore format: a row
        }),
      ]);

    for (const wire of Object.values(wires)) wire.take();
    for (const { frames } of rows) wires.attacker.send(...frames);
    const control = rows[1]!.tag;
    const seen = new Map<string, Set<string>>();
    const collect = () => {
      for (const [where, wire] of Object.entries(wires))
        for (const bytes of wire.take()) {
          const tag = /EVIL-\d{3}/.exec(bytes.toString("latin1"))?.[0];
          // An ICMP error about it goes back to its sender: that is no way through.
          const isError = where === "attacker" && !(bytes[23] === 17 || bytes[20] === 17);
          if (tag && !isError) seen.set(tag, (seen.get(tag) ?? new Set()).add(where));
        }
    };
    for (let i = 0; i < 100 && seen.get(control)?.size !== 2; i++) {
      await delay(20);
      collect();
    }
    await delay(500);
    collect();
    const wrong = rows
      .map(({ what, tag, seenBy }) => ({ what, seenBy, at: [...(seen.get(tag) ?? [])].sort() }))
      .filter(({ seenBy, at }) => at.join() !== seenBy.join());
    assert.deepEqual(wrong, []);
    assert.ok(rows.length > 100);
  });

  test("a reset in somebody else's name leaves that connection and what is known of it alone", async () => {
    const opened = await peer.tell({ op: "connect", host: victim.ipv4, port: 7 });
    const { connection = 0 } = opened;
    const echo = (text: string) => peer.tell({ op: "echo", connection, text });
    assert.equal((await echo("before")).text, "before");
    // One over the proxy too (which a word boundary in its rule takes), whose own leg to the server is the more interesting one.
    const proxied = await peer.tell({ op: "connect", host: victim.ipv4, port: 80 });
    const request = {
      op: "echo",
      connection: proxied.connection ?? 0,
      text: "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    } as const;
    assert.match((await peer.tell(request)).text ?? "", /200 OK/);

    const connections = async () =>
      (await node.client.map("ct4")).entries
        .map(({ key, value }) => ({ key, value: value as { flags: readonly string[] } }))
        .filter(({ key }) => JSON.stringify(key).includes(peer.ipv4) && JSON.stringify(key).includes(victim.ipv4));
    const before = await connections();
    const forged: Uint8Array[] = [];
    for (const { key } of before) {
      const ends = [...JSON.stringify(key).matchAll(/(\d+\.\d+\.\d+\.\d+):(\d+)/g)].map(([, address, port]) => ({ address: address!, port: Number(port) })); // biome-ignore format: one expression
      const [a, b] = ends;
      if (!a || !b) continue;
      for (const [from, to] of [[a, b], [b, a]] as const) // biome-ignore format: a table
        for (const flags of ["R", "RA", "FA", "S"])
          forged.push(packet({ ipv4: { source: from.address, destination: to.address }, tcp: { source: from.port, destination: to.port, flags } })); // biome-ignore format: a row
    }
    assert.ok(forged.length >= 3 * 8, "both legs and the plain connection are known");
    const address = (mac: string) => Buffer.from(mac.replaceAll(":", ""), "hex");
    wires.attacker.send(...forged.map((one) => Buffer.concat([address(own.hostMac), address(own.mac), one.subarray(12)]))); // biome-ignore format: one expression
    const nodeMac = /link\/ether (\S+)/.exec(node.exec("ip", "-o", "link", "show", "eth0"))?.[1] ?? "";
    wires.world.send(...forged.map((one) => Buffer.concat([address(nodeMac), one.subarray(6)])));
    await delay(300);
    const flags = (all: Awaited<ReturnType<typeof connections>>) => all.map(({ key, value }) => [key, value.flags]);
    assert.deepEqual(flags(await connections()), flags(before));
    assert.equal((await echo("after")).text, "after");
    assert.match((await peer.tell(request)).text ?? "", /200 OK/);
  });
});

describe("an address that was somebody else's", () => {
  test("brings no connection with it: late answers to its former workload stay outside", async () => {
    const node = await TestNode.start();
    const wires: Wire[] = [];
    const tap = async (netns: string) => {
      const wire = await openWire(netns);
      wires.push(wire);
      return wire;
    };
    try {
      // Room for one workload only.
      await node.stopAgent();
      await node.startAgent("--pod-cidr-ipv4", "10.217.0.0/30");
      await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: closed, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: second}}
  ingress: [{fromEndpoints: [{matchLabels: {app: nobody}}]}]
`);
      const first = await node.workload("first");
      const world = await tap(node.worldNetns);
      const inFirst = await tap(first.workload.netnsName);
      const own = await node.client.endpoint(first.workload.id);
      const udp = { source: 7777, destination: 6000 };
      const ethernet = { source: own.mac, destination: own.hostMac };
      inFirst.send(
        packet({ ethernet, ipv4: { source: first.ipv4, destination: world4 }, udp, payload: Buffer.from("question") }),
      );
      const question = await arrival(world, "question");
      const answer = packet({
        ipv4: { source: world4, destination: node4 },
        udp: { source: 6000, destination: question.readUInt16BE(34) },
        payload: Buffer.from("answer"),
      });
      const back = Buffer.concat([question.subarray(6, 12), question.subarray(0, 6), answer.subarray(12)]);
      world.send(back);
      await arrival(inFirst, "answer");

      await node.client.deleteWorkload("default", "first", 0);
      for (const map of ["ct4", "ct6", "nat"]) assert.deepEqual((await node.client.map(map)).entries, [], map);
      const second = await node.workload("second");
      assert.equal(second.ipv4, first.ipv4);
      const inSecond = await tap(second.workload.netnsName);
      world.send(back);
      await delay(300);
      assert.deepEqual(
        inSecond.take().filter((frame) => frame.includes("answer")),
        [],
      );
    } finally {
      for (const wire of wires) wire.close();
      assert.deepEqual(await node.close(), []);
    }
  });
});

/** The first frame with the text in it. */
async function arrival(wire: Wire, text: string): Promise<Buffer> {
  for (let i = 0; i < 150; i++) {
    const frame = wire.take().find((one) => one.includes(text));
    if (frame) return frame;
    await delay(20);
  }
  throw new Error(`no frame with "${text}" has come`);
}

type State = "closed" | "open" | "http" | "other-http";

const statePolicy = (state: State) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: ${state === "closed" ? "nobody" : "client"}}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]${state === "http" || state === "other-http" ? `\n      rules: {http: [{path: "/${state}"}]}` : ""}
`;

describe("a policy that changes all the time", () => {
  test("200 changes under constant connecting: a policy in force at the time explains each result, and everything settles", async () => {
    const node = await TestNode.start();
    try {
      const [web, client, other] = await Promise.all(["web", "client", "other"].map((name) => node.workload(name)));
      assert.ok(web && client && other);
      await web.tell({ op: "serve-http", port: 80 });
      const changes: { readonly state: State; readonly fromMs: number }[] = [];
      const change = async (state: State) => {
        changes.push({ state, fromMs: performance.now() });
        await node.apply(statePolicy(state));
      };
      await change("closed");
      const entries = (await node.client.status()).counts.policyEntries;

      let done = false;
      /** When each change was certainly in force, by its place in `changes`. */
      const inForceMs = [performance.now()];
      const wrong: string[] = [];
      const results: Record<string, number> = {};
      const ask = async (from: TestWorkload, family: 4 | 6) => {
        while (!done) {
          const fromMs = performance.now();
          const { status, error } = await from.tell({ op: "get", url: web.url(family, 80, "/http"), timeoutMs: 250 });
          const toMs = performance.now();
          const result = String(status ?? error);
          results[`${from.name} ${result}`] = (results[`${from.name} ${result}`] ?? 0) + 1;
          const possible = changes.filter(
            (one, i) => one.fromMs <= toMs && (inForceMs[i + 1] ?? Number.POSITIVE_INFINITY) >= fromMs,
          );
          const states = new Set(possible.map(({ state }) => state));
          // In the middle of a change a connection may be cut; one that has reached the proxy is answered what holds by then.
          const midway = possible.length > 1;
          const explained =
            from === other
              ? result === "timeout"
              : result === "200"
                ? states.has("open") || states.has("http")
                : result === "403"
                  ? states.has("other-http") || (midway && states.has("closed"))
                  : midway || states.has("closed");
          if (!explained) wrong.push(`${from.name} over IPv${family} got ${result} under ${[...states]}`);
        }
      };
      const work = [ask(client, 4), ask(client, 6), ask(client, 4), ask(other, 4)];
      const states: readonly State[] = ["open", "http", "closed", "other-http", "open", "closed", "http", "other-http"];
      for (let i = 0; i < 200; i++) {
        await change(states[i % states.length]!);
        inForceMs.push(performance.now());
        if (i % 4 === 0) await delay(15);
      }
      await change("closed");
      done = true;
      await Promise.all(work);
      assert.deepEqual(wrong, []);
      for (const result of ["client 200", "client 403", "client timeout", "other timeout"])
        assert.ok((results[result] ?? 0) > 0, `${result} among ${JSON.stringify(results)}`);
      const status = await node.client.status();
      assert.equal(status.policy.realised, status.policy.computed);
      assert.equal(status.counts.policyEntries, entries, "sets of former revisions are gone");
      assert.equal((await client.tell({ op: "get", url: web.url(4, 80, "/http"), timeoutMs: 300 })).error, "timeout");
    } finally {
      assert.deepEqual(await node.close(), []);
    }
  });
});

describe("an unlucky operator", () => {
  test("agent and API server killed at any moment while workloads and policies come and go: everything converges, nothing is left", async () => {
    const seed = Date.now() % 1_000_000;
    console.error(`# seed ${seed}`);
    let state = seed;
    const random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state / 2 ** 31;
    };
    const node = await TestNode.start();
    const count = async (map: string) => (await node.client.map(map)).entries.length;
    try {
      const ipcache = await count("ipcache");
      const names: string[] = [];
      // What is under way when a process dies fails, and may.
      const attempt = (action: Promise<unknown>) => action.catch(() => undefined);
      for (let round = 0; round < 8; round++) {
        const work: Promise<unknown>[] = [];
        for (const { name } of (await attempt(node.client.workloads())) as readonly { name: string }[])
          if (random() < 0.4) work.push(attempt(node.client.deleteWorkload("default", name, 0)));
        for (let i = 0; i < 3; i++) {
          const name = `w${names.length}`;
          names.push(name);
          work.push(attempt(node.client.createWorkload({ name, labels: { app: `a${i}` }, keep: true })));
        }
        work.push(
          attempt(
            node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p${round % 3}, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: a${round % 3}}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: a${(round + 1) % 3}}}]
    toPorts: [{ports: [{port: "${80 + round}", protocol: TCP}]}]
  - fromCIDR: [198.51.${round}.0/24]
`),
          ),
        );
        await delay(random() * 150);
        await node.killAgent();
        if (random() < 0.4) {
          await node.killApiServer();
          await Promise.all([node.startApiServer(), node.startAgent()]);
        } else await node.startAgent();
        await Promise.all(work);
      }

      const devices = () => node.exec("ip", "-o", "link").match(/tsl[0-9a-f]+(?=@)/g) ?? [];
      const objects = async (kind: string) => {
        const found = await Promise.all(names.map(async (name) => ((await node.object(kind, name)) ? [name] : [])));
        return found.flat().sort();
      };
      await node.waitEnforced();
      const workloads = (await node.client.workloads()).map(({ name }) => name).sort();
      const endpoints = await node.client.endpoints();
      assert.deepEqual(endpoints.map(({ pod, phase }) => `${pod} ${phase}`).sort(), workloads.map((name) => `${name} ready`)); // biome-ignore format: one expression
      assert.deepEqual(await objects("Pod"), workloads);
      assert.deepEqual(
        [devices().length, await count("ifaces"), await count("endpoints")],
        Array(3).fill(workloads.length),
      );

      for (const name of workloads) await node.client.deleteWorkload("default", name, 0);
      for (const i of [0, 1, 2]) await node.delete("CiliumNetworkPolicy", `p${i}`).catch(() => undefined);
      await node.waitEnforced();
      assert.deepEqual(devices(), []);
      assert.deepEqual(await Promise.all(["ifaces", "endpoints", "policy", "ipcache"].map(count)), [0, 0, 0, ipcache]);
      for (const kind of ["Pod", "CiliumEndpoint"]) {
        for (let i = 0; i < 50 && (await objects(kind)).length > 0; i++) await delay(50);
        assert.deepEqual(await objects(kind), [], kind);
      }
    } finally {
      assert.deepEqual(await node.close(), []);
      assert.deepEqual(tracesOf(node.instance), []);
    }
  });

  test("interfaces, routes, rules and pins removed by hand are put back", async () => {
    const node = await TestNode.start();
    try {
      const [web, client, other] = await Promise.all(["web", "client", "other"].map((name) => node.workload(name)));
      assert.ok(web && client && other);
      const host = await node.peer("node");
      await web.tell({ op: "serve-http", port: 80 });
      await node.apply(statePolicy("http"));
      const get = async (from: Peer, family: 4 | 6) => {
        const answer = await from.tell({ op: "get", url: web.url(family, 80, "/http"), timeoutMs: 400 });
        return answer.status ?? answer.error;
      };
      const all = () => Promise.all([get(client, 4), get(client, 6), get(host, 4), get(host, 6), get(other, 4)]);
      const expected = [200, 200, 200, 200, "timeout"];
      assert.deepEqual(await all(), expected);

      const device = (of: TestWorkload) => `tsl${of.workload.id.toString(16)}`;
      for (const version of ["-4", "-6"]) {
        node.exec("ip", version, "rule", "del", "pref", "9");
        node.exec("ip", version, "route", "flush", "table", "2004");
        node.exec("ip", version, "route", "flush", "dev", device(web));
      }
      node.exec("ip", "addr", "del", "10.217.0.1/32", "dev", "lo");
      node.exec("ip", "link", "del", device(client));
      // Without its programs this one would not be judged at all.
      rmSync(`${node.paths.bpfDir}/links/${device(other)}`, { recursive: true });
      assert.notDeepEqual(await all(), expected);
      let seen: unknown;
      for (let i = 0; i < 20; i++) {
        seen = await all();
        if (isDeepStrictEqual(seen, expected)) break;
        await delay(500);
      }
      assert.deepEqual(seen, expected);
    } finally {
      assert.deepEqual(await node.close(), []);
    }
  });
});
