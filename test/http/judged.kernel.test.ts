/** HTTP judged in the kernel, between ordinary sockets: what each side sees of one connection. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { after, beforeEach, describe, it } from "node:test";
import { dial, exchange, HttpNode, serve, statusesOf, type Workload } from "./wire.ts";

const node = new HttpNode(["client", "server"]);
after(() => node.close());
const [client, server] = node.workloads as readonly [Workload, Workload];
const PORT = 8080;
const rules = [{ path: "/public([/?].*)?" }, { method: "GET", path: "/ws" }];
const H = "Host: a.example\r\n";
const good = `GET /public HTTP/1.1\r\n${H}\r\n`;
const bad = `GET /private HTTP/1.1\r\n${H}\r\n`;
const denied = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\nAccess denied\r\n";
const deniedClose = denied.replace("15\r\n", "15\r\nConnection: close\r\n");
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Waits for something that has to come. */
const until = async (what: () => boolean) => {
  const end = performance.now() + 5000;
  while (!what() && performance.now() < end) await sleep(5);
};

/** Everything that servers of this file were given, connection after connection. */
let seen: string[] = [];
/** What the server does with a connection; answers every head by default. */
let behaviour: (socket: Socket) => void;
const answering =
  (answer = ok) =>
  (socket: Socket) => {
    let rest = "";
    socket.on("data", (data) => {
      const heads = (rest + data.toString("latin1")).split("\r\n\r\n");
      rest = heads.pop()!;
      for (const _ of heads) socket.write(answer);
    });
    socket.on("end", () => socket.end());
  };
const onConnection = (socket: Socket) => {
  const i = seen.push("") - 1;
  socket.on("data", (data) => {
    seen[i] += data.toString("latin1");
  });
  behaviour(socket);
};
const listeners = [server.ip4, server.ip6].map((ip) => serve(server, PORT, onConnection, ip));
after(() => {
  for (const listener of listeners) listener.close();
});
beforeEach(() => {
  node.policy(server.id, [{ direction: "ingress", port: PORT, rules, proxyPort: 9 }]);
  node.policy(client.id, []);
  seen = [];
  behaviour = answering();
});
const send = (pieces: readonly string[], options = {}) => exchange(client, server.ip4, PORT, pieces, options);

