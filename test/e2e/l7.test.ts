/** HTTP rules over the whole way: workloads, host and world; peers that others wrote (curl, Python); large, slow, broken and many. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { TestNode, type TestWorkload, worldAddresses } from "./node.ts";

const { node4, node6, world4, world6 } = worldAddresses;
const families = [4, 6] as const;

const ingress = (paths: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{path: "/(${paths}).*"}]}
  - fromEntities: [host, world]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{path: "/ok.*"}]}
`;
const usual = "ok|bytes|empty|unmodified|last|reset|slow|tunnel|upload|ingress";
const egress = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: client, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{path: "/(ok|bytes|empty|unmodified|last|reset|slow|tunnel|upload|egress).*"}]}
  - toEntities: [world]
    toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{path: "/(ok|bytes).*"}]}
`;

describe("HTTP rules over real connections", () => {
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;
  const children: ChildProcess[] = [];

  const serve = (netns: string, port: number) =>
    new Promise<void>((resolve, reject) => {
      const script = join(import.meta.dirname, "http_peer.py");
      const child = spawn("nsenter", [`--net=/run/netns/${netns}`, "python3", script, String(port)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.push(child);
      child.stdout.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`the HTTP server ended with ${code}`)));
    });

  /** A shell command in a namespace; what it printed, errors included. */
  const shell = (netns: string, command: string) =>
    new Promise<string>((resolve) => {
      const child = spawn("nsenter", [`--net=/run/netns/${netns}`, "bash", "-c", command]);
      let output = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (bytes: Buffer) => {
          output += bytes.toString();
        });
      child.once("close", () => resolve(output.trim()));
    });
  const inClient = (command: string) => shell(client.workload.netnsName, command);
  const proxyPid = async () => (await node.client.status()).proxy.pid ?? 0;
  const status = (pid: number, field: string) =>
    Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

  before(async () => {
    node = await TestNode.start();
    [web, client] = await Promise.all([node.workload("web"), node.workload("client")]);
    await Promise.all([serve(web.workload.netnsName, 80), serve(node.worldNetns, 8080)]);
    await node.apply(`${ingress(usual)}---\n${egress}`);
    await shell(
      node.worldNetns,
      `ip route add 10.217.0.0/24 via ${node4}; ip -6 route add fd10:217::/112 via ${node6}`,
    );
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    assert.deepEqual(await node?.close(), []);
  });

  test("on every way the server sees the client's address, and what no rule names is refused", async () => {
    const worldUrl = { 4: `http://${world4}:8080`, 6: `http://[${world6}]:8080` };
    const host = { 4: "10.217.0.1", 6: "fd10:217::1" };
    for (const family of families) {
      const rows = [
        ["workload", client.workload.netnsName, web.url(family, 80, ""), family === 4 ? client.ipv4 : client.ipv6],
        ["host", node.netns, web.url(family, 80, ""), host[family]],
        ["world", node.worldNetns, web.url(family, 80, ""), family === 4 ? world4 : world6],
        ["workload to the world", client.workload.netnsName, worldUrl[family], family === 4 ? node4 : node6],
      ] as const;
      for (const [what, from, url, seen] of rows) {
        const ask = (path: string) => shell(from, `curl -sS -m 5 -w '%{http_code} %{remote_ip}' '${url}${path}'`);
        const remote = new URL(url).hostname.replace(/[[\]]/g, "");
        assert.equal(await ask("/ok"), `${seen} /ok\n200 ${remote}`, `${what}, IPv${family}`);
        assert.match(await ask("/other"), new RegExp(`^Access denied\\s+403 ${remote}$`), `${what}, IPv${family}`);
      }
    }
    // Egress and ingress rules both have a say.
    for (const path of ["/egress", "/ingress"])
      assert.match(await inClient(`curl -sS -m 5 -w ' %{http_code}' ${web.url(4, 80, path)}`), / 403$/, path);
  });

  test("exchanges of every kind arrive as they would without a proxy", async () => {
    const sum = createHash("sha256").update(Buffer.alloc(3_000_000)).digest("hex");
    const upload = "head -c 3000000 /dev/zero | curl -sS -m 10 --data-binary @-";
    const raw = (request: string, then = "") =>
      `python3 -c "
import socket
s = socket.create_connection(('HOST', 80)); s.settimeout(5)
s.sendall(b'${request}')
${then}
got = b''
while part := s.recv(65536): got += part
print(got.decode())"`;
    const get = (path: string, fields = "") => `GET ${path} HTTP/1.1\\r\\nHost: x\\r\\n${fields}\\r\\n`;
    const rows: readonly (readonly [string, string, RegExp])[] = [
      ["HEAD", "curl -sS -m 5 -I URL/bytes/100", /^HTTP\/1\.1 200 OK[\s\S]*Content-Length: 100/],
      ["204", "curl -sS -m 5 -w %{http_code} URL/empty", /^204$/],
      ["304", "curl -sS -m 5 -w %{http_code} URL/unmodified", /^304$/],
      ["connection closed by the server", "curl -sS -m 5 URL/last", /^bye$/],
      ["reset by the server", "curl -sS -m 5 -w ' %{http_code}' URL/reset", / 502$/],
      ["a server that takes its time", "curl -sS -m 5 URL/slow", /^hello$/],
      ["one connection for all, the refused one too", "curl -sS -m 5 -o /dev/null -w '%{http_code}/%{num_connects} ' URL/ok1 -o /dev/null URL/other -o /dev/null URL/ok2", /^200\/1 403\/0 200\/0$/], // biome-ignore format: a row
      ["100-continue", `${upload} -H 'Expect: 100-continue' URL/upload`, new RegExp(`^${sum} 3000000$`)],
      ["chunks", `${upload} -H 'Transfer-Encoding: chunked' URL/upload`, new RegExp(`^${sum} 3000000$`)],
      ["pipelined, the second refused", raw(get("/ok1") + get("/other") + get("/ok2", "Connection: close\\r\\n")), /200 OK[\s\S]* \/ok1[\s\S]*403 Forbidden[\s\S]*Access denied[\s\S]*200 OK[\s\S]* \/ok2/], // biome-ignore format: a row
      ["half closed", raw(get("/slow"), "s.shutdown(socket.SHUT_WR)"), /hello/],
      ["another protocol", raw(get("/tunnel", "Connection: Upgrade\\r\\nUpgrade: echo\\r\\n"), "s.sendall(b'over there'); s.shutdown(socket.SHUT_WR)"), /101 Switching[\s\S]*over there/], // biome-ignore format: a row
      ["a client that takes its time", raw("G", `import time
for letter in b'ET /ok HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n': time.sleep(0.01); s.sendall(bytes([letter]))`), /200 OK/], // biome-ignore format: a row
    ];
    for (const family of families)
      for (const [what, command, expected] of rows) {
        const host = family === 4 ? web.ipv4 : web.ipv6;
        const text = command.replaceAll("URL", web.url(family, 80, "")).replaceAll("HOST", host);
        assert.match(await inClient(text), expected, `${what}, IPv${family}`);
      }
  });

  test("a gigabyte each way arrives whole, while the proxy's memory stays bounded", async () => {
    const pid = await proxyPid();
    const before = status(pid, "VmRSS");
    const size = 2 ** 30;
    const down = inClient(`curl -sS -m 60 ${web.url(4, 80, `/bytes/${size}`)} | sha256sum`);
    const up = inClient(
      `head -c ${size} /dev/zero | curl -sS -m 60 -T - -X POST -H 'Content-Length: ${size}' -H 'Transfer-Encoding:' -H 'Expect:' ${web.url(6, 80, "/upload")}`,
    );
    const hash = (block: Buffer) => {
      const digest = createHash("sha256");
      for (let sent = 0; sent < size; sent += block.length) digest.update(block);
      return digest.digest("hex");
    };
    const slow = inClient(`curl -sS -m 3 --limit-rate 100k -o /dev/null ${web.url(4, 80, `/bytes/${size}`)}`);
    assert.equal(await down, `${hash(Buffer.from(Array.from({ length: 2 ** 20 }, (_, i) => i & 255)))}  -`);
    assert.equal(await up, `${hash(Buffer.alloc(2 ** 20))} ${size}`);
    assert.match(await slow, /timed out/);
    const peak = status(pid, "VmHWM");
    assert.ok(peak - before < 200_000, `from ${before} kB to ${peak} kB`);
  });

  test("two hundred connections at a time, and the proxy has let go of all of them afterwards", async () => {
    const pid = await proxyPid();
    const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
    const before = descriptors();
    const codes = await inClient(
      `curl -sS -Z --no-progress-meter --parallel-immediate --parallel-max 200 -m 20 -H 'Connection: close' -o /dev/null -w '%{http_code}\\n' '${web.url(4, 80, "/ok")}?[1-1000]' -o /dev/null '${web.url(6, 80, "/other")}?[1-1000]'`,
    );
    const counts: Record<string, number> = {};
    for (const code of codes.split("\n")) counts[code] = (counts[code] ?? 0) + 1;
    assert.deepEqual(counts, { 200: 1000, 403: 1000 });
    for (let i = 0; i < 100 && descriptors() > before + 5; i++) await delay(50);
    assert.ok(descriptors() <= before + 5, `${before} descriptors before, ${descriptors()} after`);
  });

  test("when no port is left towards a server, clients are told; when there are some again, they are served", async () => {
    const range = (ports: string) => shell(node.netns, `sysctl -qw net.ipv4.ip_local_port_range='${ports}'`);
    const former = await shell(node.netns, "sysctl -n net.ipv4.ip_local_port_range");
    // Ports that nothing has used before: one that lingers in TIME_WAIT is not free.
    await range("20000 20009");
    const held = `python3 -c "
import socket
all = [socket.create_connection(('${web.ipv4}', 80), 3) for _ in range(30)]
seen = {}
for s in all:
    s.settimeout(5); s.sendall(b'GET /ok HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    status = s.recv(12).decode()[9:]; seen[status] = seen.get(status, 0) + 1
print(sorted(seen.items()))"`;
    try {
      assert.equal(await inClient(held), "[('200', 10), ('503', 20)]");
    } finally {
      await range(former);
    }
    assert.match(await inClient(`curl -sS -m 5 -w %{http_code} -o /dev/null ${web.url(4, 80, "/ok")}`), /^200$/);
  });

  test("a policy change holds from the next request on, on connections that stay open", async () => {
    const { connection = 0 } = await client.tell({ op: "connect", host: web.ipv4, port: 80 });
    const ask = async () => {
      const text = "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n";
      return /HTTP\/1.1 (\d+)/.exec((await client.tell({ op: "echo", connection, text })).text ?? "")?.[1];
    };
    assert.equal(await ask(), "200");
    await node.apply(ingress("elsewhere"));
    assert.equal(await ask(), "403");
    await node.apply(ingress(usual));
    assert.equal(await ask(), "200");
  });

  test("the proxy killed in the middle: what it carried ends, nothing gets past its place, and it is soon back", async () => {
    const former = await proxyPid();
    const size = 2 ** 32;
    const transfer = inClient(`curl -sS -m 20 ${web.url(4, 80, `/bytes/${size}`)} | wc -c`);
    const ask = (path: string) =>
      inClient(
        `for i in $(seq 40); do curl -s -o /dev/null -m 1 -w '%{http_code} ' ${web.url(4, 80, path)}; sleep 0.05; done`,
      );
    const [allowed, refused] = [ask("/ok"), ask("/other")];
    await delay(700);
    process.kill(former, "SIGKILL");
    const carried = Number(/\d+$/.exec(await transfer)?.[0]);
    assert.ok(carried > 0 && carried < size, `${carried} bytes`);
    const codes = async (all: Promise<string>) => [...new Set((await all).split(" "))].sort();
    for (const code of await codes(refused)) assert.ok(["000", "403"].includes(code), code);
    for (const code of await codes(allowed)) assert.ok(["000", "200"].includes(code), code);
    assert.match(await allowed, /200$/);
    assert.match(await refused, /403$/);
    assert.notEqual(await proxyPid(), former);
  });
});
