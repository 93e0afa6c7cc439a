/** Other values into YAML text, as little of it touched as can be: comments, order, quotes and documents that keep their value stay. */
import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseAllDocuments,
  Scalar,
  visit,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { plainBlanks } from "./parse.ts";

/**
 * Rewrites a stream of documents. `replace` is given each document's value and returns the one that it is to have; the very same
 * keeps its text, but for blanks that only look like spaces: these become spaces everywhere. The text must be readable.
 */
export function rewriteManifests(text: string, replace: (value: unknown) => unknown): string {
  const plain = plainBlanks(text);
  let out = "";
  let end = 0;
  for (const document of parseAllDocuments(plain, { logLevel: "silent" })) {
    if (!("range" in document)) continue;
    // What stands before a document's first token is its comment.
    const source = plain.slice(end, document.range[2]);
    end = document.range[2];
    const value: unknown = document.errors.length > 0 ? undefined : document.toJS();
    const wanted = document.errors.length > 0 ? undefined : replace(value);
    out += Object.is(wanted, value) ? source : rewriteDocument(document, wanted, source);
  }
  return out + plain.slice(end);
}

function rewriteDocument(document: Document.Parsed, value: unknown, source: string): string {
  const before = commentsOf(document);
  new Rewriter(document).run(value);

  const after = commentsOf(document);

  // Comments whose place is gone are kept at the top.
  const homeless = before.filter((comment) => {
    const at = after.indexOf(comment);
    if (at >= 0) after.splice(at, 1);
    return at < 0;
  });
  if (homeless.length > 0) document.commentBefore = [document.commentBefore, ...homeless].filter(Boolean).join("\n");
  return document.toString({
    lineWidth: 0,
    indent: /^( +)[^\s#-]/m.exec(source)?.[1]?.length === 4 ? 4 : 2,
    indentSeq: !/^( *)[^\s#][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*\1- /m.test(source),
    flowCollectionPadding: !/[{[][^\s}\]]/.test(source),
  });
}

function commentsOf(document: Document.Parsed): string[] {
  const found = [document.commentBefore, document.comment];
  visit(document, {
    // A visitor's answer steers the walk: it must have none.
    Node: (_, node) => {
      found.push(node.commentBefore ?? null, node.comment ?? null);
    },
  });
  return found.filter((one) => typeof one === "string" && one !== "") as string[];
}

/** Brings a document's tree to a value; nodes that lose their place are put where the value has the same again. */
class Rewriter {
  readonly #document: Document.Parsed;
  /** Entries of maps that lost their place, by key. */
  readonly #loose = new Map<string, Pair[]>();
  /** Entries that have their place: each can have only one. */
  readonly #placed = new Set<Pair>();

  constructor(document: Document.Parsed) {
    this.#document = document;
  }

  run(value: unknown): void {
    this.#loosen(this.#document.contents, value);
    this.#document.contents = this.#fit(this.#document.contents, value) as Document.Parsed["contents"];
  }

  /** First collects what has no place any more, so that it is at hand wherever it is wanted. */
  #loosen(node: unknown, value: unknown): void {
    if (isMap(node)) {
      const fields = isRecord(value) ? value : {};
      for (const pair of node.items) {
        const key = keyOf(pair);
        if (Object.hasOwn(fields, key)) this.#loosen(pair.value, fields[key]);
        else this.#collect(pair);
      }
    } else if (isSeq(node)) {
      const items = Array.isArray(value) ? value : [];
      for (const [i, item] of node.items.entries()) this.#loosen(item, items[i]);
    }
  }

  #collect(pair: Pair): void {
    const key = keyOf(pair);
    this.#loose.set(key, [...(this.#loose.get(key) ?? []), pair]);
    this.#loosen(pair.value, undefined);
  }

  /** The node for a value: the given one, changed, or a new one with its comments. */
  #fit(node: unknown, value: unknown): Node {
    if (isMap(node) && isRecord(value)) return this.#fitMap(node, value);
    if (isSeq(node) && Array.isArray(value)) return this.#fitSeq(node, value);
    if (isScalar(node) && !isRecord(value) && !Array.isArray(value)) {
      if (Object.is(node.value, value)) return node;
      const made = new Scalar(value);
      copyComments(node, made);
      return made;
    }
    if (isNode(node) && !isScalar(node) && isSame(node.toJS(this.#document), value)) return node;
    const made = this.#make(value);
    if (isNode(node)) copyComments(node, made);
    return made;
  }

  #fitMap(map: YAMLMap, fields: Readonly<Record<string, unknown>>): Node {
    const own = new Map(map.items.map((pair) => [keyOf(pair), pair]));
    const first = map.items[0];
    map.items = Object.entries(fields).map(([key, value]) => {
      const here = own.get(key);
      const kept = here !== undefined && !this.#placed.has(here) ? here : this.#take(key, value);
      const pair = kept ?? this.#document.createPair(key, null);
      this.#placed.add(pair);
      pair.value = this.#fit(pair.value, value);
      return pair;
    });
    // A comment above a map is about its first entry, and moves on with it.
    if (
      map.commentBefore &&
      first !== undefined &&
      map.items[0] !== first &&
      map.items.includes(first) &&
      isScalar(first.key)
    ) {
      first.key.commentBefore = map.commentBefore;
      map.commentBefore = null;
    }
    // Flow style is for what fits on a line.
    if (map.flow === true && map.items.some(({ value }) => isCollection(value) && value.flow !== true))
      map.flow = false;
    return map;
  }

  #fitSeq(seq: YAMLSeq, values: readonly unknown[]): Node {
    const own = seq.items;
    seq.items = values.map((value, i) => this.#fit(own[i], value));
    return seq;
  }

  #make(value: unknown): Node {
    if (isRecord(value)) return this.#fitMap(this.#document.createNode({}) as YAMLMap, value);
    if (Array.isArray(value)) return this.#fitSeq(this.#document.createNode([]) as YAMLSeq, value);
    return this.#document.createNode(value);
  }

  /** An entry of that key that lost its place: best one that has the value already. */
  #take(key: string, value: unknown): Pair | undefined {
    const found = (this.#loose.get(key) ?? []).filter((pair) => !this.#placed.has(pair));
    return found.find(({ value: node }) => isNode(node) && isSame(node.toJS(this.#document), value)) ?? found[0];
  }
}

function copyComments(from: Node, to: Node): void {
  to.commentBefore = from.commentBefore ?? null;
  to.comment = from.comment ?? null;
  to.spaceBefore = from.spaceBefore ?? false;
}

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function keyOf(pair: unknown): string {
  return isPair(pair) ? String(isScalar(pair.key) ? pair.key.value : pair.key) : "";
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
