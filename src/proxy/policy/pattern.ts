/** Regular expressions of policies: RE2 (linear time whatever the pattern), matched against the whole value. */
import { RE2JS } from "re2js";

/** A compiled pattern. */
export interface Pattern {
  readonly source: string;
  /** Whether the whole text matches. */
  matches(text: string): boolean;
}

// Policies share patterns ("GET", "/healthz") across endpoints; compiling one takes half a millisecond.
const cache = new Map<string, Pattern | string>();
const cacheLimit = 4096;

/** Compiles a pattern, or returns a sentence that says what is wrong with it. The latest 4096 are kept. */
export function compilePattern(source: string): Pattern | string {
  let compiled = cache.get(source);
  if (compiled === undefined) {
    if (cache.size >= cacheLimit) cache.delete(cache.keys().next().value!);
    compiled = compile(source);
    cache.set(source, compiled);
  }
  return compiled;
}

/** What is wrong with a pattern; undefined: nothing. */
export function checkRegex(source: string): string | undefined {
  const compiled = compilePattern(source);
  return typeof compiled === "string" ? compiled : undefined;
}

function compile(source: string): Pattern | string {
  // Most patterns hold no operator: a comparison does. Dots behind a backslash are the one escape people use.
  if (/^(?:[A-Za-z0-9/_\-~%=&:@,;!"'<># ]|\\[.\-/])*$/.test(source)) {
    const literal = source.replaceAll("\\", "");
    return { source, matches: (text) => text === literal };
  }
  // Nor do most of the others but for `.*` at the end; it matches anything but a line feed.
  const start = /^([A-Za-z0-9/_\-~%=&:@,;!"'<># ]*)\.\*$/.exec(source)?.[1];
  if (start !== undefined) return { source, matches: (text) => text.startsWith(start) && !text.includes("\n") };
  try {
    const regex = RE2JS.compile(source);
    return { source, matches: (text) => regex.testExact(text) };
  } catch (error) {
    return `not a regular expression of RE2: ${error instanceof Error ? error.message : String(error)}`;
  }
}
