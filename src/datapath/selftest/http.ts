/** Does judging HTTP in the kernel work on this very kernel? Tried with real sockets, before anything is trusted to it. */
import { once } from "node:events";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatAddress } from "#core/model";
import { errorMessage } from "#core/runtime";
import { type Kernel, openConnector, openListener, sendFile } from "#datapath/linux";
import { openTestbed, type Testbed } from "./testbed.ts";

/** What the test came to. */
export interface HttpSelfTest {
  /** What went wrong; undefined: everything was as it has to be. */
  readonly problem?: string;
  readonly tookMs: number;
}

const head = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const good = head("/public");
const bad = head("/private");
const rules = [{ path: "/public" }] as const;
/** Bytes of a body each way. */
const bodyBytes = 1_000_000;
const stepMs = 2000;

/**
 * Runs the checks in namespaces of their own, for about half a second, most of it for loading the programs; five seconds at
 * most. Never throws: what it can't do is a problem.
 */
export async function testKernelHttp(kernel: Kernel, objectDirectory: string): Promise<HttpSelfTest> {
  const began = performance.now();
  const took = () => ({ tookMs: Math.round(performance.now() - began) });
  let bed: Testbed | undefined;
  try {
    bed = openTestbed({ kernel, objectDirectory, rules });
    for (const [what, check] of Object.entries(checks)) {
      const problem = await check(bed);
      if (problem !== undefined) return { problem: `${what}: ${problem}`, ...took() };
    }
    return took();
  } catch (error) {
    return { problem: errorMessage(error), ...took() };
  } finally {
    bed?.close();
  }
}

type Check = (bed: Testbed) => Promise<string | undefined>;

const checks: Readonly<Record<string, Check>> = {
  "requests over IPv4": (bed) => judged(bed, "ipv4", (text) => [text]),
  "requests over IPv6": (bed) => judged(bed, "ipv6", (text) => [text]),
  // Of a denied head in pieces the server may see those that came before it was denied.
  "allowed heads byte by byte": (bed) => judged(bed, "ipv4", (text) => (text === good ? text : [text])),
  "a body from the client": upload,
  "a body from the server": download,
  "a page changed after it was judged": changedPage,
};

/** An allowed request, a denied one, an allowed one on the same connection; `cut` says in which pieces each is written. */
async function judged(
  bed: Testbed,
  family: "ipv4" | "ipv6",
  cut: (text: string) => Iterable<string>,
): Promise<string | undefined> {
  const server = await listen(bed, family);
  try {
    const client = connect(bed, family);
    const answers = collect(client);
    for (const [i, request] of [good, bad, good].entries()) {
      for (const piece of cut(request)) await new Promise<void>((done) => client.write(piece, () => done()));
      await until(() => answers().split("HTTP/1.1 ").length > i + 1 || client.destroyed);
      if (client.destroyed) break;
    }
    client.destroy();
    if (server.seen().includes("/priv")) return "the server saw the denied request";
    if (server.seen() !== good + good) return "the server did not see the allowed requests and nothing else";
    const statuses = [...answers().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
    return statuses.join() === "200,403,200"
      ? undefined
      : `the answers were ${statuses.join()} in place of 200,403,200`;
  } finally {
    server.close();
  }
}

async function upload(bed: Testbed): Promise<string | undefined> {
  const server = await listen(bed, "ipv4");
  try {
    const client = connect(bed, "ipv4");
    const body = Buffer.alloc(bodyBytes, 0x61);
    const request = Buffer.from(head("/public", `Content-Length: ${bodyBytes}\r\n`));
    client.write(Buffer.concat([request, body]));
    await until(() => server.bytes() >= request.length + bodyBytes || client.destroyed);
    client.destroy();
    return server.seen().endsWith(body.toString("latin1"))
      ? undefined
      : `${server.bytes()} bytes arrived, or other ones`;
  } finally {
    server.close();
  }
}

async function download(bed: Testbed): Promise<string | undefined> {
  const body = Buffer.alloc(bodyBytes, 0x62);
  const server = await listen(bed, "ipv4", body);
  try {
    const client = connect(bed, "ipv4");
    const answers = collect(client);
    client.write(good);
    await until(() => answers().length > bodyBytes || client.destroyed);
    client.destroy();
    return answers().endsWith(body.toString("latin1")) ? undefined : `${answers().length} bytes arrived, or other ones`;
  } finally {
    server.close();
  }
}

/** The client sends a page of a file, and changes it while it waits in the server's socket. */
async function changedPage(bed: Testbed): Promise<string | undefined> {
  const server = await listen(bed, "ipv4", undefined, true);
  const directory = mkdtempSync(join(tmpdir(), "tsilium-"));
  const file = openSync(join(directory, "page"), "w+");
  try {
    const fd = openConnector(bed.client.ipv4, { netns: bed.client.netns });
    const client = new Socket({ fd });
    client.on("error", () => undefined);
    client.connect({ host: formatAddress(bed.server.ipv4), port: bed.port });
    await Promise.race([once(client, "connect"), limit()]);
    const before = head("/public", "X: 1\r\n");
    const after = head("/private", "X:\r\n");
    writeSync(file, before, 0);
    ftruncateSync(file, before.length);
    sendFile(fd, file, before.length);
    await until(() => server.waiting() > 0);
    // Time for the packet to get there; then it must be out of the sender's reach.
    await new Promise((resolve) => setTimeout(resolve, 20));
    writeSync(file, after.padEnd(before.length), 0);
    server.resume();
    await until(() => server.bytes() > 0);
    client.destroy();
    if (server.seen().includes("/private")) return "the server saw what was never judged";
    return server.bytes() > 0 ? undefined : "the request did not arrive";
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true, force: true });
    server.close();
  }
}

/** A server that answers each head, and remembers all it was sent. */
async function listen(bed: Testbed, family: "ipv4" | "ipv6", body: Buffer = Buffer.from("ok"), paused = false) {
  const parts: Buffer[] = [];
  const sockets: Socket[] = [];
  let heads = 0;
  const answer = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
  const server: Server = createServer({ pauseOnConnect: paused }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => {
      parts.push(data);
      const complete = Buffer.concat(parts).toString("latin1").split("\r\n\r\n").length - 1;
      for (; heads < complete; heads++) socket.write(answer);
    });
    if (paused) socket.pause();
  });
  const { fd } = openListener({ address: bed.server[family], port: bed.port }, { netns: bed.server.netns });
  server.listen({ fd });
  await once(server, "listening");
  return {
    seen: () => Buffer.concat(parts).toString("latin1"),
    bytes: () => parts.reduce((sum, part) => sum + part.length, 0),
    waiting: () => sockets.length,
    resume: () => {
      for (const socket of sockets) socket.resume();
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function connect(bed: Testbed, family: "ipv4" | "ipv6"): Socket {
  const client = new Socket({ fd: openConnector(bed.client[family], { netns: bed.client.netns }) });
  client.on("error", () => undefined);
  client.setNoDelay(true);
  client.connect({ host: formatAddress(bed.server[family]), port: bed.port });
  return client;
}

function collect(socket: Socket): () => string {
  const parts: Buffer[] = [];
  socket.on("data", (data: Buffer) => parts.push(data));
  return () => Buffer.concat(parts).toString("latin1");
}

const limit = () => new Promise<void>((resolve) => setTimeout(resolve, stepMs).unref());

async function until(done: () => boolean): Promise<void> {
  for (const deadline = performance.now() + stepMs; !done() && performance.now() < deadline; )
    await new Promise((resolve) => setTimeout(resolve, 1));
}
