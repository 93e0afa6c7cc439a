/** The proxy's table of malformed and ambiguous requests, judged by the kernel. Where its answer is another one, a row says so, and why. */
import assert from "node:assert/strict";
import type { Server as HttpServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { parseAddress } from "#core/model";
import { openListener } from "#datapath/linux";
import { type StrictnessRow, strictnessRows } from "#proxy/http/testing";
import { type RecordingServer, startRecordingServer } from "#proxy/listener/testing";
import { exchange, HttpNode, statusesOf, type Workload } from "./wire.ts";

const node = new HttpNode(["client", "server"]);
after(() => node.close());
const [client, server] = node.workloads as readonly [Workload, Workload];
const PORT = 8080;

/** Where the kernel answers differently than the proxy. */
const differences: Readonly<
  Record<string, Partial<Pick<StrictnessRow, "statuses" | "seen">> & { readonly why: string }>
> = {
  "nothing is read behind Connection: close": {
    statuses: [200],
    seen: ["GET /public", "GET /public"],
    why: "each request is judged by itself; whether it is read behind a close is the server's affair",
  },
  "nothing is read behind HTTP/1.0": {
    statuses: [200],
    seen: ["GET /public", "GET /public"],
    why: "as behind Connection: close",
  },
  "a target beyond 16 KiB": { statuses: [], why: "heads up to 24 KiB are judged; this one the server refuses" },
  "the HTTP/2 preface": { statuses: [], why: "reset: the client's next connection goes to the proxy" },
};
/** The kernel has two answers: 403 to what policy denies, 400 to what has no one meaning. */
const short = (status: number) => ([414, 417, 431].includes(status) ? 400 : status);

describe("a malformed or ambiguous request never reaches the server, judged by the kernel", () => {
  let recording: RecordingServer;
  before(async () => {
    node.policy(server.id, [{ direction: "ingress", port: PORT, rules: [{ path: "/public([/?].*)?" }] }]);
    const listen = (http: HttpServer) => {
      const { fd } = openListener({ address: parseAddress(server.ip4)!, port: PORT }, { netns: server.netns });
      return new Promise<number>((done) => http.listen({ fd }, () => done(PORT)));
    };
    recording = await startRecordingServer(listen);
  });
  after(() => recording.close());

  const check = async (row: StrictnessRow, pieces: readonly string[], how: string) => {
    recording.clear();
    node.maps.http_learnt.deleteAll([...node.maps.http_learnt.entries()].map(([key]) => key));
    const { text, end } = await exchange(client, server.ip4, PORT, pieces, { quietMs: 700 });
    const { statuses = row.statuses.map(short), seen = row.seen } = differences[row.name] ?? row;
    assert.ok(!recording.requests.some((request) => request.includes("private")), "nothing private is requested");
    const answered = statusesOf(text);
    const cut = row.statuses.includes(400) && row.seen.length > 0;
    if (how === "whole") assert.deepEqual(answered, statuses.map(short), `answers, sent ${how} (${end})`);
    // A denial of what came in several segments closes; and it comes as soon as no rule can match, malformed or not.
    else if (answered.includes(403))
      assert.ok(row.statuses.some((status) => status >= 400) && end === "closed", `answers ${answered}, ${end}`); // biome-ignore format: one line
    else if (!(cut && end === "reset"))
      assert.deepEqual(answered, statuses.map(short), `answers, sent ${how} (${end})`);
    const partly = how !== "whole" && (answered.includes(403) || differences[row.name]?.seen !== undefined);
    if (partly) assert.deepEqual(recording.requests, seen.slice(0, recording.requests.length));
    else if (!(cut && recording.requests.length === 0)) assert.deepEqual(recording.requests, seen, `requests at the server, sent ${how}`); // biome-ignore format: one line
  };

  for (const row of strictnessRows) {
    it(row.name, async () => {
      await check(row, [row.send], "whole");
      if (row.send.length <= 400) await check(row, [...row.send], "byte by byte");
    });
  }
});