describe("a request", () => {
  for (const [family, ip] of [
    ["IPv4", server.ip4],
    ["IPv6", server.ip6],
  ] as const) {
    it(`that a rule allows is answered by the server, ${family}`, async () => {
      assert.equal((await exchange(client, ip, PORT, [good])).text, ok);
      assert.deepEqual(seen, [good]);
    });
    it(`that no rule allows is answered by the kernel; the server sees nothing of it, ${family}`, async () => {
      assert.deepEqual(await exchange(client, ip, PORT, [bad]), { text: denied, end: "quiet" });
      assert.deepEqual(seen, [""]);
    });
    it(`is judged between others of its connection, ${family}`, async () => {
      const { text } = await exchange(client, ip, PORT, [good, bad, good, bad, bad, good], { pauseMs: 30 });
      assert.equal(text, ok + denied + ok + denied + denied + ok);
      assert.deepEqual(seen, [good + good + good]);
    });
  }

  it("may come byte by byte", async () => {
    assert.equal((await send([...good])).text, ok);
    assert.deepEqual(seen, [good]);
  });

  it("that comes byte by byte is denied where no rule can match any more", async () => {
    assert.deepEqual(await send([...bad], { pauseMs: 2 }), { text: deniedClose, end: "closed" });
    assert.ok("GET /p".startsWith(seen[0]!), seen[0]);
  });

  it("may be cut anywhere", async () => {
    for (let at = 1; at < good.length; at++) assert.equal((await send([good.slice(0, at), good.slice(at)], { quietMs: 2000, enough: ok.length })).text, ok, `at ${at}`); // biome-ignore format: one line
  });

  it("may be one of many in a segment", async () => {
    assert.equal((await send([good.repeat(20)])).text, ok.repeat(20));
  });

  it("with HEAD is denied without a body", async () => {
    const { text } = await send([bad.replace("GET", "HEAD"), bad.replace("GET", "HEAD"), bad], { pauseMs: 20 });
    assert.equal(text, denied.replace("Access denied\r\n", "").repeat(2) + denied);
  });

  it("with Connection: close or HTTP/1.0 is denied and the connection closed", async () => {
    for (const request of [bad.replace(H, `${H}Connection: close\r\n`), "GET /private HTTP/1.0\r\n\r\n"])
      assert.deepEqual(await send([request]), { text: deniedClose, end: "closed" });
  });

  it("whose body was sent with it is kept back whole", async () => {
    const body = `POST /private HTTP/1.1\r\n${H}Content-Length: ${good.length}\r\n\r\n${good}`;
    const chunks = `POST /private HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
    assert.equal((await send([body, good, chunks, good], { pauseMs: 20 })).text, denied + ok + denied + ok);
    assert.deepEqual(seen, [good + good]);
  });

  it("whose body is still to come is denied, and the connection lingers until the client has read that", async () => {
    for (let i = 0; i < 20; i++) {
      const head = `POST /private HTTP/1.1\r\n${H}Content-Length: 300000\r\n\r\n`;
      const { text, end } = await send([head, "x".repeat(100_000), "x".repeat(100_000), "x".repeat(100_000)]);
      assert.deepEqual([text, end], [deniedClose, "closed"]);
    }
    assert.ok(seen.every((bytes) => bytes === ""));
  });

  it("is judged by its Host", async () => {
    node.policy(server.id, [{ direction: "ingress", port: PORT, rules: [{ host: "a\\.example" }] }]);
    assert.equal(
      (await send([good, good.replace("a.example", "b.example"), good], { pauseMs: 20 })).text,
      ok + denied + ok,
    );
  });

  it("is judged by its headers", async () => {
    node.policy(server.id, [
      { direction: "ingress", port: PORT, rules: [{ headers: [{ name: "X-Key", value: "secret" }] }] },
    ]);
    const withKey = (value: string) => good.replace(H, `${H}X-KEY: ${value}\r\n`);
    assert.equal((await send([withKey("secret"), withKey("public"), good, withKey("secret")], { pauseMs: 20 })).text, ok + denied + denied + ok); // biome-ignore format: one line
  });
});

describe("bodies", () => {
  const post = (headers: string) => `POST /public HTTP/1.1\r\n${H}${headers}\r\n`;

  it("of a known length may hold anything", async () => {
    const text = post(`Content-Length: ${bad.length}\r\n`) + bad;
    behaviour = (socket) => {
      let got = 0;
      socket.on("data", (data) => {
        got += data.length;
        if (got === text.length) socket.write(ok);
      });
    };
    assert.equal((await send([text, bad], { pauseMs: 30 })).text, ok + denied);
    assert.deepEqual(seen, [text]);
  });

  it("may be chunked, with extensions and trailers, and cut anywhere", async () => {
    const chunked = `${post("Transfer-Encoding: chunked\r\n")}5;a=b\r\nhello\r\n${bad.length.toString(16)}\r\n${bad}\r\n0\r\nX-Sum: 1\r\n\r\n`;
    behaviour = (socket) => {
      let all = "";
      socket.on("data", (data) => {
        all += data.toString("latin1");
        if (all.length >= chunked.length) socket.write(ok);
      });
    };
    for (let at = 1; at < chunked.length; at += 3)
      assert.equal(
        (await send([chunked.slice(0, at), chunked.slice(at)], { quietMs: 2000, enough: ok.length })).text,
        ok,
        `at ${at}`,
      );
  });
});

describe("a connection", () => {
  it("upgraded to WebSocket is not HTTP any more; one that the server declined still is", async () => {
    const upgrade = `GET /ws HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    behaviour = answering(switching);
    assert.equal((await send([upgrade, "\x81\x05hello", bad], { pauseMs: 30 })).text, switching + switching);
    assert.equal(seen[0], `${upgrade}\x81\x05hello${bad}`);
    behaviour = answering();
    assert.equal((await send([upgrade, bad, good], { pauseMs: 30 })).text, ok + denied + ok);
    assert.equal(seen[1], upgrade + good);
  });

  it("expecting 100-continue sends its body after that", async () => {
    const head = `POST /public HTTP/1.1\r\n${H}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`;
    behaviour = (socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 100 Continue\r\n\r\n"));
      socket.on("data", (data) => data.toString().endsWith("hello") && socket.write(ok));
    };
    assert.equal(
      (await send([head, "hello", bad], { pauseMs: 40 })).text,
      `HTTP/1.1 100 Continue\r\n\r\n${ok}${denied}`,
    );
  });

  it("is judged by newer rules from the next request on", async () => {
    const socket = dial(client, server.ip4, PORT);
    let got = "";
    socket.on("data", (data) => {
      got += data;
    });
    const answered = (text: string) => until(() => got === text);
    socket.write(good);
    await answered(ok);
    node.policy(server.id, [{ direction: "ingress", port: PORT, rules: [{ path: "/private" }] }]);
    socket.write(good);
    await answered(ok + denied);
    socket.write(bad);
    await answered(ok + denied + ok);
    node.policy(server.id, [{ direction: "ingress", port: PORT }]);
    socket.write(good);
    await answered(ok + denied + ok + ok);
    assert.equal(got, ok + denied + ok + ok);
    socket.destroy();
  });

  it("older than its rules finishes what it receives, and is reset at once when it sends", async () => {
    node.policy(server.id, []);
    behaviour = (socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
      setTimeout(() => socket.write("world"), 120);
    };
    const socket = dial(client, server.ip4, PORT);
    let got = "";
    socket.on("data", (data) => {
      got += data;
    });
    socket.write(good);
    await sleep(50);
    node.policy(server.id, [{ direction: "ingress", port: PORT, rules }]);
    await sleep(150);
    assert.ok(got.endsWith("helloworld"), got);
    const reset = once(socket, "error") as Promise<[NodeJS.ErrnoException]>;
    socket.write(good);
    const [error] = await reset;
    assert.equal(error.code, "ECONNRESET");
    assert.deepEqual(seen, [good]);
  });

  it("that begins with a TLS handshake or HTTP/2 is reset, and its port goes to the proxy from then on", async () => {
    for (const [protocol, first] of [
      [2, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
      [1, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ] as const) {
      assert.deepEqual(await send([first]), { text: "", end: "reset" });
      const key = { peer: client.identity, subject: server.id, dport: PORT, direction: 0 };
      assert.equal(node.maps.http_learnt.get(key)?.protocol, protocol);
      assert.deepEqual(statusesOf((await send([good], { quietMs: 100 })).text), []); // nobody listens there in this test
      node.maps.http_learnt.delete(key);
    }
    assert.deepEqual(seen, ["", ""]);
  });

  it("is judged by the client's egress rules just so", async () => {
    node.policy(server.id, []);
    node.policy(client.id, [{ direction: "egress", port: PORT, rules }]);
    assert.equal((await send([good, bad, good], { pauseMs: 20 })).text, ok + denied + ok);
    assert.deepEqual(seen, [good + good]);
  });

  it("of the host to a workload is judged too", async () => {
    const host: Workload = { ...client, ip4: "10.0.0.1", ip6: "fd00::1", netns: node.netns };
    for (const ip of [server.ip4, server.ip6])
      assert.equal((await exchange(host, ip, PORT, [good, bad, good], { pauseMs: 20 })).text, ok + denied + ok);
    assert.deepEqual(seen, [good + good, good + good]);
  });

  it("goes on while its programs are replaced", async () => {
    const socket = dial(client, server.ip4, PORT);
    let got = "";
    socket.on("data", (data) => {
      got += data;
    });
    for (let i = 0; i < 3; i++) {
      socket.write(good);
      await until(() => got === (ok + denied).repeat(i) + ok);
      socket.write(bad);
      node.replacePrograms();
      await until(() => got === (ok + denied).repeat(i + 1));
    }
    assert.equal(got, (ok + denied).repeat(3));
    socket.destroy();
  });
});

describe("events", () => {
  it("tell method, target, host, status and latency of each request", async () => {
    node.events();
    await send([good, bad, `POST /public HTTP/1.1\r\n${H}Content-Length: x\r\n\r\n`], { pauseMs: 30 });
    const events = node.events().map((e) => [e.kindName, e.methodText, e.pathText, e.hostText, e.status, e.request]);
    assert.deepEqual(events, [
      ["REQUEST", "GET", "/public", "a.example", 0, 1],
      ["RESPONSE", "", "", "", 200, 1],
      ["DENIED", "GET", "/private", "a.example", 403, 1],
      ["MALFORMED", "POST", "/public", "a.example", 400, 1],
    ]);
  });
});
