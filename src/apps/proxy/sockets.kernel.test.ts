/** Transparent sockets against the real kernel, in a network namespace of their own. Needs root. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";

const root = join(import.meta.dirname, "../../..");

// Addresses of nobody: 10.88/16 and fd88::/64 are reached through the mark only, as a client's are in the node's namespace.
const setup = [
  "ip link set lo up",
  "ip addr add 10.99.0.1/32 dev lo",
  "ip addr add fd99::1/128 dev lo nodad",
  "ip route add 10.88.0.0/16 dev lo",
  "ip -6 route add fd88::/64 dev lo",
  "sysctl -qw net.ipv4.tcp_fwmark_accept=1 net.ipv4.fwmark_reflect=1 net.ipv6.fwmark_reflect=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lo.rp_filter=0 net.ipv4.conf.lo.accept_local=1",
  "ip rule add fwmark 0xa00/0xf00 lookup 2004",
  "ip route add local default dev lo table 2004",
  "ip -6 rule add fwmark 0xa00/0xf00 lookup 2004",
  "ip -6 route add local default dev lo table 2004",
].join(" && ");

/** Runs a module in a fresh namespace; it prints one line of JSON. */
function inNamespace(program: string): unknown {
  const prelude =
    'import { connectTransparent, listenTransparent } from "./src/apps/proxy/sockets.ts"; import { createServer, connect } from "node:net"; import { once } from "node:events";';
  const text = execFileSync(
    "unshare",
    [
      "--net",
      "bash",
      "-c",
      `${setup} && exec "$0" --conditions=development --input-type=module -e "$1"`,
      process.execPath,
      `${prelude}\n${program}`,
    ],
    { cwd: root, encoding: "utf8", timeout: 10_000 },
  );
  return JSON.parse(text.trim().split("\n").at(-1)!);
}

const reads =
  "{ buffer: Buffer.alloc(1024), callback: (n, bytes) => { got += bytes.subarray(0, n).toString(); return true; } }";

describe("transparent sockets", () => {
  for (const { family, client, server } of [
    { family: "IPv4", client: "10.88.0.2", server: "10.99.0.1" },
    { family: "IPv6", client: "fd88::2", server: "fd99::1" },
  ]) {
    it(`connect over ${family} from an address that is not the node's`, () => {
      const seen = inNamespace(`
        let got = "";
        const server = createServer((s) => s.end("hello " + s.remoteAddress)).listen(0, "${server}");
        await once(server, "listening");
        const socket = connectTransparent({ source: { address: "${client}", port: 1 }, destination: { address: "${server}", port: server.address().port } }, ${reads});
        await once(socket, "connect");
        await once(socket, "end");
        console.log(JSON.stringify({ got, local: socket.localAddress }));
        process.exit();`);
      assert.deepEqual(seen, { got: `hello ${client}`, local: client });
    });

    it(`report over ${family} that the server refuses`, () => {
      const seen = inNamespace(`
        let got = "";
        const socket = connectTransparent({ source: { address: "${client}", port: 1 }, destination: { address: "${server}", port: 9 } }, ${reads});
        const error = await new Promise((resolve) => socket.once("error", resolve));
        console.log(JSON.stringify(error.code));
        process.exit();`);
      assert.equal(seen, "ECONNREFUSED");
    });
  }

  it("listen on loopback of both families, on the port that was asked for or a free one", () => {
    const seen = inNamespace(`
      const first = listenTransparent({ address: "127.0.0.1", port: 0 });
      const second = listenTransparent({ address: "::1", port: first.port });
      const server = createServer((s) => s.end()).listen({ fd: second.fd });
      await once(server, "listening");
      await once(connect({ host: "::1", port: first.port }), "connect");
      let taken;
      try { listenTransparent({ address: "127.0.0.1", port: first.port }); } catch (error) { taken = error.message; }
      console.log(JSON.stringify({ same: first.port === second.port, taken }));
      process.exit();`) as { same: boolean; taken: string };
    assert.equal(seen.same, true);
    assert.match(seen.taken, /^listen on 127\.0\.0\.1:\d+: address in use \(EADDRINUSE\)/);
  });
});
