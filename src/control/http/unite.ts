/** Many automata as one, which runs them all at once: its states say which of them accept. */
import { type Automaton, groupBytes } from "./automaton.ts";
import { minimise } from "./minimise.ts";
import { Inexact } from "./regex.ts";

/** One automaton for all of them. */
export interface United {
  readonly automaton: Automaton;
  /** Label of a state -> the members that accept there, in ascending order; label 0: none. */
  readonly accepted: readonly (readonly number[])[];
}

/** States have 14 bits in the kernel; beyond this the program won't fit, and the work could be without end. */
const limits = { states: 12_000, steps: 30_000_000 } as const;

/** Unites; throws Inexact when the whole would be too large. */
export function unite(members: readonly Automaton[]): United {
  const { classes, samples } = groupBytes((byte) => members.map((member) => member.classes[byte]).join(","));
  /** For each member, its own class of each class of the whole. */
  const own = members.map((member) => samples.map((byte) => member.classes[byte]!));
  let steps = 0;

  // A state is a list of (member, its state) that are not dead.
  type Tuple = readonly number[];
  const tuples: Tuple[] = [];
  const labels: number[] = [];
  const accepted: number[][] = [[]];
  const knownLabels = new Map<string, number>([["", 0]]);
  const known = new Map<string, number>();
  const stateOf = (tuple: Tuple): number => {
    const key = tuple.join(",");
    const found = known.get(key);
    if (found !== undefined) return found;
    const state = tuples.push(tuple) - 1;
    if (state > limits.states) throw new Inexact(`need more than ${limits.states} states together`);
    known.set(key, state);
    labels.push(labelOf(tuple));
    return state;
  };
  const labelOf = (tuple: Tuple): number => {
    const all: number[] = [];
    for (let i = 0; i < tuple.length; i += 2) if (members[tuple[i]!]!.labels[tuple[i + 1]!] !== 0) all.push(tuple[i]!);
    const key = all.join(",");
    let label = knownLabels.get(key);
    if (label === undefined) {
      label = accepted.push(all) - 1;
      knownLabels.set(key, label);
    }
    return label;
  };

  stateOf([]);
  const start = stateOf(members.flatMap((member, i) => (member.start === 0 ? [] : [i, member.start])));
  const next: number[] = [];
  for (let state = 0; state < tuples.length; state++) {
    const tuple = tuples[state]!;
    steps += samples.length * tuple.length;
    if (steps > limits.steps) throw new Inexact("take too much work to compile together");
    for (let c = 0; c < samples.length; c++) {
      const moved: number[] = [];
      for (let i = 0; i < tuple.length; i += 2) {
        const member = members[tuple[i]!]!;
        const to = member.next[tuple[i + 1]! * member.classCount + own[tuple[i]!]![c]!]!;
        if (to !== 0) moved.push(tuple[i]!, to);
      }
      next.push(stateOf(moved));
    }
  }
  const automaton = minimise({
    start,
    stateCount: tuples.length,
    classes,
    classCount: samples.length,
    next: Int32Array.from(next),
    labels: Int32Array.from(labels),
  });
  return { automaton, accepted };
}

/** One automaton behind the other, with a byte between them that the first one never takes; labels are those of the second. */
export function concatenate(first: Automaton, between: number, second: Automaton): Automaton {
  const { classes, samples } = groupBytes(
    (byte) => `${first.classes[byte]},${second.classes[byte]},${byte === between}`,
  );
  // States of the second follow those of the first; both share state 0.
  const offset = first.stateCount - 1;
  const behind = (state: number) => (state === 0 ? 0 : state + offset);
  const stateCount = offset + second.stateCount;
  const next = new Int32Array(stateCount * samples.length);
  const labels = new Int32Array(stateCount);
  for (const [c, byte] of samples.entries()) {
    for (let state = 1; state < first.stateCount; state++) {
      const stays = first.next[state * first.classCount + first.classes[byte]!]!;
      const leaves = byte === between && first.labels[state] !== 0 ? behind(second.start) : 0;
      next[state * samples.length + c] = stays || leaves;
    }
    for (let state = 1; state < second.stateCount; state++)
      next[behind(state) * samples.length + c] = behind(
        second.next[state * second.classCount + second.classes[byte]!]!,
      );
  }
  for (let state = 1; state < second.stateCount; state++) labels[behind(state)] = second.labels[state]!;
  return { start: first.start, stateCount, classes, classCount: samples.length, next, labels };
}
