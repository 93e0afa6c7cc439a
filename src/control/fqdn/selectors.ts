/** Which of the selectors in use a name matches; answers are remembered as long as the selectors stay the same. */
import type { DnsMatch } from "#contracts/proxy";
import { compileName, type NameMatcher } from "./pattern.ts";

/** The names and patterns that rules speak of. */
export interface NameSelectors {
  /** Makes exactly these the ones in use; true if that changed anything. */
  replace(wanted: Iterable<DnsMatch>): boolean;
  /** Texts of the selectors that a canonical name matches, sorted. */
  of(name: string): readonly string[];
  /** Selectors in use. */
  readonly size: number;
}

const nothing: readonly string[] = [];
const rememberedNames = 16_384;

/** Makes the set, empty. */
export function createNameSelectors(): NameSelectors {
  let exact = new Map<string, string[]>();
  let patterns: NameMatcher[] = [];
  let texts = new Set<string>();
  const remembered = new Map<string, readonly string[]>();

  return {
    get size() {
      return texts.size;
    },
    replace(wanted) {
      const matchers = new Map<string, NameMatcher>();
      // A name and a pattern of the same text have one label, so they are one selector.
      for (const match of wanted) {
        const text = "matchName" in match ? match.matchName : match.matchPattern;
        if (!matchers.has(text)) matchers.set(text, compileName(match));
      }
      if (matchers.size === texts.size && [...matchers.keys()].every((text) => texts.has(text))) return false;
      texts = new Set(matchers.keys());
      exact = new Map();
      patterns = [];
      remembered.clear();
      for (const [text, matcher] of matchers) {
        if (matcher.exact === undefined) patterns.push({ ...matcher, text });
        else exact.set(matcher.exact, [...(exact.get(matcher.exact) ?? []), text]);
      }
      return true;
    },
    of(name) {
      let found = remembered.get(name);
      if (found === undefined) {
        const all = patterns.filter((pattern) => pattern.matches(name)).map(({ text }) => text);
        all.push(...(exact.get(name) ?? nothing));
        found = all.length === 0 ? nothing : all.sort();
        if (remembered.size >= rememberedNames) remembered.clear();
        remembered.set(name, found);
      }
      return found;
    },
  };
}
