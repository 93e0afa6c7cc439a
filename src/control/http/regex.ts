/**
 * Regular expressions of RE2, parsed: as far as they can be told exactly on ASCII text. Who gives one has seen to it that RE2 takes
 * it; what is unknown here is refused, never guessed. Syntax: https://github.com/google/re2/wiki/Syntax
 */
import { ascii, type ByteSet, byteRange, bytesOf, digits, foldCase, lowerCase, noByte, upperCase, wordBytes } from "./bytes.ts"; // biome-ignore format: one door

/** A pattern's parts. A character outside of ASCII is a set of no bytes: it never matches. */
export type Node =
  | { readonly kind: "set"; readonly set: ByteSet }
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "choice"; readonly items: readonly Node[] }
  | { readonly kind: "repeat"; readonly item: Node; readonly min: number; readonly max: number | undefined }
  /** The text begins, or ends, here. */
  | { readonly kind: "begin" }
  | { readonly kind: "end" };

/** Why a pattern can't be told exactly; a sentence's end: "it ...". */
export class Inexact extends Error {}

/** What matches the empty text. */
export const nothing: Node = { kind: "sequence", items: [] };

interface Flags {
  readonly foldCase: boolean;
  readonly dotNewline: boolean;
}

const whiteSpace = bytesOf("\t\n\f\r ");
const perlClasses: Readonly<Record<string, ByteSet>> = { d: digits, s: whiteSpace, w: wordBytes };
const posixClasses: Readonly<Record<string, ByteSet>> = {
  alnum: digits | upperCase | lowerCase,
  alpha: upperCase | lowerCase,
  ascii,
  blank: bytesOf("\t "),
  cntrl: byteRange(0, 31) | byteRange(127, 127),
  digit: digits,
  graph: byteRange(0x21, 0x7e),
  lower: lowerCase,
  print: byteRange(0x20, 0x7e),
  punct: (byteRange(0x21, 0x7e) & ~wordBytes) | bytesOf("_"),
  space: byteRange(9, 13) | bytesOf(" "),
  upper: upperCase,
  word: wordBytes,
  xdigit: digits | byteRange(0x41, 0x46) | byteRange(0x61, 0x66),
};
const controls: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** The two characters outside of ASCII that have ASCII ones as other cases: long s, Kelvin sign. */
const foreignCases = [
  [0x17f, bytesOf("sS")],
  [0x212a, bytesOf("kK")],
] as const;

/** Parses a pattern that RE2 accepts. Throws Inexact. */
export function parseRegex(pattern: string): Node {
  const parser = new Parser([...pattern]);
  const node = parser.choice({ foldCase: false, dotNewline: false });
  if (!parser.done) throw new Inexact("has an unexpected )");
  return node;
}

class Parser {
  readonly #text: readonly string[];
  #at = 0;

