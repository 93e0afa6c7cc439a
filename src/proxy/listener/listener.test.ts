import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, request as httpRequest } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ListenerLimits } from "./options.ts";
import {
  exchange,
  httpFilter,
  listening,
  startProxy,
  startRecordingServer,
  stateOf,
  statusesOf,
  type TestProxy,
} from "./testing.ts";

const publicOnly = stateOf(httpFilter({ path: "/public([/?].*)?" }));
const everything = stateOf({ kind: "allow" });
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

async function withServer(t: TestContext, changes = publicOnly, limits: Partial<ListenerLimits> = {}) {
  const server = await startRecordingServer();
  const proxy = await startProxy(server.port, changes, limits);
  t.after(async () => {
    await proxy.close();
    await server.close();
  });
  return { server, proxy };
}

/** A server of raw TCP whose behaviour the test writes. */
async function withRawServer(
  t: TestContext,
  onConnection: (socket: Socket) => void,
  limits: Partial<ListenerLimits> = {},
) {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    onConnection(socket);
  });
  const port = await listening(server);
  const proxy = await startProxy(port, publicOnly, limits);
  t.after(async () => {
    await proxy.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { proxy, port, sockets };
}

/** An open client; `received()` is all that came so far. */
async function open(proxy: TestProxy) {
  const socket = connect({ host: "127.0.0.1", port: proxy.port, noDelay: true, allowHalfOpen: true });
  let text = "";
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString("latin1");
  });
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  return { socket, received: () => text };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `timed out: ${what}`);
    await sleep(2);
  }
}

