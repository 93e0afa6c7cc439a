/**
 * Honest clients on links that lose packets before the judge and behind it, in both directions: none of them may be cut, and nothing may
 * arrive other than it was sent. The losing program is ours; it sits on the workloads' own interfaces.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Agent, createServer as createHttpServer, request } from "node:http";
import { Socket } from "node:net";
import { after, describe, it } from "node:test";
import { parseAddress } from "#core/model";
import { openConnector, openListener } from "#datapath/linux";
import { compileTestObject } from "#datapath/linux/testing";
import { HttpNode, type Workload } from "./wire.ts";

const node = new HttpNode(["client", "server"]);
after(() => node.close());
const [client, server] = node.workloads as readonly [Workload, Workload];
const PORT = 8080;
node.policy(server.id, [{ direction: "ingress", port: PORT, rules: [{ path: "/public/.*" }] }]);

const lossy = node.kernel.bpf.loadObject(compileTestObject(`${import.meta.dirname}/testdata/lossy.bpf.c`));
after(() => lossy.close());
for (const { netns } of [client, server]) {
  const netlink = node.kernel.netlink(netns);
  const { index: ifindex } = netlink.link("eth0")!;
  netlink.close();
  for (const direction of ["ingress", "egress"] as const) {
    const link = node.kernel.bpf.attach(lossy.programs.lossy!, { kind: "tcx", ifindex, direction, netns });
    after(() => link.close());
  }
}
const losing = (permille: number) =>
  lossy.maps.permille!.update(new Uint8Array(4), new Uint8Array(Uint32Array.of(permille).buffer));

/** Answers the digest of each body. */
const http = createHttpServer((incoming, response) => {
  const hash = createHash("sha256");
  incoming.on("data", (data: Buffer) => hash.update(data));
  incoming.on("end", () => response.end(hash.digest("hex")));
});
const { fd } = openListener({ address: parseAddress(server.ip4)!, port: PORT }, { netns: server.netns });
await new Promise<void>((done) => http.listen({ fd }, () => done()));
after(() => {
  http.closeAllConnections();
  http.close();
});

class WorkloadAgent extends Agent {
  override createConnection(): Socket {
    const socket = new Socket({ fd: openConnector(parseAddress(client.ip4)!, { netns: client.netns }) });
    return socket.connect({ host: server.ip4, port: PORT });
  }
}
const agents: Agent[] = [];
const connections = (count: number): Agent => {
  const agent = new WorkloadAgent({ keepAlive: true, maxSockets: count });
  agents.push(agent);
  return agent;
};
after(() => {
  for (const agent of agents) agent.destroy();
});

/** One exchange: status and body. */
const ask = (
  agent: Agent,
  method: string,
  path: string,
  pieces: readonly Buffer[],
  headers = {},
): Promise<[number, string]> =>
  new Promise((done, fail) => {
    const asked = request({ agent, method, path, headers }, (response) => {
      let text = "";
      response.on("data", (data: Buffer) => {
        text += data.toString();
      });
      response.on("end", () => done([response.statusCode!, text]));
      response.on("error", fail);
    });
    asked.on("error", fail);
    for (const piece of pieces) asked.write(piece);
    asked.end();
  });
const digest = (pieces: readonly Buffer[]) => {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
};
/** A number from a seed, always the same. */
const seeded = (seed: number) => {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
};

async function inParallel(count: number, width: number, one: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let i = next++; i < count; i = next++) await one(i);
    }),
  );
}

describe("with one packet in a hundred lost in four places", () => {
  const before = node.counts();
  it("10 000 requests on 50 connections are answered, 1000 of them with 403", async () => {
    losing(10);
    const agent = connections(50);
    await inParallel(10_000, 50, async (i) => {
      const denied = i % 10 === 0;
      const [status] = await ask(agent, "GET", denied ? "/private" : `/public/${i}`, []);
      assert.equal(status, denied ? 403 : 200);
    });
  });

  it("100 uploads of 1 MB arrive as they were sent", async () => {
    losing(10);
    const agent = connections(10);
    const random = seeded(7);
    const body = [Buffer.from(Uint8Array.from({ length: 1_000_000 }, () => random(256)))];
    await inParallel(100, 10, async () => {
      assert.deepEqual(await ask(agent, "POST", "/public/upload", body, { "Content-Length": 1_000_000 }), [
        200,
        digest(body),
      ]);
    });
  });

  it("20 chunked uploads of 1 MB in chunks of all sizes arrive as they were sent", async () => {
    losing(10);
    const agent = connections(5);
    const random = seeded(11);
    await inParallel(20, 5, async () => {
      const pieces: Buffer[] = [];
      for (let size = 0; size < 1_000_000; ) {
        const piece = Buffer.alloc(1 + random(30_000), random(256));
        size += piece.length;
        pieces.push(piece);
      }
      assert.deepEqual(await ask(agent, "POST", "/public/chunks", pieces), [200, digest(pieces)]);
    });
  });

  it("nobody was cut, and no retransmission taken for an attack", () => {
    losing(0);
    const { RESET, REWRITTEN, CLOSED, MALFORMED, OLD } = node.counts();
    assert.deepEqual(
      { RESET, REWRITTEN, CLOSED, MALFORMED, OLD },
      { RESET: before.RESET, REWRITTEN: 0, CLOSED: 0, MALFORMED: 0, OLD: 0 },
    );
    assert.ok(node.counts().COMPARED > 0, "retransmissions were compared");
  });
});

describe("without loss", () => {
  it("1 GB goes up and its digest is right", { timeout: 120_000 }, async () => {
    losing(0);
    const agent = connections(1);
    const piece = Buffer.alloc(1 << 20, "tsilium");
    const hash = createHash("sha256");
    for (let i = 0; i < 1024; i++) hash.update(piece);
    const answer = await new Promise<string>((done, fail) => {
      const asked = request(
        { agent, method: "POST", path: "/public/big", headers: { "Content-Length": 1 << 30 } },
        (response) => {
          response.on("data", (data: Buffer) => done(data.toString()));
        },
      );
      asked.on("error", fail);
      let sent = 0;
      const go = () => {
        while (sent < 1024) {
          sent++;
          if (!asked.write(piece)) return;
        }
        asked.end();
      };
      asked.on("drain", go);
      go();
    });
    assert.equal(answer, hash.digest("hex"));
  });
});
