import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RE2JS } from "re2js";
import { accepts, buildAutomaton, Inexact, parseRegex, targetBytes } from "./testing.ts";

/** A pattern that RE2 takes, or undefined. */
function compiled(pattern: string): RE2JS | undefined {
  try {
    return RE2JS.compile(pattern);
  } catch {
    return undefined;
  }
}

const automatonOf = (pattern: string) => buildAutomaton(parseRegex(pattern), targetBytes);

/** The automaton, unless the pattern is refused. */
function exactly(pattern: string) {
  try {
    return automatonOf(pattern);
  } catch (error) {
    if (error instanceof Inexact) return undefined;
    throw error;
  }
}

describe("a pattern accepts what RE2 does", () => {
  const texts = ["", "/", "/a", "/A", "/ab", "/b", "/a/b", "a", "K", "k", "s", "/a-b", "/a1_", "/]", "/^", "/a.b", "/{2}", "aaa", "aaaa", "/x{", "\\"]; // biome-ignore format: one table
  const patterns = [
    "/a", "/a.*", "/[ab]+", "/[^ab]", "(?i)/a", "(?i:/a)/b", "/(?i)AB", "a{3}", "a{2,}", "a{2,3}", "a{0}", "/x{", "/{2}", "/\\{2}",
    "^/a$", "^$", "$^", "(^/a)|/b", "/a|", "|/a", "(/a$|/b)", "/\\x61", "/\\x{61}", "/\\141", "\\Q/a.b\\E", "\\Q/a\\Eb", "\\Qa\\E{3}",
    "/[[:alpha:]]", "/[[:^alpha:]]", "(?i)/[[:lower:]]", "/\\w+", "(?i)/\\w", "/\\W", "/[\\w-]+", "/\\d|/\\D", "/[]a]", "/[^]a]", "/[a-]",
    "/[\\]]", "(?i)[\u212a]", "(?i)\u017f", "(?i)[^k]", "(?i)[^\u212a]", "[^\u212a]", "\u00e9?/a", "/\u{1f600}*a?", "(?s)/.", "(?-s)/.", "(?U)/a.*?",
    "(?P<name>/a)", "(?<name>/a)", "(?:/a)", "(a*)*", "(a|b|)*/", "((a?){3}){2}", "/[[:punct:]]", "/[[:word:]]", "\\A/a\\z", "(?m)^/a$", ".", "\\\\", "(?i)/A(?-i)b",
  ]; // biome-ignore format: one table
  for (const pattern of patterns)
    it(pattern, () => {
      const regex = compiled(pattern)!;
      const automaton = automatonOf(pattern);
      for (const text of texts)
        assert.equal(accepts(automaton, text), regex.testExact(text), `on ${JSON.stringify(text)}`);
    });
});

describe("what can't be told exactly is refused with the reason", () => {
  const cases: Record<string, RegExp> = {
    "/a\\b.*": /uses word boundaries \(\\b\)/,
    "\\pL": /uses \\p/,
    "[\\pN]": /uses \\p/,
    "/a(?i)*": /repeats what stands before its flags/,
    "(.*a.{12}){2}": /needs more than 2000 states/,
    "((a{30}){30}b){1}[^/]*(c{30}){30}[^/]*((d{25}){25}[ab]{9}){1}": /needs more than|takes too much/,
  };
  for (const [pattern, message] of Object.entries(cases))
    it(pattern, () => {
      assert.ok(compiled(pattern), "RE2 takes it");
      assert.throws(
        () => automatonOf(pattern),
        (error) => error instanceof Inexact && message.test(error.message),
      );
    });
});

it("random patterns accept the same random texts as RE2", (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_007);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const below = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const atoms = ["a", "b", "/", "K", "s", ".", "\\.", "[ab]", "[^a]", "[a-k]", "\\d", "\\w", "\\S", "[[:alpha:]]", "^", "$", "\\x2f", "(?i)", "\u017f", "é", "[^/]", "[\\d_]", "\\Qa.\\E", "[é-ſa]"]; // biome-ignore format: one table
  const pattern = (depth: number): string => {
    const part = (): string => {
      const atom =
        depth > 0 && below(3) === 0 ? `(${pick(["", "?:", "?i:", "?s-i:"])}${pattern(depth - 1)})` : pick(atoms);
      return atom + pick(["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{1,}", "*?", "??"]);
    };
    const sequence = () => Array.from({ length: below(4) }, part).join("");
    return Array.from({ length: 1 + below(3) }, sequence).join("|");
  };
  const letters = "aabbKks/._1-zA/S";
  let compared = 0;
  for (let i = 0; i < 1500; i++) {
    const source = pattern(2);
    const regex = compiled(source);
    if (regex === undefined) continue;
    const automaton = exactly(source);
    if (automaton === undefined) continue;
    for (let j = 0; j < 12; j++) {
      const text = Array.from({ length: below(7) }, () => letters[below(letters.length)]).join("");
      compared++;
      assert.equal(
        accepts(automaton, text),
        regex.testExact(text),
        `${JSON.stringify(source)} on ${JSON.stringify(text)}, SEED=${seed}`,
      );
    }
  }
  assert.ok(compared > 5000, `only ${compared} comparisons`);
});
