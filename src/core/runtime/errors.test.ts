import assert from "node:assert/strict";
import { test } from "node:test";
import { errorMessage, TsiliumError } from "./errors.ts";

test("a message carries the messages of its causes, each once", () => {
  const cause = new Error("EACCES: permission denied");
  assert.equal(errorMessage(new TsiliumError("X", "can't write", { cause })), "can't write: EACCES: permission denied");
  const quoting = new TsiliumError("X", `can't write (${cause.message}); run as root`, { cause });
  assert.equal(errorMessage(quoting), quoting.message);
  assert.equal(errorMessage(new Error("outer", { cause: quoting })), `outer: ${quoting.message}`);
});

test("whatever was thrown has a message", () => {
  assert.equal(errorMessage("text"), "text");
  assert.equal(errorMessage(new Error()), "Error");
});
