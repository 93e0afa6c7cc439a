/** The fewest states: Hopcroft's algorithm, in n log n steps for each class of bytes. */
import type { Automaton } from "./automaton.ts";

/** States of one block lie side by side in `states`; `marked` of them, at its front, are to be split off. */
class Partition {
  readonly states: Int32Array;
  readonly #place: Int32Array;
  readonly blockOf: Int32Array;
  readonly first: number[] = [];
  readonly end: number[] = [];
  readonly #marked: number[] = [];

  /** States with equal labels begin in one block. */
  constructor(labels: Int32Array) {
    this.states = Int32Array.from(labels.keys()).sort((a, b) => labels[a]! - labels[b]! || a - b);
    this.#place = new Int32Array(labels.length);
    this.blockOf = new Int32Array(labels.length);
    for (const [i, state] of this.states.entries()) {
      this.#place[state] = i;
      if (i === 0 || labels[this.states[i - 1]!] !== labels[state]) this.#begin(i, i);
      this.end[this.end.length - 1] = i + 1;
      this.blockOf[state] = this.first.length - 1;
    }
  }

  get size(): number {
    return this.first.length;
  }

  #begin(first: number, end: number): void {
    this.first.push(first);
    this.end.push(end);
    this.#marked.push(0);
  }

  sizeOf(block: number): number {
    return this.end[block]! - this.first[block]!;
  }

  /** Marks a state; true if it is the first one of its block. */
  mark(state: number): boolean {
    const block = this.blockOf[state]!;
    const to = this.first[block]! + this.#marked[block]!;
    const from = this.#place[state]!;
    if (from < to) return false;
    const other = this.states[to]!;
    this.states[to] = state;
    this.states[from] = other;
    this.#place[state] = to;
    this.#place[other] = from;
    return ++this.#marked[block]! === 1;
  }

  /** Makes the marked states of a block one of their own; undefined if all or none are marked. */
  split(block: number): number | undefined {
    const marked = this.#marked[block]!;
    this.#marked[block] = 0;
    if (marked === 0 || marked === this.sizeOf(block)) return undefined;
    const first = this.first[block]!;
    this.#begin(first, first + marked);
    this.first[block] = first + marked;
    for (let i = first; i < first + marked; i++) this.blockOf[this.states[i]!] = this.size - 1;
    return this.size - 1;
  }
}

/** Which states lead to a state by a class of bytes. */
class Sources {
  readonly #states: Int32Array;
  readonly #begin: Int32Array;
  readonly #classCount: number;

  constructor({ stateCount, classCount, next }: Automaton) {
    this.#classCount = classCount;
    this.#begin = new Int32Array(stateCount * classCount + 1);
    for (let i = 0; i < next.length; i++) this.#begin[next[i]! * classCount + (i % classCount) + 1]!++;
    for (let i = 1; i < this.#begin.length; i++) this.#begin[i]! += this.#begin[i - 1]!;
    const fill = this.#begin.slice();
    this.#states = new Int32Array(next.length);
    for (let i = 0; i < next.length; i++) {
      const key = next[i]! * classCount + (i % classCount);
      this.#states[fill[key]!++] = Math.floor(i / classCount);
    }
  }

  of(state: number, c: number): Int32Array {
    const key = state * this.#classCount + c;
    return this.#states.subarray(this.#begin[key]!, this.#begin[key + 1]!);
  }
}

/** The same automaton with the fewest states; those from which nothing is accepted are state 0. */
export function minimise(automaton: Automaton): Automaton {
  const partition = new Partition(automaton.labels);
  const sources = new Sources(automaton);
  const waiting = new Set(Array.from({ length: partition.size }, (_, block) => block));
  for (const splitter of waiting) {
    waiting.delete(splitter);
    const targets = partition.states.slice(partition.first[splitter], partition.end[splitter]);
    for (let c = 0; c < automaton.classCount; c++) {
      const touched: number[] = [];
      for (const target of targets)
        for (const source of sources.of(target, c))
          if (partition.mark(source)) touched.push(partition.blockOf[source]!);
      for (const block of touched) {
        const made = partition.split(block);
        if (made === undefined) continue;
        if (waiting.has(block) || partition.sizeOf(made) <= partition.sizeOf(block)) waiting.add(made);
        else waiting.add(block);
      }
    }
  }
  return merged(automaton, partition.blockOf, partition.size);
}

/** One state for each block, numbered by their first states: that of state 0 stays number 0. */
function merged(automaton: Automaton, blockOf: Int32Array, count: number): Automaton {
  const { classCount, next, labels } = automaton;
  const numbers = new Int32Array(count).fill(-1);
  const samples: number[] = [];
  for (let state = 0; state < automaton.stateCount; state++)
    if (numbers[blockOf[state]!] === -1) numbers[blockOf[state]!] = samples.push(state) - 1;
  const numberOf = (state: number) => numbers[blockOf[state]!]!;
  return {
    ...automaton,
    start: numberOf(automaton.start),
    stateCount: count,
    next: Int32Array.from({ length: count * classCount }, (_, i) =>
      numberOf(next[samples[Math.floor(i / classCount)]! * classCount + (i % classCount)]!),
    ),
    labels: Int32Array.from(samples, (state) => labels[state]!),
  };
}
