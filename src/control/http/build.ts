/** Patterns as automata: a node -> states and transitions by classes of bytes, as few as there can be. */

import { type Automaton, groupBytes } from "./automaton.ts";
import { type ByteSet, byteTable } from "./bytes.ts";
import { minimise } from "./minimise.ts";
import { Inexact, type Node } from "./regex.ts";

/** Bounds of one pattern. */
const limits = { nodes: 20_000, states: 2000, steps: 4_000_000 } as const;

/** What leads on from a node of the non-deterministic automaton: bytes, or nothing but a condition. */
interface Edge {
  readonly on: ByteSet | "always" | "begin" | "end";
  readonly to: number;
}

class Graph {
  readonly edges: Edge[][] = [];

  node(): number {
    if (this.edges.length >= limits.nodes) throw new Inexact(`needs more than ${limits.nodes} nodes`);
    return this.edges.push([]) - 1;
  }

  add(from: number, on: Edge["on"], to: number): void {
    this.edges[from]!.push({ on, to });
  }

  /** Lays the part between two nodes. */
  lay(node: Node, from: number, to: number): void {
    switch (node.kind) {
      case "set":
        this.add(from, node.set, to);
        break;
      case "begin":
      case "end":
        this.add(from, node.kind, to);
        break;
      case "sequence": {
        let at = from;
        for (const item of node.items) {
          const behind = this.node();
          this.lay(item, at, behind);
          at = behind;
        }
        this.add(at, "always", to);
        break;
      }
      case "choice":
        for (const item of node.items) this.lay(item, from, to);
        break;
      case "repeat":
        this.#repeat(node, from, to);
    }
  }

  #repeat({ item, min, max }: Extract<Node, { kind: "repeat" }>, from: number, to: number): void {
    let at = this.node();
    this.add(from, "always", at);
    for (let i = 0; i < min; i++) {
      const behind = this.node();
      this.lay(item, at, behind);
      at = behind;
    }
    if (max === undefined) {
      // A node of its own to come back to: the one before may be entered from elsewhere.
      const loop = this.node();
      this.add(at, "always", loop);
      const end = this.node();
      this.lay(item, loop, end);
      this.add(end, "always", loop);
      this.add(loop, "always", to);
      return;
    }
    for (let i = min; i < max; i++) {
      this.add(at, "always", to);
      const behind = this.node();
      this.lay(item, at, behind);
      at = behind;
    }
    this.add(at, "always", to);
  }
}

/**
 * The automaton of a pattern; its texts are made of `alphabet`. Accepting states have the label 1. Throws Inexact when it would
 * be too large.
 */
export function buildAutomaton(pattern: Node, alphabet: ByteSet): Automaton {
  const graph = new Graph();
  const entry = graph.node();
  const exit = graph.node();
  graph.lay(pattern, entry, exit);
  const { classes, samples } = classify(setsOf(graph, alphabet));
  const allowed = byteTable(alphabet);

  let steps = 0;
  const closure = (from: Iterable<number>, met: (on: Edge["on"]) => boolean): number[] => {
    const seen = new Set(from);
    for (const node of seen)
      for (const { on, to } of graph.edges[node]!) {
        if (typeof on === "string" && (on === "always" || met(on))) seen.add(to);
        if (++steps > limits.steps) throw new Inexact("takes too much work to compile");
      }
    return [...seen].sort((a, b) => a - b);
  };
  const accepts = (nodes: readonly number[], first: boolean): number =>
    closure(nodes, (on) => on === "end" || (first && on === "begin")).includes(exit) ? 1 : 0;

  const sets: (readonly number[])[] = [[], closure([entry], (on) => on === "begin")];
  const labels = [0, accepts(sets[1]!, true)];
  const known = new Map<string, number>([["", 0]]);
  const rows: number[][] = [samples.map(() => 0)];
  for (let state = 1; state < sets.length; state++) {
    const row = samples.map((byte) => {
      if (allowed[byte] === 0) return 0;
      const moved: number[] = [];
      for (const node of sets[state]!)
        for (const { on, to } of graph.edges[node]!) {
          if (typeof on !== "string" && byteTable(on)[byte] === 1) moved.push(to);
          steps++;
        }
      const nodes = closure(moved, () => false);
      const key = nodes.join(",");
      let next = known.get(key);
      if (next === undefined) {
        next = sets.push(nodes) - 1;
        if (next > limits.states) throw new Inexact(`needs more than ${limits.states} states`);
        labels.push(accepts(nodes, false));
        known.set(key, next);
      }
      return next;
    });
    rows.push(row);
  }
  return minimise({
    start: 1,
    stateCount: rows.length,
    classes,
    classCount: samples.length,
    next: Int32Array.from(rows.flat()),
    labels: Int32Array.from(labels),
  });
}

function setsOf(graph: Graph, alphabet: ByteSet): ByteSet[] {
  const sets = new Set<ByteSet>([alphabet]);
  for (const edges of graph.edges) for (const { on } of edges) if (typeof on !== "string") sets.add(on);
  return [...sets];
}

/** Bytes that are in the same sets are of one class; a sample of each. */
function classify(sets: readonly ByteSet[]): { readonly classes: Uint8Array; readonly samples: readonly number[] } {
  const tables = sets.map(byteTable);
  return groupBytes((byte) => {
    let key = "";
    for (const table of tables) key += table[byte];
    return key;
  });
}
