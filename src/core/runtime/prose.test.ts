import assert from "node:assert/strict";
import { test } from "node:test";
import { wrapProse } from "./prose.ts";

const words = "one two three four five six seven eight nine ten";
const rows: Readonly<
  Record<string, readonly [text: string, columns: number | undefined, wrapped: string, hanging?: number]>
> = {
  "a pipe gets lines as they are": [words, undefined, words],
  "a line that fits stays": [words, 48, words],
  "a longer one is broken between words": [words, 40, "one two three four five six seven eight\n  nine ten"],
  "what follows stands below the beginning": [
    `    ${words}`,
    40,
    "    one two three four five six seven\n    eight nine ten",
  ],
  "below the text of a hint": [
    `   = hint: ${words}`,
    40,
    "   = hint: one two three four five six\n           seven eight nine ten",
  ],
  "colours take no room": [`\u001b[31m${words}\u001b[39m`, 48, `\u001b[31m${words}\u001b[39m`],
  "an excerpt of a source stays whole": [`12 |   key: ${words}`, 40, `12 |   key: ${words}`],
  "a word longer than a line stays whole": [`see ${"x".repeat(50)} there`, 40, `see\n  ${"x".repeat(50)}\n  there`],
  "a paragraph has no hanging indent": [words, 40, "one two three four five six seven eight\nnine ten", 0],
  "each line for itself": [`${words}\nshort`, 40, "one two three four five six seven eight\n  nine ten\nshort"],
};

for (const [name, [text, columns, wrapped, hanging]] of Object.entries(rows)) {
  test(`sentences on a terminal: ${name}`, () => assert.equal(wrapProse(text, columns, hanging), wrapped));
}
