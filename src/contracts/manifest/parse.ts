/** YAML text -> objects, with the way back from a field path to line and column. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type YAMLMap,
} from "yaml";
import { type PathSegments, type Problem, parsePath } from "./problem.ts";

/** Position of a piece of text; line and column count from 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
  /** Characters on that line. */
  readonly length: number;
}

/** One document of a YAML stream. */
export interface Manifest {
  /** The plain value; undefined if the text is broken. Given also where only the kind of blanks is wrong. */
  readonly value: unknown;
  /** What is wrong with the text itself: syntax, blanks, duplicate keys, aliases that explode. Located. Errors refuse the document. */
  readonly problems: readonly Problem[];
  /** Where a field stands; of a field that is not there, its nearest parent. `at` "key" asks for the key of the last segment. */
  locate(path: string, at?: "key" | "value"): TextPosition;
  /** Adds file, line and column to problems that have only a path, and puts them in the order of the text. */
  locateProblems(problems: readonly Problem[]): Problem[];
}

/** Longest text that is read, in characters. A Kubernetes object holds at most 1.5 MB. */
export const maxManifestLength = 4 * 1024 * 1024;

/** What stands before the first word of a line. */
const indentation = /^[^\S\n]*(?:-[^\S\n]+)*/gm;
/** Blanks that look like spaces, but are none to YAML; copied from web pages and word processors. Each is one UTF-16 unit wide. */
const oddBlank = /[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g;

type Range = readonly [start: number, end: number];

const codes: Readonly<Record<string, readonly [code: string, hint: string]>> = {
  DUPLICATE_KEY: ["duplicate-key", "keep one of them: a map can't hold the same key twice"],
  TAB_AS_INDENT: ["yaml-syntax", "indent with spaces; YAML allows no tabs there"],
  BAD_INDENT: ["yaml-syntax", "line the keys of one map up in the same column"],
};
/** The parser has one code for keys out of line and for a bracket that is not closed. */
const unclosed = /^Flow (map|sequence) .* end with a ([}\]])$/;
function explain(code: string, message: string): readonly [code: string, hint: string] {
  const bracket = unclosed.exec(message)?.[2];
  if (bracket !== undefined)
    return ["yaml-syntax", `close the "${bracket === "}" ? "{" : "["}" above this place with "${bracket}"`];
  return codes[code] ?? ["yaml-syntax", ""];
}

/** The text with spaces in place of all blanks that are used as such before the first word of a line. */
export function plainBlanks(text: string): string {
  return text.replaceAll(indentation, (blanks) => blanks.replaceAll(oddBlank, " "));
}

