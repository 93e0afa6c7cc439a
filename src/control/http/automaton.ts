/** Automata over bytes. */

/** A deterministic automaton over bytes. State 0 is dead: nothing leads out of it. */
export interface Automaton {
  readonly start: number;
  readonly stateCount: number;
  /** Class of each of the 256 bytes. */
  readonly classes: Uint8Array;
  readonly classCount: number;
  /** State * classCount + class -> next state. */
  readonly next: Int32Array;
  /** What each state accepts: a label, 0 for nothing. */
  readonly labels: Int32Array;
}

/** Classes of bytes with equal keys, in the order of their first byte. */
export function groupBytes(keyOf: (byte: number) => string): {
  readonly classes: Uint8Array;
  readonly samples: readonly number[];
} {
  const classes = new Uint8Array(256);
  const samples: number[] = [];
  const known = new Map<string, number>();
  for (let byte = 0; byte < 256; byte++) {
    const key = keyOf(byte);
    let number = known.get(key);
    if (number === undefined) {
      number = samples.push(byte) - 1;
      known.set(key, number);
    }
    classes[byte] = number;
  }
  return { classes, samples };
}