  /** One code point each. */
  constructor(text: readonly string[]) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }

  #peek(text: string): boolean {
    for (const [i, character] of [...text].entries()) if (this.#text[this.#at + i] !== character) return false;
    return true;
  }

  #take(text: string): boolean {
    const found = this.#peek(text);
    if (found) this.#at += text.length;
    return found;
  }

  #next(): string {
    const character = this.#text[this.#at++];
    if (character === undefined) throw new Inexact("ends in the middle");
    return character;
  }

  #until(end: string): string {
    let text = "";
    while (!this.#take(end)) text += this.#next();
    return text;
  }

  /** Alternatives, up to the end or a closing parenthesis. Flags set inside hold to its end. */
  choice(flags: Flags): Node {
    const items: Node[] = [];
    let sequence: Node[] = [];
    let now = flags;
    const end = () => {
      items.push(sequence.length === 1 ? sequence[0]! : { kind: "sequence", items: sequence });
      sequence = [];
    };
    while (!this.done && !this.#peek(")")) {
      if (this.#take("|")) {
        end();
        continue;
      }
      if (this.#take("\\Q")) {
        sequence.push(...this.#quoted(now));
        continue;
      }
      if (this.#take("(")) {
        const group = this.#group(now);
        if ("foldCase" in group) {
          now = group;
          if (this.#bounds() !== undefined) throw new Inexact("repeats what stands before its flags");
        } else sequence.push(this.#repeated(group));
        continue;
      }
      sequence.push(this.#repeated(this.#atom(now)));
    }
    end();
    return items.length === 1 ? items[0]! : { kind: "choice", items };
  }

  /** What follows an opening parenthesis: a group, or flags for what comes. */
  #group(flags: Flags): Node | Flags {
    let inner = flags;
    if (this.#take("?")) {
      if (this.#take("P<") || this.#take("<")) this.#until(">");
      else {
        const text: string[] = [];
        while (!this.#peek(":") && !this.#peek(")")) text.push(this.#next());
        inner = changedFlags(flags, text);
        if (this.#take(")")) return inner;
        this.#next();
      }
    }
    const node = this.choice(inner);
    if (!this.#take(")")) throw new Inexact("lacks a )");
    return node;
  }

  /** What \Q quotes; a repetition behind \E is of the last character. */
  #quoted(flags: Flags): Node[] {
    const items: Node[] = [];
    while (!this.done && !this.#take("\\E")) items.push(this.#literal(this.#next(), flags));
    const last = items.pop();
    if (last !== undefined) items.push(this.#repeated(last));
    else if (this.#bounds() !== undefined) throw new Inexact("repeats an empty quotation");
    return items;
  }

  /** The item with the repetitions behind it. Lazy or not is the same for a match of the whole. */
  #repeated(item: Node): Node {
    let node = item;
    for (;;) {
      const bounds = this.#bounds();
      if (bounds === undefined) return node;
      this.#take("?");
      node = { kind: "repeat", item: node, ...bounds };
    }
  }

  #bounds(): { readonly min: number; readonly max: number | undefined } | undefined {
    if (this.#take("*")) return { min: 0, max: undefined };
    if (this.#take("+")) return { min: 1, max: undefined };
    if (this.#take("?")) return { min: 0, max: 1 };
    if (!this.#peek("{")) return undefined;
    const end = this.#text.indexOf("}", this.#at);
    const found = end < 0 ? null : /^\{(\d+)(?:(,)(\d*))?\}$/.exec(this.#text.slice(this.#at, end + 1).join(""));
    // What is no repetition is a brace.
    if (found === null) return undefined;
    this.#at = end + 1;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === "" ? undefined : Number(found[3]);
    return { min, max };
  }

  #atom(flags: Flags): Node {
    const character = this.#next();
    switch (character) {
      case ".":
        return { kind: "set", set: flags.dotNewline ? ascii : ascii & ~bytesOf("\n") };
      case "[":
        return { kind: "set", set: this.#class(flags) };
      // With (?m) a line's ends; what is matched has one line only.
      case "^":
        return { kind: "begin" };
      case "$":
        return { kind: "end" };
      case "\\":
        return this.#escaped(flags);
      default:
        return this.#literal(character, flags);
    }
  }

  #literal(character: string, flags: Flags): Node {
    const code = character.codePointAt(0)!;
    return { kind: "set", set: rangeSet(code, code, flags.foldCase) };
  }

  #escaped(flags: Flags): Node {
    const character = this.#text[this.#at];
    if (character === "A" || character === "z") {
      this.#at++;
      return { kind: character === "A" ? "begin" : "end" };
    }
    const perl = this.#perlClass();
    if (perl !== undefined) return { kind: "set", set: perl };
    const code = this.#escape();
    return { kind: "set", set: rangeSet(code, code, flags.foldCase) };
  }

  /** \d, \D and so on, behind the backslash; undefined if it is none of them. */
  #perlClass(): ByteSet | undefined {
    const name = this.#text[this.#at] ?? "";
    const positive = perlClasses[name.toLowerCase()];
    if (positive === undefined || !/^[dswDSW]$/.test(name)) return undefined;
    this.#at++;
    return name === name.toLowerCase() ? positive : ascii & ~positive;
  }

  /** An escaped character's code, behind the backslash. */
  #escape(): number {
    const character = this.#next();
    const control = controls[character];
    if (control !== undefined) return control;
    if (character === "x") {
      if (this.#take("{")) return codeOf(this.#until("}"), 16);
      return codeOf(this.#next() + this.#next(), 16);
    }
    if (/^[0-7]$/.test(character)) {
      // \0, \012; a single digit other than 0 would be a back-reference, which RE2 refuses.
      let octal = character;
      while (octal.length < 3 && /^[0-7]$/.test(this.#text[this.#at] ?? "")) octal += this.#next();
      return codeOf(octal, 8);
    }
    if (/^[A-Za-z0-9]$/.test(character) || character.codePointAt(0)! > 127)
      throw new Inexact(
        character === "b" || character === "B" ? `uses word boundaries (\\${character})` : `uses \\${character}`,
      );
    return character.codePointAt(0)!;
  }

  /** A class, behind its opening bracket. */
  #class(flags: Flags): ByteSet {
    const negated = this.#take("^");
    let set = noByte;
    let first = true;
    while (first || !this.#peek("]")) {
      first = false;
      if (this.#peek("[:")) {
        const posix = this.#posixClass(flags);
        if (posix !== undefined) {
          set |= posix;
          continue;
        }
      }
      if (this.#peek("\\")) {
        this.#next();
        const perl = this.#perlClass();
        if (perl !== undefined) {
          set |= perl;
          continue;
        }
        this.#at--;
      }
      const low = this.#classCharacter();
      let high = low;
      if (this.#peek("-") && this.#text[this.#at + 1] !== "]" && this.#at + 1 < this.#text.length) {
        this.#next();
        high = this.#classCharacter();
      }
      set |= rangeSet(low, high, flags.foldCase);
    }
    this.#next();
    return negated ? ascii & ~set : set;
  }

  #classCharacter(): number {
    return this.#take("\\") ? this.#escape() : this.#next().codePointAt(0)!;
  }

  #posixClass(flags: Flags): ByteSet | undefined {
    const found = /^\[:(\^?)([a-z]+):\]/.exec(this.#text.slice(this.#at, this.#at + 12).join(""));
    if (found === null) return undefined;
    const positive = posixClasses[found[2]!];
    if (positive === undefined) throw new Inexact(`uses the class ${found[0]}`);
    this.#at += found[0].length;
    const folded = flags.foldCase ? foldCase(positive) : positive;
    return found[1] === "" ? folded : ascii & ~folded;
  }
}

function changedFlags(flags: Flags, text: readonly string[]): Flags {
  let { foldCase: fold, dotNewline } = flags;
  let value = true;
  for (const letter of text) {
    if (letter === "-") value = false;
    else if (letter === "i") fold = value;
    else if (letter === "s") dotNewline = value;
    // U swaps greedy and lazy, m is about lines: neither matters to a match of the whole of one line.
    else if (letter !== "m" && letter !== "U") throw new Inexact(`uses (?${text.join("")})`);
  }
  return { foldCase: fold, dotNewline };
}

function codeOf(text: string, radix: number): number {
  const code = Number.parseInt(text, radix);
  if (!(code >= 0 && code <= 0x10_ffff)) throw new Inexact(`has an escape that is no character: ${text}`);
  return code;
}

/** The ASCII characters among those of the range, and those that are another case of one in it. */
function rangeSet(low: number, high: number, fold: boolean): ByteSet {
  const set = byteRange(low, Math.min(high, 127));
  if (!fold) return set;
  let folded = foldCase(set);
  for (const [code, letters] of foreignCases) if (low <= code && code <= high) folded |= letters;
  return folded;
}
