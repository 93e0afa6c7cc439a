/**
 * For tests: runs a program's bytes as bpf/lib/http_rules.h does, as far as a request has one reading.
 * @module
 */
import { HttpLimit, httpProgramHeadCodec, httpSlotCodec } from "#contracts/bpf";
import type { Automaton } from "./automaton.ts";

export { buildAutomaton } from "./build.ts";
export { targetBytes } from "./bytes.ts";
export { Inexact, parseRegex } from "./regex.ts";

/** Whether the automaton accepts a text. */
export function accepts({ start, classes, classCount, next, labels }: Automaton, text: string): boolean {
  let state = start;
  for (const byte of Buffer.from(text, "latin1")) state = next[state * classCount + classes[byte]!]!;
  return labels[state] !== 0;
}

/** A request as the kernel steps it; header names in any case, one item for each line. */
export interface SteppedRequest {
  readonly method: string;
  readonly target: string;
  readonly host?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/** The rules that match, in ascending order. */
export function runProgram(bytes: Uint8Array, { method, target, host, headers = [] }: SteppedRequest): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = httpProgramHeadCodec.read(view, 0);
  const step = (state: number, byte: number): number => {
    const at = state * 8;
    if (view.getUint8(at) === byte) return view.getUint16(at + 2, true);
    const row = view.getUint16(at + 6, true);
    return row === 0
      ? view.getUint16(at + 4, true)
      : view.getUint16((row + head.classes[(view.getUint8(at + 1) << 8) | byte]!) * 2, true);
  };
  const run = (state: number, text: string) => Buffer.from(text, "latin1").reduce(step, state);
  const setOf = (state: number, otherwise: number) =>
    state >= HttpLimit.FIRST_STATE && state < head.acceptingEnd
      ? view.getUint32((head.sets + state - HttpLimit.FIRST_STATE) * 4, true)
      : otherwise;
  const slot = (i: number) => httpSlotCodec.read(view, head.slots * 4 + i * httpSlotCodec.size);

  const values = new Map<number, number>();
  for (const [name, value] of headers) {
    const found = setOf(run(head.headerStart, name.toLowerCase()), HttpLimit.MAX_SLOTS);
    if (found === HttpLimit.MAX_SLOTS) continue;
    const before = values.get(found);
    values.set(found, run(before === undefined ? slot(found).start : step(before, 10), value));
  }
  const sets = [
    setOf(run(head.lineStart, `${method} ${target}`), 0),
    setOf(run(head.hostStart, host ?? ""), head.anyHost),
    ...Array.from({ length: head.slotCount }, (_, i) =>
      values.has(i) ? setOf(values.get(i)!, slot(i).present) : slot(i).absent,
    ),
  ];
  return Array.from({ length: head.ruleCount }, (_, rule) => rule).filter((rule) =>
    sets.every((set) => hasRule(view, set, rule)),
  );
}

function hasRule(view: DataView, set: number, rule: number): boolean {
  const present = set >>> 16;
  const word = rule >> 6;
  if (((present >> word) & 1) === 0) return false;
  let at = set & 0xffff;
  for (let i = 0; i < word; i++) at += (present >> i) & 1;
  return ((view.getBigUint64(at * 8, true) >> BigInt(rule & 63)) & 1n) === 1n;
}
