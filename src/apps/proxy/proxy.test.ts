/** The proxy as a process of its own: control, agents that come and go, records, shutdown. Not transparent here: needs no root. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AccessLogRecord,
  connectProxy,
  formatMessage,
  type ProxyClient,
  type StateChange,
} from "#contracts/proxy";
import type { PolicySetId } from "#core/model";
import { exchange, httpFilter, startRecordingServer, stateOf, statusesOf } from "#proxy/listener/testing";
import type { ProxyReady } from "./index.ts";

const root = join(import.meta.dirname, "../../..");
const program =
  'import { runProxy } from "#apps/proxy"; process.exitCode = await runProxy(process.argv.slice(1), process.env);';
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const publicOnly = stateOf(httpFilter({ path: "/public" }));

interface Running {
  readonly ready: ProxyReady;
  readonly port: number;
  readonly child: ChildProcess;
  agent(): { readonly client: ProxyClient; readonly records: AccessLogRecord[]; lost(): number; welcomed(): boolean };
  ask(path: string): Promise<number | undefined>;
}

async function start(t: TestContext, ...args: string[]): Promise<Running> {
  const server = await startRecordingServer();
  const dir = mkdtempSync(join(tmpdir(), `tsilium-proxy-test-${process.pid}-`));
  const child = spawn(
    process.execPath,
    [
      "--conditions=development",
      "--input-type=module",
      "-e",
      program,
      "--",
      "--destination",
      `127.0.0.1:${server.port}`,
      "--control",
      join(dir, "proxy.sock"),
      ...args,
    ],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, TSILIUM_LOG_LEVEL: "error" } },
  );
  const clients: ProxyClient[] = [];
  t.after(async () => {
    for (const client of clients) client.close();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await server.close();
    rmSync(dir, { recursive: true });
  });
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  const ready = JSON.parse(line) as ProxyReady;
  const port = ready.listeners[0]!.port;
  return {
    ready,
    port,
    child,
    agent() {
      const records: AccessLogRecord[] = [];
      let lost = 0;
      let welcomed = false;
      const client = connectProxy({
        path: ready.controlSocket,
        retryMs: 20,
        onRecords: (more, lostMore) => {
          records.push(...more);
          lost += lostMore;
        },
        onSession: (welcome) => {
          welcomed = welcome !== undefined;
        },
      });
      clients.push(client);
      return { client, records, lost: () => lost, welcomed: () => welcomed };
    },
    ask: async (path) => statusesOf(await exchange(port, [get(path)]))[0],
  };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `timed out: ${what}`);
    await sleep(5);
  }
}

/** A session of hand-written messages. */
async function rawSession(path: string) {
  const socket = connect({ path });
  let text = "";
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  return { socket, text: () => text };
}