/** Parses a stream of YAML (or JSON) documents. Never throws; empty documents are left out. */
export function parseManifests(text: string, options: { readonly file?: string } = {}): Manifest[] {
  const written = text;
  text = plainBlanks(text);
  const lines = new LineCounter();
  const file = options.file === undefined ? {} : { file: options.file };
  const refuse = (message: string, hint: string): Manifest =>
    manifest(undefined, undefined, lines, text, file, [
      { path: "", code: "yaml-syntax", severity: "error", message, hint, line: 1, column: 1, length: 1, ...file },
    ]);
  if (text.length > maxManifestLength)
    return [refuse(`the text has ${text.length} characters, at most ${maxManifestLength} are read`, "split it")];

  let documents: Document.Parsed[];
  try {
    documents = [...parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent" })];
  } catch (error) {
    // The parser recurses: nesting of many thousand levels exhausts the stack.
    return [refuse(`the YAML can't be read: ${error instanceof Error ? error.message : String(error)}`, "nest less")];
  }
  const out: Manifest[] = [];
  for (const document of documents) {
    const problems: Problem[] = document.errors.map((error) => {
      const [code, hint] = explain(error.code, error.message);
      const position = toPosition(lines, text, [error.pos[0], error.pos[1]]);
      return { path: "", code, severity: "error", message: error.message, hint, ...position, ...file };
    });
    let value: unknown;
    if (problems.length === 0) {
      problems.push(...findOddBlanks(written, document.range, lines, file));
      try {
        value = document.toJS();
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        problems.push({
          path: "",
          code: "yaml-alias",
          severity: "error",
          message: `the document can't be expanded: ${message}`,
          hint: "write the values out instead of using aliases",
          ...toPosition(lines, text, [document.range[0], document.range[0] + 1]),
          ...file,
        });
      }
      if (value === null && !problems.some((problem) => problem.code === "yaml-alias")) continue;
    }
    out.push(manifest(value, document, lines, text, file, problems));
  }
  return out;
}

function manifest(
  value: unknown,
  document: Document.Parsed | undefined,
  lines: LineCounter,
  text: string,
  file: { readonly file?: string },
  problems: readonly Problem[],
): Manifest {
  const locate = (path: string, at: "key" | "value" = "value"): TextPosition =>
    toPosition(lines, text, document === undefined ? [0, 1] : findRange(document, path, at));
  return {
    value,
    problems,
    locate,
    locateProblems: (found) =>
      found
        .map((problem) => ({ ...problem, ...locate(problem.path, problem.at), ...file }))
        .sort((a, b) => a.line - b.line || a.column - b.column),
  };
}

/** Walks the tree along the path, as far as it goes. */
function findRange(document: Document.Parsed, path: string, at: "key" | "value"): Range {
  let node: unknown = document.contents;
  let range: Range = rangeOf(node) ?? [document.range[0], document.range[0] + 1];
  const segments = parsePath(path);
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i]!;
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const found = findPair(node, segments, i);
      if (found === undefined) return range;
      i = found.last;
      const key = rangeOf(found.pair.key) ?? range;
      node = found.pair.value;
      const value = rangeOf(node);
      // Of a map or list the key tells more than the place where its first line begins; so it does of an empty value.
      const telling = isScalar(node) && value !== undefined && value[1] > value[0];
      range = telling && !(i === segments.length - 1 && at === "key") ? value : key;
    } else if (isSeq(node) && typeof segment === "number" && segment < node.items.length) {
      node = node.items[segment];
      range = rangeOf(node) ?? range;
    } else {
      return range;
    }
  }
  return range;
}

/** The entry of `map` that the path names from `first` on. A key with dots may stand unquoted, as Kubernetes writes it. */
function findPair(map: YAMLMap, segments: PathSegments, first: number): { pair: Pair; last: number } | undefined {
  let key = "";
  for (let last = first; last < segments.length; last++) {
    key = last === first ? String(segments[last]) : `${key}.${segments[last]}`;
    const pair = map.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
    if (pair !== undefined) return { pair, last };
  }
  return undefined;
}

function rangeOf(node: unknown): Range | undefined {
  const range = (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range;
  return range ? [range[0], range[1]] : undefined;
}

/** One problem for all lines of a document that are indented with blanks that YAML does not know as such. */
function findOddBlanks(
  text: string,
  [start, end]: readonly [number, number, number],
  lines: LineCounter,
  file: { readonly file?: string },
): Problem[] {
  const found: number[] = [];
  for (const match of text.matchAll(indentation)) {
    const inLine = match[0].search(oddBlank);
    const offset = match.index + inLine;
    if (inLine >= 0 && offset >= start && offset < end) found.push(offset);
  }
  const [first] = found;
  if (first === undefined) return [];
  const code = text.charCodeAt(first).toString(16).toUpperCase().padStart(4, "0");
  const name = code === "00A0" ? "no-break spaces (U+00A0)" : `blanks other than spaces (U+${code})`;
  return [
    {
      path: "",
      code: "odd-blank",
      severity: "error",
      message: `${found.length} line${found.length === 1 ? " is" : "s are"} indented with ${name}: they look like spaces, but YAML takes them for letters, so the keys there are not what they seem`,
      hint: "replace them by plain spaces; they come from copying out of web pages or documents. What follows is judged as if they were",
      ...toPosition(lines, text, [first, first + 1]),
      ...file,
    },
  ];
}

function toPosition(lines: LineCounter, text: string, [start, end]: Range): TextPosition {
  const { line, col } = lines.linePos(start);
  const newline = text.indexOf("\n", start);
  const stop = Math.min(end, newline < 0 ? text.length : newline);
  return { line: Math.max(1, line), column: Math.max(1, col), length: Math.max(1, stop - start) };
}
