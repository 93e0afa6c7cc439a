/**
 * Malformed and ambiguous requests through a real proxy to a lenient server: the server must see what was allowed, and nothing else.
 * Policy: anything at /public and below. The server is node:http with its insecure parser, which forgives much.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type StrictnessRow, strictnessRows } from "#proxy/http/testing";
import {
  exchange,
  httpFilter,
  type RecordingServer,
  startProxy,
  startRecordingServer,
  stateOf,
  statusesOf,
  type TestProxy,
} from "./testing.ts";

describe("a malformed or ambiguous request never reaches the server", () => {
  let server: RecordingServer;
  let proxy: TestProxy;
  before(async () => {
    server = await startRecordingServer();
    proxy = await startProxy(server.port, stateOf(httpFilter({ path: "/public([/?].*)?" })), { lingerTimeoutMs: 100 });
  });
  after(async () => {
    await proxy.close();
    await server.close();
  });

  const check = async (row: StrictnessRow, pieces: readonly string[], how: string) => {
    server.clear();
    const received = await exchange(proxy.port, pieces);
    assert.deepEqual(statusesOf(received), row.statuses, `answers, sent ${how}`);
    // A request whose body turned out malformed may or may not have been noticed by the server before the reset.
    const cut = row.statuses.includes(400) && row.seen.length > 0 && row.send.includes("chunked");
    if (!(cut && server.requests.length === 0))
      assert.deepEqual(server.requests, row.seen, `requests at the server, sent ${how}`);
    assert.ok(!server.requests.some((request) => request.includes("private")), "nothing private is requested");
  };

  for (const row of strictnessRows) {
    it(row.name, async () => {
      await check(row, [row.send], "whole");
      if (row.send.length > 2500) return;
      if (row.send.length <= 400) await check(row, [...row.send], "byte by byte");
      if (row.send.length > 110) return;
      for (let at = 1; at < row.send.length; at++)
        await check(row, [row.send.slice(0, at), row.send.slice(at)], `split at ${at}`);
    });
  }

  it("has at least 80 rows with names of their own", () => {
    assert.ok(strictnessRows.length >= 80);
    assert.equal(new Set(strictnessRows.map((row) => row.name)).size, strictnessRows.length);
  });
});
