import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { describe, it } from "node:test";
import { parseAddress } from "#core/model";
import { isErrno } from "./errors.ts";
import { openNetlink } from "./netlink.ts";
import { openConnector, openListener } from "./sockets.ts";
import { createTestNamespace } from "./testing.ts";

describe("sockets by descriptor", () => {
  for (const [loopback, foreign] of [
    ["127.0.0.1", "10.217.0.9"],
    ["::1", "fd10:217::9"],
  ] as const) {
    it(`a transparent connection from ${foreign} inside a namespace reaches a listener there`, async (t) => {
      const { netns } = createTestNamespace(t);
      const family = loopback.includes(":") ? 6 : 4;
      const netlink = openNetlink(netns);
      const anywhere = { family, bytes: new Uint8Array(16), length: 0 } as const;
      // Replies to the foreign address come back to this machine.
      netlink.apply([
        { kind: "replaceRoute", route: { destination: anywhere, ifindex: 1, type: "local", table: 2004 } },
        { kind: "ensureRule", rule: { family, mark: 0x200, mask: 0xf00, table: 2004, priority: 9 } },
      ]);
      netlink.close();
      const options = { transparent: true, mark: 0x200, netns };
      const listener = openListener({ address: parseAddress(loopback)!, port: 0 }, options);
      const server = createServer((socket) => socket.end(`hello ${socket.remoteAddress}`));
      server.listen({ fd: listener.fd });
      t.after(() => server.close());
      await once(server, "listening");

      const client = new Socket({ fd: openConnector(parseAddress(foreign)!, options) });
      client.connect({ host: loopback, port: listener.port });
      const [data] = (await once(client, "data")) as [Buffer];
      assert.equal(data.toString(), `hello ${foreign}`);
      client.destroy();
    });
  }

  it("a port that is taken: EADDRINUSE with the address; shared ports are not taken", (t) => {
    const { netns } = createTestNamespace(t);
    const address = parseAddress("127.0.0.1")!;
    const sockets: { fd: number }[] = [];
    const open = (port: number, reusePort: boolean) => {
      const made = openListener({ address, port }, { reusePort, netns });
      sockets.push(made);
      return made.port;
    };
    const port = open(0, true);
    assert.equal(open(port, true), port);
    assert.throws(
      () => open(port, false),
      (e) => isErrno(e, "EADDRINUSE") && e.message.startsWith(`listen on 127.0.0.1:${port}: address in use`),
    );
    for (const { fd } of sockets) new Socket({ fd }).destroy();
  });

  it("a foreign address without the transparent option is refused", (t) => {
    const { netns } = createTestNamespace(t);
    assert.throws(
      () => openConnector(parseAddress("10.217.0.9")!, { netns }),
      (e) => isErrno(e, "EADDRNOTAVAIL"),
    );
  });
});