describe("the proxy process", { timeout: 60_000 }, () => {
  it("refuses everything until an agent has committed a state", async (t) => {
    const proxy = await start(t);
    assert.equal(await proxy.ask("/public"), 503);
    const { client } = proxy.agent();
    assert.deepEqual(await client.commit(publicOnly), { kind: "applied", revision: 1 });
    assert.equal(await proxy.ask("/public"), 200);
    assert.equal(await proxy.ask("/other"), 403);
    const status = await client.status();
    assert.equal(status?.revision, 1);
    assert.equal(status?.deniedTotal, 2);
  });

  it("goes on judging when the agent is gone, keeps the records, and gives them to the next agent", async (t) => {
    const proxy = await start(t);
    const first = proxy.agent();
    await first.client.commit(publicOnly);
    first.client.close();
    await sleep(50);
    assert.equal(await proxy.ask("/public"), 200);
    assert.equal(await proxy.ask("/other"), 403);
    const second = proxy.agent();
    await until(() => second.records.length === 3, "the records");
    assert.deepEqual(
      second.records.map((record) => record.kind),
      ["request", "response", "denied"],
    );
    assert.equal(second.lost(), 0);
  });

  it("keeps the old state in force until a new agent's first commit, which replaces all of it", async (t) => {
    const proxy = await start(t);
    const first = proxy.agent();
    await first.client.commit(publicOnly);
    first.client.close();
    await sleep(50);
    const session = await rawSession(proxy.ready.controlSocket);
    const [set, endpoint] = stateOf(httpFilter({ path: "/new" }));
    session.socket.write(formatMessage(set!));
    await sleep(50);
    assert.equal(await proxy.ask("/public"), 200, "staged is not in force");
    session.socket.write(formatMessage({ kind: "commit", revision: 1 }));
    await until(() => session.text().includes('"ack"'), "the ack");
    assert.equal(await proxy.ask("/new"), 403, "the endpoint was not put again, so it is gone");
    session.socket.write(formatMessage(endpoint!) + formatMessage({ kind: "commit", revision: 2 }));
    await until(() => session.text().includes('"revision":2'), "the second ack");
    assert.equal(await proxy.ask("/new"), 200);
    assert.equal(await proxy.ask("/public"), 403);
    session.socket.destroy();
  });

  it("refuses a second agent while there is one", async (t) => {
    const proxy = await start(t);
    await proxy.agent().client.commit(publicOnly);
    const second = await rawSession(proxy.ready.controlSocket);
    await until(() => second.socket.destroyed || second.socket.readableEnded, "the end");
    assert.match(second.text(), /"refused".*another agent/);
    second.socket.destroy();
  });

  const badChanges: readonly { name: string; change: StateChange; path: RegExp }[] = [
    {
      name: "a broken expression",
      change: stateOf(httpFilter({ path: "/a(" }))[0]!,
      path: /sets\[1\]\.filters\[1\].l7\.rules\[0\]\.path/,
    },
    {
      name: "look-ahead, which RE2 has not",
      change: stateOf(httpFilter({ host: "(?=a)" }))[0]!,
      path: /rules\[0\]\.host/,
    },
    { name: "an l7 filter without rules", change: stateOf({ kind: "l7" })[0]!, path: /filters\[1\]\.l7/ },
    { name: "a port range upside down", change: stateOf({ port: 80, endPort: 70 })[0]!, path: /filters\[1\]\.endPort/ },
    {
      name: "a bad prefix",
      change: { kind: "put-ipcache", entries: [{ prefix: "10.0.0.0/33", identity: 9 as never }] },
      path: /ipcache/,
    },
  ];
  it("applies a commit as a whole or not at all", async (t) => {
    const proxy = await start(t);
    const { client } = proxy.agent();
    await client.commit(publicOnly);
    for (const { name, change, path } of badChanges) {
      const commit = await client.commit([{ kind: "delete-set", id: 1 as PolicySetId }, change]);
      assert.equal(commit.kind, "refused", name);
      assert.match(commit.kind === "refused" ? commit.problems[0]!.path : "", path, name);
      assert.equal(await proxy.ask("/public"), 200, name);
    }
    assert.equal((await client.commit([{ kind: "delete-set", id: 1 as PolicySetId }])).kind, "applied");
    assert.equal(await proxy.ask("/public"), 403);
  });

  it("ends a session whose messages make no sense, and keeps the state", async (t) => {
    const proxy = await start(t);
    const first = proxy.agent();
    await first.client.commit(publicOnly);
    first.client.close();
    await sleep(50);
    for (const line of [
      "nonsense\n",
      '{"kind":"put-set"}\n',
      '{"kind":"put-set","set":{"id":1,"filters":[{"kind":"l7","l7":7}]}}\n{"kind":"commit","revision":9}\n',
    ]) {
      const session = await rawSession(proxy.ready.controlSocket);
      session.socket.write(line);
      await until(
        () => session.socket.destroyed || session.socket.readableEnded || session.text().includes("nack"),
        line,
      );
      session.socket.destroy();
      await sleep(30);
      assert.equal(await proxy.ask("/public"), 200, line);
    }
  });

  it("counts exactly the records it lost while the agent was away", async (t) => {
    const proxy = await start(t);
    const first = proxy.agent();
    await first.client.commit(publicOnly);
    first.client.close();
    await sleep(50);
    const total = 20_000;
    for (let sent = 0; sent < total; sent += 5000) await exchange(proxy.port, [get("/other").repeat(5000)]);
    const second = proxy.agent();
    await until(() => second.records.length + second.lost() >= total, "all records");
    assert.equal(second.records.length + second.lost(), total);
    assert.ok(second.lost() > 0);
    assert.equal((await second.client.status())?.recordsLostTotal, second.lost());
  });

  it("brings the state to a proxy that was restarted", async (t) => {
    const proxy = await start(t);
    const agent = proxy.agent();
    await until(() => agent.welcomed(), "the session");
    await agent.client.commit(publicOnly);
    await agent.client.commit(stateOf(httpFilter({ path: "/second" })));
    // The same socket path, another process: what a supervisor does.
    proxy.child.kill("SIGKILL");
    await once(proxy.child, "exit");
    const again = spawn(process.execPath, [...proxy.child.spawnargs.slice(1), "--port", String(proxy.port)], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, TSILIUM_LOG_LEVEL: "error" },
    });
    t.after(() => again.kill("SIGKILL"));
    await once(createInterface(again.stdout!), "line");
    await until(() => agent.welcomed(), "the new session");
    await agent.client.status();
    assert.equal(await proxy.ask("/second"), 200);
    assert.equal(await proxy.ask("/public"), 403);
  });

  it("drains on SIGTERM and exits with 0", async (t) => {
    const proxy = await start(t);
    await proxy.agent().client.commit(publicOnly);
    const idle = connect({ host: "127.0.0.1", port: proxy.port });
    await once(idle, "connect");
    idle.resume();
    proxy.child.kill("SIGTERM");
    const [code] = (await once(proxy.child, "exit")) as [number];
    assert.equal(code, 0);
    idle.destroy();
  });

  it("answers bad arguments with its usage and 2", async () => {
    for (const args of [["--port", "x"], ["--nonsense"]]) {
      const child = spawn(
        process.execPath,
        ["--conditions=development", "--input-type=module", "-e", program, "--", ...args],
        { cwd: root, stdio: ["ignore", "ignore", "pipe"] },
      );
      let text = "";
      child.stderr.on("data", (bytes: Buffer) => {
        text += bytes.toString();
      });
      const [code] = (await once(child, "exit")) as [number];
      assert.equal(code, 2);
      assert.match(text, /usage: tsilium proxy/);
    }
  });
});
