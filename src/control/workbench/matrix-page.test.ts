import assert from "node:assert/strict";
import { test } from "node:test";
import { createMatrix, createWorld, diffWorlds, formatMatrixPage } from "./index.ts";
import { pod, policy } from "./testing.ts";

const closed = policy("db", { endpointSelector: { matchLabels: { app: "db" } }, ingress: [{}] });
const pods = [pod("web", { app: "web" }), pod("db", { app: "db" }, "5432")];

test("the page asks for nothing from outside, and names the rule behind a cell", () => {
  const world = createWorld([...pods, closed]);
  const page = formatMatrixPage({ title: "t", world, matrix: createMatrix(world) });
  assert.doesNotMatch(page, /src=|href=|url\(|@import|https?:\/\//);
  assert.match(page, /data-why="web → db&#10;&#10;5432\/TCP: denied&#10; {4}ingress: no rule allows it/);
});

test("names from manifests can't break out of the page", () => {
  const evil = '"><script>alert(1)</script>';
  const world = createWorld([pod("x", { app: evil }), pod("y", { app: "y" })]);
  const page = formatMatrixPage({ title: evil, world, matrix: createMatrix(world) });
  assert.equal(page.match(/<script>/g)?.length, 1);
  assert.match(page, /&quot;&gt;&lt;script&gt;alert/);
});

test("a comparison marks what is gained and lost", () => {
  const diff = diffWorlds(pods, [...pods, closed]);
  const page = formatMatrixPage({
    title: "t",
    world: diff.after,
    matrix: diff.new,
    before: diff.old,
    sentences: diff.sentences,
  });
  assert.match(page, /<li class="loss">everyone but host loses db on every port<\/li>/);
  assert.match(page, /<td class="none loss" [^>]*><s>all<\/s> –<\/td>/);
});
