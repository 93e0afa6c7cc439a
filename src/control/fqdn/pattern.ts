/** Names and patterns of DNS rules (pkg/fqdn/matchpattern of Cilium), compiled. Matching takes linear time per label, whatever the pattern. */
import type { DnsMatch } from "#contracts/proxy";

/** A name or pattern of a rule, ready to be matched. */
export interface NameMatcher {
  /** What the rule says, lower case, with a trailing dot: equal for matchers that match the same text. */
  readonly text: string;
  /** The one name that it can match; undefined for patterns. */
  readonly exact: string | undefined;
  /** Whether a name in canonical form (see `canonicalName`) matches. */
  matches(name: string): boolean;
}

/** Lower case, with a trailing dot: the form in which names compare. The root is ".". */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith(".") ? lower : `${lower}.`;
}

/**
 * Compiles a rule's name or pattern:
 * - `*` stands for any number of letters, digits, `-` and `_` of one label, none included;
 * - `**.` in front (two stars or more) for one label or more; elsewhere more stars are the same as one;
 * - `*` alone (or more stars, with or without a dot) for every name that is made of such characters, and for the root.
 */
export function compileName(match: DnsMatch): NameMatcher {
  if ("matchName" in match) {
    const text = canonicalName(match.matchName);
    return { text, exact: text, matches: (name) => name === text };
  }
  const text = canonicalName(match.matchPattern);
  if (/^\*+\.$/.test(text)) return { text, exact: undefined, matches: (name) => name === "." || isPlain(name) };
  const deep = /^\*\*+\./.exec(text)?.[0];
  const labels = text
    .slice(deep?.length ?? 0, -1)
    .split(".")
    .map(compileLabel);
  if (deep === undefined && labels.every(({ length }) => length === 1))
    return { text, exact: text, matches: (name) => name === text };
  return {
    text,
    exact: undefined,
    matches(name) {
      const found = name.slice(0, -1).split(".");
      const above = found.length - labels.length;
      if (deep === undefined ? above !== 0 : above < 1) return false;
      for (let i = 0; i < above; i++) if (found[i] === "" || !isPlainLabel(found[i]!)) return false;
      return labels.every((label, i) => matchesLabel(label, found[above + i]!));
    },
  };
}

/** A label cut at its stars: one part = no star. */
type LabelPattern = readonly string[];

const compileLabel = (label: string): LabelPattern => label.replaceAll(/\*+/g, "*").split("*");

/** Each part is taken at its first place behind the one before: if any way of matching exists, that one does. */
function matchesLabel(parts: LabelPattern, label: string): boolean {
  const first = parts[0]!;
  const last = parts.at(-1)!;
  if (parts.length === 1) return label === first;
  if (label.length < first.length + last.length || !label.startsWith(first) || !label.endsWith(last)) return false;
  if (!isPlainLabel(label)) return false;
  let at = first.length;
  const end = label.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = label.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

const isPlainLabel = (label: string): boolean => /^[-a-z0-9_]*$/.test(label);
const isPlain = (name: string): boolean => /^([-a-z0-9_]+\.)+$/.test(name);
