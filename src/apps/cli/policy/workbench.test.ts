import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { readWorldObjects } from "#apps/library";
import { readSources } from "#contracts/manifest";
import {
  createMatrix,
  diffWorlds,
  explainConnection,
  findParty,
  formatConnection,
  joinWorlds,
  type Party,
} from "#control/workbench";
import { protocolNumbers } from "#core/model";
import { judgeRequest } from "#proxy/policy";
import { makeWorld } from "./material.ts";
import { formatMatrix, matrixValue } from "./matrix-text.ts";
import { readIcmp, readPort, readRequest } from "./question.ts";

const shop = resolve(import.meta.dirname, "../../../../examples/shop");
const objects = readWorldObjects(await readSources([shop]));
const world = makeWorld(objects);
const party = (text: string): Party => {
  const found = findParty(world, text, "shop");
  assert.ok(typeof found !== "string", String(found));
  return found;
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour code is made of
const plain = (text: string) => text.replaceAll(/\u001b\[[0-9;]*m/g, "").replaceAll(`${shop}/`, "");

test("an explanation for people names rules, places and the remedy", () => {
  const question = { from: party("report"), to: party("db"), protocol: protocolNumbers.TCP, port: 5432 };
  assert.equal(
    plain(formatConnection(explainConnection(world, question, judgeRequest), world)),
    `shop/report → shop/db  tcp/5432  denied

egress of shop/report: allowed
  no policy selects it in this direction, so everything passes

ingress of shop/db: denied
  no rule allows it
  default deny because of CiliumNetworkPolicy shop/db spec (policies.yaml:38)
  nearest: CiliumNetworkPolicy shop/db spec.ingress[0] (policies.yaml:42)
    spec.ingress[0].fromEndpoints[0].matchLabels.app (policies.yaml:43): expected app=backend, found k8s:app=report
  the smallest policy that would allow it:
    apiVersion: cilium.io/v2
    kind: CiliumNetworkPolicy
    metadata:
      name: allow-from-app-report-in-namespace-shop
      namespace: shop
    spec:
      endpointSelector:
        matchLabels:
          app: db
      ingress:
      - fromEndpoints:
        - matchLabels:
            app: report
        toPorts:
        - ports:
          - port: "5432"
            protocol: TCP`,
  );
});

const requests: readonly (readonly [request: string, outcome: string])[] = [
  ["GET /items/7", "allowed"],
  ["GET /items/7?x=1", "denied"],
  ["POST /orders", "allowed"],
  ["DELETE /orders", "denied"],
  // The proxy judges what servers may make of it, too.
  ["GET /items/../admin", "denied"],
];
for (const [text, outcome] of requests)
  test(`${text} is ${outcome}, as the proxy would say`, () => {
    const question = {
      from: party("frontend"),
      to: party("backend"),
      protocol: 6,
      port: 9000,
      request: readRequest(text),
    };
    const answer = explainConnection(world, question, judgeRequest);
    assert.equal(answer.outcome, outcome);
    if (outcome === "allowed") return;
    // With its remedy the same request passes.
    const remedy = answer.directions.find((one) => one.remedy !== undefined)?.remedy;
    assert.ok(remedy !== undefined);
    if (text.includes("..")) return; // a literal path names one of the two readings only
    const mended = makeWorld([...objects, { object: remedy.object }]);
    const find = (name: string) => findParty(mended, name, "shop") as Party;
    const again = explainConnection(mended, { ...question, from: find("frontend"), to: find("backend") }, judgeRequest);
    assert.equal(again.outcome, "allowed");
  });

test("ports are read by number, protocol and name", () => {
  assert.deepEqual(readPort("80", world, party("db")), { protocol: 6, port: 80 });
  assert.deepEqual(readPort("53/udp", world, party("db")), { protocol: 17, port: 53 });
  assert.deepEqual(readPort("postgres", world, party("db")), { protocol: 6, port: 5432 });
  assert.deepEqual(readIcmp(true, party("fd00::1")), { protocol: 58, port: 128 });
  for (const bad of ["0", "70000", "80/xyz", "80/tcp/x", "nothing"])
    assert.throws(() => readPort(bad, world, party("db")), { code: "USAGE" });
});

test("requests are read with host and headers", () => {
  const request = readRequest("GET http://shop.example/a?b", ["X-Token: 1"]);
  assert.deepEqual([request.host, request.target, request.headers.get("x-token")], ["shop.example", "/a?b", "1"]);
  assert.throws(() => readRequest("/a"), { code: "USAGE" });
  assert.throws(() => readRequest("GET /a", ["nothing"]), { code: "USAGE" });
});

test("a matrix that is too wide becomes a list by destination", () => {
  const [matrix] = joinWorlds([createMatrix(world)]);
  assert.match(plain(formatMatrix(matrix!, 120)), /^frontend {4}9000\/TCP \(HTTP\) {3}–/m);
  const list = plain(formatMatrix(matrix!, 40));
  assert.match(
    list,
    /^to db\n {2}5432\/TCP {2}from backend\n {2}– {2}from db, frontend, report, world\n {2}all {2}from host$/m,
  );
});

test("a comparison shows what differs, and JSON names rules with their lines", async () => {
  const proposed = readWorldObjects(await readSources([`${shop}/proposed`]));
  const diff = diffWorlds(objects, [...objects, ...proposed], makeWorld);
  assert.match(plain(formatMatrix(diff.new, 120, diff.old)), /^backend {5}= {9}-5432\/TCP \+6432\/TCP/m);
  const value = JSON.parse(JSON.stringify(matrixValue(diff.old, diff.before)));
  const found = value.reach.find((one: { from: string; to: string }) => one.from === "backend" && one.to === "db");
  assert.equal(plain(found.rules.at(-1).place), "policies.yaml:42");
});
