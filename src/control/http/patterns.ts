/** What a rule's fields ask of a request's parts, as automata. Policies share patterns, so the latest are kept. */
import type { Automaton } from "./automaton.ts";
import { buildAutomaton } from "./build.ts";
import { type ByteSet, bytesOf, byteTable, hostBytes, targetBytes, tokenBytes, valueBytes } from "./bytes.ts";
import { Inexact, type Node, nothing, parseRegex } from "./regex.ts";

const cache = new Map<string, Automaton | Inexact>();
const cacheLimit = 2048;

/** Throws Inexact, also the second time. */
function cached(key: string, make: () => Automaton): Automaton {
  let found = cache.get(key);
  if (found === undefined) {
    try {
      found = make();
    } catch (error) {
      if (!(error instanceof Inexact)) throw error;
      found = error;
    }
    if (cache.size >= cacheLimit) cache.delete(cache.keys().next().value!);
    cache.set(key, found);
  }
  if (found instanceof Inexact) throw found;
  return found;
}

const anyOf = (set: ByteSet): Node => ({ kind: "repeat", item: { kind: "set", set }, min: 0, max: undefined });
const literal = (text: string): Node => ({
  kind: "sequence",
  items: [...text].map((character): Node => ({ kind: "set", set: bytesOf(character) })),
});

/** A method; without a pattern any but CONNECT, which only a rule that names it allows. */
export function methodAutomaton(pattern: string | undefined): Automaton {
  return cached(`method ${pattern ?? ""}`, () =>
    buildAutomaton(pattern === undefined ? anyBut("CONNECT") : parseRegex(pattern), tokenBytes),
  );
}

/** A target, query included. */
export function targetAutomaton(pattern: string | undefined): Automaton {
  return cached(`target ${pattern ?? ""}`, () =>
    buildAutomaton(pattern === undefined ? anyOf(targetBytes) : parseRegex(pattern), targetBytes),
  );
}

/** A Host header's value; empty if the request has none. */
export function hostAutomaton(pattern: string): Automaton {
  return cached(`host ${pattern}`, () => buildAutomaton(parseRegex(pattern), hostBytes));
}

/** A header's name, in lower case as the kernel steps it. */
export function nameAutomaton(name: string): Automaton {
  return cached(`name ${name}`, () => buildAutomaton(literal(name.toLowerCase()), tokenBytes));
}

/** Stands between the values of two lines of one name; the kernel steps it in their stead. */
const join = "\n";

/**
 * A header's value, which all lines of its name make up: joined by commas, without white space around each. Bytes, where the
 * policy's text is UTF-8. A value that no header can have matches none.
 */
export function valueAutomaton(value: string): Automaton {
  return cached(`value ${value}`, () => {
    const space = anyOf(bytesOf(" \t"));
    const bytes = new TextEncoder().encode(value);
    const text = String.fromCharCode(...bytes);
    const possible =
      text === text.replace(/^[ \t]+|[ \t]+$/g, "") && bytes.every((byte) => byteTable(valueBytes)[byte] === 1);
    const items = [...text].map((character): Node => {
      const set: Node = { kind: "set", set: bytesOf(character) };
      if (character !== ",") return set;
      return { kind: "choice", items: [set, { kind: "sequence", items: [space, literal(join), space] }] };
    });
    const node: Node = possible ? { kind: "sequence", items: [space, ...items, space] } : { kind: "set", set: 0n };
    return buildAutomaton(node, valueBytes | bytesOf(join));
  });
}

/** Any token but this word. */
function anyBut(word: string): Node {
  const token: Node = { kind: "set", set: tokenBytes };
  const tail = anyOf(tokenBytes);
  const items: Node[] = [{ kind: "sequence", items: [literal(word), token, tail] }];
  for (let i = 0; i < word.length; i++) {
    const begun = literal(word.slice(0, i));
    const other: Node = { kind: "set", set: tokenBytes & ~bytesOf(word[i]!) };
    items.push({ kind: "sequence", items: [begun, other, tail] }, i === 0 ? nothing : begun);
  }
  return { kind: "choice", items };
}