describe("the proxy's connections", { timeout: 30_000 }, () => {
  it("open no server connection for a denied request, and go on afterwards", async (t) => {
    const { server, proxy } = await withServer(t);
    let connections = 0;
    server.http.on("connection", () => connections++);
    const client = await open(proxy);
    client.socket.write(get("/private"));
    await until(() => client.received().endsWith("Access denied\r\n"), "403");
    assert.match(
      client.received(),
      /^HTTP\/1\.1 403 Forbidden\r\nContent-Type: text\/plain\r\nContent-Length: 15\r\n\r\nAccess denied\r\n$/,
    );
    assert.equal(connections, 0);
    client.socket.write(get("/public"));
    await until(() => client.received().endsWith("ok"), "200");
    assert.equal(connections, 1);
    client.socket.end();
  });

  it("answer 503 to everything before the first state", async (t) => {
    const server = await startRecordingServer();
    const proxy = await startProxy(server.port, undefined);
    t.after(async () => {
      await proxy.close();
      await server.close();
    });
    assert.deepEqual(statusesOf(await exchange(proxy.port, [get("/public")])), [503]);
    assert.deepEqual(server.requests, []);
  });

  it("keep the order of answers whoever gives them", async (t) => {
    const { server, proxy } = await withServer(t);
    const paths = Array.from({ length: 200 }, (_, i) => (i % 3 === 1 ? "/private" : `/public/${i}`));
    const received = await exchange(proxy.port, [paths.map((path) => get(path)).join("")]);
    assert.deepEqual(
      statusesOf(received),
      paths.map((path) => (path === "/private" ? 403 : 200)),
    );
    assert.deepEqual(
      server.requests,
      paths.filter((path) => path !== "/private").map((path) => `GET ${path}`),
    );
  });

  it("judge each request by the policy of its moment", async (t) => {
    const { proxy } = await withServer(t);
    const client = await open(proxy);
    const ask = async () => {
      const before = client.received().length;
      client.socket.write(get("/public"));
      await until(() => client.received().length > before, "an answer");
      return statusesOf(client.received().slice(before))[0];
    };
    assert.equal(await ask(), 200);
    proxy.apply(stateOf(httpFilter({ path: "/other" })));
    assert.equal(await ask(), 403);
    proxy.apply(stateOf(httpFilter({ path: "/other" }), { kind: "allow" }));
    assert.equal(await ask(), 200);
    proxy.apply(stateOf({ kind: "deny" }, { kind: "allow" }));
    assert.equal(await ask(), 403);
    client.socket.end();
  });

  it("cut a response under way when the policy no longer lets the two talk", async (t) => {
    const { proxy } = await withRawServer(t, (socket) =>
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")),
    );
    const client = await open(proxy);
    client.socket.write(get("/public"));
    await until(() => client.received().endsWith("some"), "the response's start");
    proxy.apply(stateOf());
    await until(() => client.socket.destroyed, "the reset");
  });

  for (const [name, size] of [["64 MB", 64 * 1024 * 1024]] as const) {
    it(`pass ${name} up and down unchanged, in little memory`, async (t) => {
      const block = Buffer.alloc(1024 * 1024, "0123456789abcde\n");
      const up = createHash("sha256");
      const server = createHttpServer((request, response) => {
        request.on("data", (bytes: Buffer) => up.update(bytes));
        request.on("end", () => {
          let left = size / block.length;
          const send = (): void => {
            while (left-- > 0) if (!response.write(block)) return void response.once("drain", send);
            response.end();
          };
          send();
        });
      });
      const port = await listening(server);
      const proxy = await startProxy(port, everything);
      t.after(async () => {
        await proxy.close();
        server.close();
      });
      const expected = createHash("sha256");
      const down = createHash("sha256");
      const request = httpRequest({ port: proxy.port, method: "POST", path: "/", agent: false });
      const finished = once(request, "response").then(async ([response]) => {
        for await (const bytes of response) down.update(bytes as Buffer);
      });
      for (let sent = 0; sent < size; sent += block.length) {
        expected.update(block);
        if (!request.write(block)) await once(request, "drain");
      }
      request.end();
      await finished;
      const digest = expected.digest("hex");
      assert.equal(up.digest("hex"), digest);
      assert.equal(down.digest("hex"), digest);
    });
  }

  it("hold back a server whose client doesn't read", async (t) => {
    let written = 0;
    const { proxy } = await withRawServer(t, (socket) =>
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        const block = Buffer.alloc(65536);
        const send = (): void => {
          while (written < 200e6 && !socket.destroyed) {
            written += block.length;
            if (!socket.write(block)) return void socket.once("drain", send);
          }
        };
        send();
      }),
    );
    const client = connect({ host: "127.0.0.1", port: proxy.port });
    client.write(get("/public"));
    client.pause();
    await sleep(300);
    const before = written;
    await sleep(200);
    assert.equal(written, before, "the server has come to a halt");
    assert.ok(written < 50e6, `${written} bytes taken`);
    client.destroy();
  });

  it("hold back a client whose server doesn't read", async (t) => {
    const { proxy } = await withRawServer(t, (socket) => socket.pause());
    const client = connect({ host: "127.0.0.1", port: proxy.port });
    client.on("error", () => client.destroy());
    client.write("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    let written = 0;
    const block = Buffer.alloc(65536);
    const send = (): void => {
      while (written < 200e6) {
        written += block.length;
        if (!client.write(block)) return void client.once("drain", send);
      }
    };
    send();
    await sleep(300);
    const before = written;
    await sleep(200);
    assert.equal(written, before);
    assert.ok(written < 50e6, `${written} bytes taken`);
    client.destroy();
  });

  it("hold back a client that asks for denials and reads none", async (t) => {
    const { proxy } = await withServer(t);
    const client = connect({ host: "127.0.0.1", port: proxy.port });
    client.pause();
    client.on("error", () => client.destroy());
    const block = Buffer.from(get("/x").repeat(2000));
    let written = 0;
    const send = (): void => {
      while (written < 200e6) {
        written += block.length;
        if (!client.write(block)) return void client.once("drain", send);
      }
    };
    send();
    // How soon the buffers between the two are full depends on what else the machine does.
    for (let before = -1; written !== before && written < 200e6; await sleep(300)) before = written;
    assert.ok(written < 50e6, `${written} bytes were taken`);
    client.destroy();
  });

  it("pass 100 Continue and the body that waits for it", async (t) => {
    const { server, proxy } = await withServer(t);
    const client = await open(proxy);
    client.socket.write("POST /public HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    await until(() => client.received().includes("100 Continue"), "100");
    client.socket.write("hello");
    await until(() => client.received().endsWith("ok"), "200");
    assert.deepEqual(server.requests, ["POST /public"]);
    client.socket.end();
  });

  it("deny a request that expects 100 Continue with 403 and close, as it is unknown whether the body comes", async (t) => {
    const { proxy } = await withServer(t);
    const received = await exchange(
      proxy.port,
      ["POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"],
      { end: false },
    );
    assert.match(received, /^HTTP\/1\.1 403 .*\r\nConnection: close\r\n\r\nAccess denied\r\n$/s);
  });

  it("become opaque after the server's 101, not before", async (t) => {
    let seen = "";
    const { proxy } = await withRawServer(t, (socket) => {
      socket.on("data", (bytes: Buffer) => {
        seen += bytes.toString("latin1");
        if (seen.endsWith("Upgrade: websocket\r\n\r\n"))
          setTimeout(
            () =>
              socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi"),
            50,
          );
      });
      socket.on("end", () => socket.end("bye"));
    });
    const client = await open(proxy);
    const request = get("/public", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    client.socket.write(`${request}\x81\x05early`);
    await sleep(20);
    assert.equal(seen, request, "early bytes wait for the answer");
    await until(() => client.received().endsWith("hi"), "101");
    await until(() => seen.endsWith("early"), "the early bytes");
    client.socket.write("\0\x01binary");
    await until(() => seen.endsWith("\0\x01binary"), "binary up");
    client.socket.end();
    await until(() => client.socket.readableEnded, "the end");
    assert.ok(client.received().endsWith("hibye"));
  });

  it("go on in HTTP when the server declines an upgrade", async (t) => {
    const { proxy } = await withRawServer(t, (socket) =>
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")),
    );
    const upgrade = get("/public", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert.deepEqual(statusesOf(await exchange(proxy.port, [upgrade + get("/private")])), [200, 403]);
  });

  it("tunnel a CONNECT that a rule names, after the server's 2xx", async (t) => {
    let seen = "";
    const { proxy } = await withRawServer(t, (socket) => {
      socket.on("data", (bytes: Buffer) => {
        if (seen === "") socket.write("HTTP/1.1 200 Connected\r\n\r\n");
        seen += bytes.toString("latin1");
      });
      socket.on("end", () => socket.end());
    });
    proxy.apply(stateOf(httpFilter({})));
    assert.deepEqual(statusesOf(await exchange(proxy.port, ["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"])), [403]);
    proxy.apply(stateOf(httpFilter({ method: "CONNECT" })));
    const received = await exchange(proxy.port, ["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "\x16opaque"]);
    assert.deepEqual(statusesOf(received), [200]);
    assert.ok(seen.endsWith("\x16opaque"));
  });

  it("relay bodies that end with the connection, and both half-closes", async (t) => {
    const { proxy } = await withRawServer(t, (socket) => {
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nuntil "));
      socket.on("end", () => socket.end("the end"));
    });
    assert.ok((await exchange(proxy.port, [get("/public")])).endsWith("until the end"));
  });

  const responses: readonly { name: string; method?: string; send: string; statuses: readonly number[] }[] = [
    {
      name: "HEAD with a length",
      method: "HEAD",
      send: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
      statuses: [200, 403],
    },
    { name: "204", send: "HTTP/1.1 204 No Content\r\n\r\n", statuses: [204, 403] },
    {
      name: "304 with a length",
      send: "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
      statuses: [304, 403],
    },
    {
      name: "103 before 200",
      send: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      statuses: [103, 200, 403],
    },
    {
      name: "no reason and no space behind the code",
      send: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
      statuses: [200, 403],
    },
    {
      name: "chunked",
      send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      statuses: [200, 403],
    },
    {
      name: "Connection: close",
      send: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      statuses: [200],
    },
    {
      name: "both framings",
      send: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
      statuses: [502],
    },
    { name: "bare LF", send: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", statuses: [502] },
    { name: "nonsense", send: "220 mail.example ESMTP\r\n", statuses: [502] },
    { name: "an unasked 101", send: "HTTP/1.1 101 Switching Protocols\r\n\r\n", statuses: [502] },
    {
      name: "two answers to one request",
      send: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
      statuses: [200],
    },
  ];
  for (const { name, method = "GET", send, statuses } of responses) {
    it(`understand a response: ${name}`, async (t) => {
      for (const pieces of [[send], [...send]]) {
        const { proxy } = await withRawServer(t, (socket) => {
          socket.once("data", () => {
            const next = (i: number): void => {
              if (i < pieces.length && !socket.destroyed) socket.write(pieces[i]!, () => setImmediate(next, i + 1));
            };
            next(0);
          });
        });
        const client = await open(proxy);
        client.socket.write(`${method} /public HTTP/1.1\r\nHost: a\r\n\r\n`);
        const last = statuses.at(-1);
        const first = last === 403 ? statuses.slice(0, -1) : statuses;
        await until(() => statusesOf(client.received()).length >= first.length, "the answer");
        if (last === 403) {
          await until(() => !send.includes("chunked") || client.received().endsWith("0\r\n\r\n"), "the body");
          client.socket.write(get("/private"));
          await until(() => client.received().endsWith("Access denied\r\n"), "the next answer");
          client.socket.end();
        } else await until(() => client.socket.readableEnded || client.socket.destroyed, "the end");
        assert.deepEqual(statusesOf(client.received()), statuses);
        assert.ok(!client.received().includes("poison"));
        client.socket.destroy();
      }
    });
  }

  it("say 503 when the server refuses, 502 when it hangs up, 504 when it doesn't answer", async (t) => {
    const gone = createServer();
    const port = await listening(gone);
    await new Promise((resolve) => gone.close(resolve));
    const proxy = await startProxy(port, publicOnly);
    t.after(() => proxy.close());
    const refused = await exchange(proxy.port, [get("/public")]);
    assert.match(refused, /^HTTP\/1\.1 503 /);
    assert.ok(refused.includes(`no connection to 127.0.0.1:${port}: ECONNREFUSED`), refused);
    const hangup = await withRawServer(t, (socket) => socket.once("data", () => socket.end()));
    assert.match(
      await exchange(hangup.proxy.port, [get("/public")]),
      /^HTTP\/1\.1 502 .*closed the connection without an answer/s,
    );
    const reset = await withRawServer(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    assert.match(await exchange(reset.proxy.port, [get("/public")]), /^HTTP\/1\.1 502 .*ECONNRESET/s);
    const error = proxy.records().find((record) => record.verdict === "ERROR");
    assert.equal(error?.status, 503);
  });

  it("end a head that takes too long with 408, and a connection that idles", async (t) => {
    const { proxy } = await withServer(t, publicOnly, { headTimeoutMs: 300, idleTimeoutMs: 600, lingerTimeoutMs: 100 });
    assert.deepEqual(statusesOf(await exchange(proxy.port, ["GET /public HTT"], { end: false })), [408]);
    assert.equal(await exchange(proxy.port, [], { end: false }), "");
  });

  it("close the server connection when the client resets, and the client when the server does", async (t) => {
    const { proxy, sockets } = await withRawServer(t, (socket) => socket.on("data", () => undefined));
    const client = await open(proxy);
    client.socket.write(get("/public"));
    await until(() => sockets.size === 1, "the server connection");
    const [server] = sockets;
    await sleep(20);
    client.socket.resetAndDestroy();
    await until(() => server!.destroyed, "the server side to go");
    await until(() => proxy.listener.status().connections === 0, "the connection to go");
  });

  it("refuse what nobody redirected to them", async () => {
    const { createListener } = await import("./listener.ts");
    const { AccessLog } = await import("./access-log.ts");
    const { PolicyStore } = await import("#proxy/policy");
    const unreachable = () => assert.fail("must not connect");
    const listener = createListener({
      policy: new PolicyStore(),
      log: new AccessLog(),
      originalDestination: () => undefined,
      connectUpstream: unreachable,
    });
    const server = createServer((socket) => listener.accept(socket));
    const port = await listening(server);
    assert.equal(await exchange(port, [get("/public")]), "");
    server.close();
  });

  it("drain: requests under way are answered, idle connections end", async (t) => {
    const { proxy } = await withRawServer(t, (socket) =>
      socket.once("data", () => setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 100)),
    );
    const quiet = await open(proxy);
    const busy = await open(proxy);
    busy.socket.write(get("/public"));
    await until(
      () => proxy.listener.status().connections === 2 && proxy.listener.status().permittedTotal === 1,
      "both",
    );
    for (const { socket } of [quiet, busy]) socket.on("end", () => socket.end());
    await proxy.listener.drain(3000);
    assert.deepEqual(statusesOf(busy.received()), [200]);
    assert.equal(quiet.received(), "");
  });

  it("record request, response, denial and malformed head, with addresses, rules and the nearest rule", async (t) => {
    const { proxy, server } = await withServer(
      t,
      stateOf(
        httpFilter(
          { method: "GET", path: "/public" },
          { method: "POST", path: "/api/.*", headers: [{ name: "X-Key", value: "secret" }] },
        ),
      ),
    );
    await exchange(proxy.port, [`${get("/public")}${get("/private")}BAD\r\n\r\n`]);
    const records = proxy.records();
    assert.deepEqual(
      records.map(({ kind, verdict, status, path }) => ({ kind, verdict, status, path })),
      [
        { kind: "request", verdict: "FORWARDED", status: 0, path: "/public" },
        { kind: "response", verdict: "FORWARDED", status: 200, path: "/public" },
        { kind: "denied", verdict: "DROPPED", status: 403, path: "/private" },
        { kind: "malformed", verdict: "DROPPED", status: 400, path: "" },
      ],
    );
    const [request, response, denied, malformed] = records;
    assert.deepEqual(
      request!.rules.map((ref) => ref.path),
      ["spec", "http[0]"],
    );
    assert.deepEqual(request!.destination, { address: "127.0.0.1", port: server.port, identity: 1000, endpoint: 7 });
    assert.equal(request!.source.address, "127.0.0.1");
    assert.equal(request!.direction, "ingress");
    assert.ok(response!.latencyNs > 1000);
    const { ref, ...nearest } = denied!.nearest!;
    assert.equal(ref.path, "http[0]");
    assert.deepEqual(nearest, { field: "path", expected: "/public", found: "/private" });
    assert.match(malformed!.reason, /request line|control|method/);
    await exchange(proxy.port, ["POST /api/x HTTP/1.1\r\nHost: a\r\nX-Key: wrong\r\nContent-Length: 0\r\n\r\n"]);
    const [header] = proxy.records();
    assert.equal(header!.nearest!.field, "header x-key");
    assert.ok(
      !JSON.stringify(header).includes("wrong") && !JSON.stringify(header).includes("secret"),
      "no header values",
    );
  });

  it("count the records they could not keep", async (t) => {
    const server = await startRecordingServer();
    const proxy = await startProxy(server.port, publicOnly, {}, 10);
    t.after(async () => {
      await proxy.close();
      await server.close();
    });
    await exchange(proxy.port, [get("/private").repeat(25)]);
    assert.equal(proxy.records().length, 10);
    await exchange(proxy.port, [get("/private").repeat(5)]);
    assert.equal(proxy.records().length, 5, "room again");
  });
});
