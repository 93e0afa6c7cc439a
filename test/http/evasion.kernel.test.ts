/**
 * What TCP allows, and what it does not, to make a server read other bytes than were judged. Each row is a client of hand-made packets;
 * the server's view is a Linux socket's. Without rules, most rows that mean to evade bring the forbidden request through: that is what
 * the control run at the end shows.
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { RawConnection, RawLink, silence } from "./raw-client.ts";
import { HttpNode, serve, statusesOf, type Workload } from "./wire.ts";

const node = new HttpNode(["hostile", "server"]);
after(() => node.close());
const [hostile, server] = node.workloads as readonly [Workload, Workload];
silence(node, hostile);
const link = new RawLink(node, hostile);
after(() => link.close());
const PORT = 8080;
const rules = [{ path: "/(public|upload)([/?].*)?" }];

const ok = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
const bad = "GET /admin/xx HTTP/1.1\r\nHost: a.example\r\n\r\n";
assert.equal(ok.length, bad.length);
const N = ok.length;
const post = (headers: string) => `POST /upload HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`;
const forbidden = /GET \/admin[^\n]*\n/;

/** What the server's application read, by the client's port. */
const seen = new Map<number, string>();
const listener = serve(server, PORT, (socket) => {
  const port = socket.remotePort!;
  seen.set(port, seen.get(port) ?? "");
  let rest = "";
  socket.on("data", (data) => {
    const text = data.toString("latin1");
    seen.set(port, seen.get(port)! + text);
    const heads = (rest + text).split("\r\n\r\n");
    rest = heads.pop()!;
    for (const _ of heads) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  socket.on("end", () => socket.end());
});
after(() => listener.close());

type Attack = (connection: RawConnection) => Promise<unknown> | unknown;
/** Statuses that the client got, or `reset`; what the server read: nothing, only what is allowed (`ok`), or this text. */
type Row = readonly [
  name: string,
  attack: Attack,
  answers: readonly number[] | "reset" | "any",
  server: "" | "ok" | string,
];

const pause = (ms = 20) => new Promise((done) => setTimeout(done, ms));
const open = (c: RawConnection) => c.open();
/** A first copy that the server throws away, then other bytes in its place. */
const twice =
  (first: (c: RawConnection) => void, second = bad): Attack =>
  async (c) => {
    await open(c);
    first(c);
    await pause();
    c.at(0, second);
  };
/** A connection's remains, and a new one with the same ports. */
const again =
  (request: string): Attack =>
  async (c) => {
    await open(c);
    c.at(0, ok);
    await c.poll(30);
    c.raw(c.isn + 1 + N, c.next, "R");
    await pause();
    const next = new RawConnection(link, { ip: server.ip4, port: PORT }, { port: c.port });
    await next.open();
    next.at(0, request);
    await next.poll(60);
    c.received += next.received;
    c.wasReset ||= next.wasReset;
  };
const md5 = Buffer.from([19, 18, ...new Array<number>(16).fill(109)]);

// biome-ignore format: a table
const rows: readonly Row[] = [
  ["an honest request", async (c) => (await open(c)).at(0, ok), [200], ok],
  ["a forbidden request", async (c) => (await open(c)).at(0, bad), [403], ""],
  ["the halves of a forbidden request, the second one first", async (c) => { await open(c); c.at(20, bad.slice(20)); await pause(); c.at(0, bad.slice(0, 20)); }, [403], ""],
  ["the halves of an allowed request, the second one first and then again", async (c) => { await open(c); c.at(20, ok.slice(20)); await pause(); c.at(0, ok.slice(0, 20)); await pause(); c.at(20, ok.slice(20)); }, [200], ok],
  ["acknowledged bytes, sent again as others", async (c) => { await open(c); c.at(0, ok.slice(0, 20)); await pause(60); c.at(0, bad.slice(0, 20) + ok.slice(20)); }, [200], ok],
  ["a copy with a bad checksum, then other bytes", twice((c) => c.at(0, ok, { badChecksum: true })), "reset", ""],
  ["a copy with a bad checksum, then the same bytes", twice((c) => c.at(0, ok, { badChecksum: true }), ok), [200], ok],
  ["a copy with a timestamp of long ago, then other bytes", twice((c) => c.at(0, ok, { timestamp: -900_000 })), "reset", ""],
  ["a copy with an MD5 signature, then other bytes", twice((c) => c.at(0, ok, { options: md5 })), "reset", ""],
  ["a copy that acknowledges what was never sent, then other bytes", twice((c) => c.at(0, ok, { ack: c.next + 5000 })), [403], ""],
  ["a copy that acknowledges what is long past, then other bytes", twice((c) => c.at(0, ok, { ack: c.next - 3_000_000 })), [403], ""],
  ["a copy without ACK, then other bytes", twice((c) => c.at(0, ok, { flags: "P" })), [403], ""],
  ["a copy with no flags at all, then other bytes", twice((c) => c.at(0, ok, { flags: "" })), [403], ""],
  ["a copy with another window, then other bytes", twice((c) => c.at(0, ok, { window: 0, badChecksum: true })), "reset", ""],
  ["a copy that only half fits, then other bytes", twice((c) => c.at(0, ok.slice(0, 11), { badChecksum: true })), "reset", ""],
  ["an urgent byte in the path", async (c) => { await open(c); c.at(0, ok.slice(0, 8), { flags: "PAU", urgent: 6 }); c.at(8, ok.slice(8)); }, "reset", ""],
  ["an urgent pointer far ahead", async (c) => { await open(c); c.at(0, ok, { flags: "PAU", urgent: 60_000 }); }, "reset", ""],
  ["bytes in the SYN", async (c) => { c.raw(c.isn, 0, "S", bad, { options: Buffer.from([2, 4, 5, 0xb4, 34, 2]) }); await c.poll(50); }, [], ""],
  ["a fast-open cookie request", async (c) => { await c.open({ options: Buffer.from([34, 2]) }); c.at(0, ok); }, [200], ok],
  ["a forbidden request with FIN", async (c) => (await open(c)).at(0, bad, { flags: "FPA" }), [403], ""],
  ["a head ended by FIN", async (c) => (await open(c)).at(0, "GET /admin", { flags: "FPA" }), "any", ""],
  ["a head ended by FIN that was judged longer", async (c) => { await open(c); c.at(0, "GET /public/../../x", { badChecksum: true }); await pause(); c.at(0, "GET /public", { flags: "FPA" }); }, "reset", ""],
  ["an allowed request with FIN", async (c) => (await open(c)).at(0, ok, { flags: "FPA" }), [200], ok],
  ["a forbidden request in segments of one byte", async (c) => { await open(c); for (let i = 0; i < N; i++) c.at(i, bad[i]!); }, [403], "GET /"],
  ["an allowed request in segments of one byte", async (c) => { await open(c); for (let i = 0; i < N; i++) c.at(i, ok[i]!); }, [200], ok],
  ["a forbidden request in segments that overlap", async (c) => { await open(c); for (let i = 0; i < N; i += 3) c.at(Math.max(0, i - 2), bad.slice(Math.max(0, i - 2), i + 3)); }, [403], "GET /"],
  ["an allowed request in segments that overlap", async (c) => { await open(c); for (let i = 0; i < N; i += 3) c.at(Math.max(0, i - 2), ok.slice(Math.max(0, i - 2), i + 3)); }, [200], ok],
  ["keep-alive probes with a byte of garbage", async (c) => { await open(c); c.at(-1, "Z", { flags: "A" }); await c.poll(20); c.at(0, ok); await c.poll(40); c.at(N - 1, "Z", { flags: "A" }); c.at(N, ok); }, [200, 200], ok + ok],
  ["a forbidden request behind the byte before the first", async (c) => (await open(c)).at(-1, `Z${bad}`), [403], ""],
  ["IP fragments of a forbidden request", async (c) => (await open(c)).at(0, bad, { fragment: 24 }), [], ""],
  ["IP options before a forbidden request", async (c) => (await open(c)).at(0, bad, { ipOptions: Uint8Array.of(1, 1, 1, 1) }), [], ""],
  ["bytes behind the IP packet", async (c) => (await open(c)).at(0, bad, { trailing: "xx" }), [403], ""],
  ["an IP length that cuts the segment", async (c) => { await open(c); c.at(0, `${ok.slice(0, -2)}X: \r\n\r\n${bad}`, { lengthOff: -N }); }, [], ""],
  ["an IP length beyond the frame", async (c) => (await open(c)).at(0, bad, { lengthOff: 40 }), [], ""],
  ["a new connection with the ports of one that was reset, forbidden", again(bad), [200, 403], ok],
  ["a new connection with the ports of one that was reset, allowed", again(ok), [200, 200], ok + ok],
  ["a SYN inside the window of a connection, bytes at its numbers", async (c) => { await open(c); const head = post("Content-Length: 5"); c.at(0, head); await c.poll(20); c.raw(c.isn + 1 + head.length + 1000, 0, "S"); await c.poll(20); c.at(head.length + 1001, ok); await pause(); c.at(head.length, `12345${bad}`); }, "any", "ok"],
  ["SYN and FIN and ACK together, with bytes", async (c) => { await open(c); c.raw(c.isn + 1, c.next, "SFPA", bad); }, "any", ""],
  ["bytes behind a FIN", async (c) => { await open(c); c.at(0, "", { flags: "FA" }); c.at(1, bad); c.at(0, bad); }, "any", ""],
  ["a TCP header shorter than itself", async (c) => (await open(c)).at(0, bad, { headerWords: 4 }), [], ""],
  ["a TCP header longer than the packet", async (c) => (await open(c)).at(0, "", { headerWords: 15 }), [], ""],
  ["numbers half the circle away", async (c) => { await open(c); c.at(0x8000_0000 - 2, ok); c.at(0, bad); }, [403], ""],
  ["a first copy with another Content-Length", async (c) => { await open(c); const head = post("Content-Length: 60"); c.at(0, head, { badChecksum: true }); c.at(head.length, `${"B".repeat(60)}${ok}`); await pause(); c.at(0, post("Content-Length: 06")); c.at(head.length, `BODY:1${bad}`); }, "reset", ""],
  ["a hole in a body, filled later with anything", async (c) => { await open(c); const head = post("Content-Length: 60"); c.at(0, head); c.at(head.length + 30, `${"C".repeat(30)}${ok}`); await pause(); c.at(head.length, "B".repeat(30)); }, "any", `${post("Content-Length: 60")}${"B".repeat(30)}${"C".repeat(30)}${ok}`],
  ["a first copy with another chunk size", async (c) => { await open(c); const head = post("Transfer-Encoding: chunked"); c.at(0, head); await pause(); c.at(head.length, `2e\r\n${"A".repeat(46)}\r\n0\r\n\r\n`, { badChecksum: true }); await pause(); c.at(head.length, `01\r\nA\r\n0\r\n\r\n${bad.slice(0, 46)}`); }, "reset", post("Transfer-Encoding: chunked")],
  ["a copy that is thrown away, then small overlaps with others", async (c) => { await open(c); c.at(0, `${ok}GET /pub`, { badChecksum: true }); await pause(); for (let i = 0; i < N; i += 7) c.at(i, bad.slice(i, i + 7)); }, "reset", ""],
  ["an honest retransmission, cut differently", async (c) => { await open(c); c.at(0, ok.slice(0, 30)); c.at(30, ok.slice(30), { badChecksum: true }); await pause(); c.at(10, ok.slice(10)); }, [200], ok],
  ["a forbidden request between allowed ones in a segment", async (c) => (await open(c)).at(0, ok + bad + ok), "any", "ok"],
  ["an 802.1p tag", async (c) => (await open(c)).at(0, bad, { vlans: [0] }), [], ""],
  ["a VLAN tag", async (c) => (await open(c)).at(0, bad, { vlans: [5] }), [], ""],
  ["a TTL that ends on the way, then other bytes", twice((c) => c.at(0, ok, { ttl: 1 })), "any", "ok"],
  ["one connection's numbers with the reset bit and bytes", async (c) => { await open(c); c.raw(c.isn + 1, c.next, "RA", bad); await pause(); c.at(0, bad); }, [403], ""],
  ["the same request a hundred times", async (c) => { await open(c); for (let i = 0; i < 100; i++) c.at(0, bad); }, "any", ""],
  ["MPTCP in the SYN", async (c) => { await c.open({ options: Buffer.from([30, 12, 1, 0x81, 1, 2, 3, 4, 5, 6, 7, 8]) }); c.at(0, bad); }, [403], ""],
];

/** With SYN cookies a server knows nothing of a connection before its ACK, which may be another attempt's. */
async function withCookies(attack: () => Promise<void>): Promise<void> {
  server.netns.writeSysctl("net.ipv4.tcp_syncookies", "2");
  try {
    await attack();
  } finally {
    server.netns.writeSysctl("net.ipv4.tcp_syncookies", "1");
  }
}

async function run(attack: Attack): Promise<{ readonly connection: RawConnection; readonly bytes: string }> {
  const connection = new RawConnection(link, { ip: server.ip4, port: PORT });
  await attack(connection);
  await connection.poll(90);
  const bytes = seen.get(connection.port) ?? "";
  connection.abort();
  return { connection, bytes };
}

describe("under rules the server reads nothing forbidden", () => {
  for (const [name, attack, answers, expected] of rows) {
    it(`of ${name}`, async () => {
      node.policy(server.id, [{ direction: "ingress", port: PORT, rules }]);
      const { connection, bytes } = await run(attack);
      assert.doesNotMatch(bytes, forbidden);
      if (expected === "ok") assert.ok(!bytes.includes("admin"), bytes);
      else if (expected === "GET /") assert.ok("GET /a".startsWith(bytes), bytes);
      else assert.equal(bytes, expected);
      if (answers === "reset") assert.ok(connection.wasReset, `not reset, got ${connection.received}`);
      else if (answers !== "any") assert.deepEqual(statusesOf(connection.received), answers);
    });
  }

  it("of bytes for the cookie of another attempt", async () => {
    node.policy(server.id, [{ direction: "ingress", port: PORT, rules }]);
    await withCookies(async () => {
      const options = { timestamps: false };
      const first = new RawConnection(link, { ip: server.ip4, port: PORT }, options);
      const second = new RawConnection(
        link,
        { ip: server.ip4, port: PORT },
        { ...options, port: first.port, isn: first.isn + 5000 },
      );
      const mss = { options: Buffer.from([2, 4, 5, 0xb4]) };
      first.raw(first.isn, 0, "S", "", mss);
      await first.poll(40);
      second.raw(second.isn, 0, "S", "", mss);
      await second.poll(40);
      assert.ok(first.next !== 0 && second.next !== 0);
      first.raw(first.isn + 1, first.next, "PA", bad);
      await first.poll(60);
      assert.equal(seen.get(first.port) ?? "", "");
      const honest = new RawConnection(link, { ip: server.ip4, port: PORT }, options);
      honest.raw(honest.isn, 0, "S", "", mss);
      await honest.poll(40);
      honest.raw(honest.isn + 1, honest.next, "PA", ok);
      await honest.poll(60);
      assert.equal(seen.get(honest.port), ok);
    });
  });
});

describe("the control run", () => {
  it("shows that without rules many of these bring the forbidden request through", async () => {
    node.policy(server.id, []);
    const through: string[] = [];
    for (const [name, attack] of rows) if (forbidden.test((await run(attack)).bytes)) through.push(name);
    assert.ok(through.length >= 20, through.join("\n"));
  });
});
