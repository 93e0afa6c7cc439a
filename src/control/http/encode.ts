/** Automata and sets of rules -> the words that the kernel runs. The layout is described in bpf/include/abi/http_rules.h. */
import { HttpLimit, httpProgramHeadCodec, httpSlotCodec } from "#contracts/bpf";
import { type Automaton, groupBytes } from "./automaton.ts";
import { Inexact } from "./regex.ts";
import type { United } from "./unite.ts";

/** Numbers of rules. */
export type RuleSet = readonly number[];

/** An automaton whose accepting states stand for rules. */
interface Judging extends United {
  /** The rules that hold where these members accept. */
  readonly rules: (members: readonly number[]) => RuleSet;
}

/** A header that rules ask for. */
export interface Slot {
  readonly absent: RuleSet;
  /** Whatever the value. */
  readonly present: RuleSet;
  readonly values: Judging;
}

/** What a program is made of. */
export interface Parts {
  readonly ruleCount: number;
  readonly line: Judging;
  /** Rules that hold whatever the host. */
  readonly anyHost: RuleSet;
  readonly host: Judging | undefined;
  /** Accepts the headers' names; members are slots. */
  readonly names: United | undefined;
  readonly slots: readonly Slot[];
}

const sizeBytes = HttpLimit.WORDS * 8;

/** Gives out room in a program, in units of 8, 4 or 2 bytes. */
class Room {
  readonly view = new DataView(new ArrayBuffer(sizeBytes));
  #used = HttpLimit.FIRST_STATE * 8;

  get usedBytes(): number {
    return this.#used;
  }

  /** Index, in units, of `count` units in a row. Throws Inexact when the program is full. */
  take(count: number, unitBytes: 8 | 4 | 2): number {
    const at = Math.ceil(this.#used / unitBytes);
    this.#used = (at + count) * unitBytes;
    if (this.#used > sizeBytes)
      throw new Inexact(`the rules come to more than the ${sizeBytes / 1024} KiB that a program has`);
    return at;
  }
}

/** Sets by content, each stored once. */
class Sets {
  readonly #room: Room;
  readonly #ruleCount: number;
  readonly #known = new Map<string, number>();

  constructor(room: Room, ruleCount: number) {
    this.#room = room;
    this.#ruleCount = ruleCount;
  }

  /** The reference to a set. */
  of(rules: RuleSet): number {
    const words = new BigUint64Array(Math.ceil(this.#ruleCount / 64));
    for (const rule of rules) words[rule >> 6]! |= 1n << BigInt(rule & 63);
    const key = words.join(",");
    let reference = this.#known.get(key);
    if (reference === undefined) {
      reference = this.#store(words);
      this.#known.set(key, reference);
    }
    return reference;
  }

  #store(words: BigUint64Array): number {
    const present = [...words.keys()].filter((i) => words[i] !== 0n);
    if (present.length === 0) return 0;
    const at = this.#room.take(present.length, 8);
    for (const [i, word] of present.entries()) this.#room.view.setBigUint64((at + i) * 8, words[word]!, true);
    return ((present.reduce((bits, word) => bits | (1 << word), 0) << 16) | at) >>> 0;
  }
}

/** An automaton with the sets (or slots) of its accepting states. */
interface Placed {
  readonly automaton: Automaton;
  /** Its state -> the kernel's. */
  readonly numbers: Int32Array;
}

/** Lays out a program. Throws Inexact when it does not fit. */
export function encodeProgram(parts: Parts): {
  readonly kind: "program";
  readonly bytes: Uint8Array;
  readonly stateCount: number;
} {
  const room = new Room();
  const judging = [parts.line, ...(parts.host ? [parts.host] : []), ...parts.slots.map((slot) => slot.values)];
  const all = [...judging, ...(parts.names ? [parts.names] : [])];

  // Accepting states come first: only these have sets.
  const accepting: { readonly united: United; readonly state: number }[] = [];
  const others: typeof accepting = [];
  for (const united of all)
    for (let state = 1; state < united.automaton.stateCount; state++)
      (united.automaton.labels[state] === 0 ? others : accepting).push({ united, state });
  const states = [...accepting, ...others];
  const first = room.take(states.length, 8);
  const placed = new Map<United, Placed>(
    all.map((united) => [
      united,
      { automaton: united.automaton, numbers: new Int32Array(united.automaton.stateCount) },
    ]),
  );
  for (const [i, { united, state }] of states.entries()) placed.get(united)!.numbers[state] = first + i;

  const moves = states.map(({ united, state }) => moveOf(placed.get(united)!, state));
  const { tables, tableOf } = classTables(moves.flatMap((move) => (move.kind === "row" ? [move.next] : [])));
  const rows = new Map<string, number>();
  for (const [i, move] of moves.entries()) {
    const word = move.kind === "literal" ? stateWord(move) : stateWord(rowOf(move.next, tables, tableOf, room, rows));
    room.view.setBigUint64((first + i) * 8, word, true);
  }

  const sets = new Sets(room, parts.ruleCount);
  const setsAt = room.take(accepting.length, 4);
  for (const [i, { united, state }] of accepting.entries()) {
    const members = united.accepted[united.automaton.labels[state]!]!;
    const judge = judging.find((one) => one === united);
    room.view.setUint32((setsAt + i) * 4, judge ? sets.of(judge.rules(members)) : members[0]!, true);
  }
  const slotInts = httpSlotCodec.size / 4;
  const slotsAt = room.take(parts.slots.length * slotInts, 4);
  for (const [i, { absent, present, values }] of parts.slots.entries()) {
    const start = placed.get(values)!.numbers[values.automaton.start]!;
    const slot = { absent: sets.of(absent), present: sets.of(present), start };
    httpSlotCodec.write(room.view, (slotsAt + i * slotInts) * 4, slot);
  }
  const startOf = (united: United | undefined) =>
    united === undefined ? 0 : placed.get(united)!.numbers[united.automaton.start]!;
  httpProgramHeadCodec.write(room.view, 0, {
    dead: 0n,
    layout: HttpLimit.LAYOUT,
    ruleCount: parts.ruleCount,
    lineStart: startOf(parts.line),
    hostStart: startOf(parts.host),
    headerStart: startOf(parts.names),
    acceptingEnd: first + accepting.length,
    sets: setsAt,
    slots: slotsAt,
    slotCount: parts.slots.length,
    anyHost: sets.of(parts.anyHost),
    classes: Uint8Array.from({ length: HttpLimit.CLASS_TABLES * 256 }, (_, i) => tables[i >> 8]?.classes[i & 255] ?? 0),
  });
  return { kind: "program", bytes: new Uint8Array(room.view.buffer), stateCount: states.length };
}

/** Where a state leads. Nearly all are steps of a literal: one byte leads on, all others to one and the same state. */
type Move =
  | { readonly kind: "literal"; readonly expect: number; readonly hit: number; readonly miss: number }
  /** By byte. */
  | { readonly kind: "row"; readonly next: Uint16Array };

function moveOf({ automaton, numbers }: Placed, state: number): Move {
  const { next, classes, classCount } = automaton;
  const targets = Uint16Array.from(classes, (c) => numbers[next[state * classCount + c]!]!);
  const miss = mostCommon(targets);
  const hits = [...targets.keys()].filter((byte) => targets[byte] !== miss);
  // Byte 0 stands for "no byte expected"; it leads where it would anyway.
  if (hits.length > 1 || hits[0] === 0) return { kind: "row", next: targets };
  return { kind: "literal", expect: hits[0] ?? 0, hit: hits.length === 0 ? miss : targets[hits[0]!]!, miss };
}

function mostCommon(targets: Uint16Array): number {
  const counts = new Map<number, number>();
  for (const target of targets) counts.set(target, (counts.get(target) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}

interface ClassTable {
  readonly classes: Uint8Array;
  readonly samples: readonly number[];
}

/**
 * The tables of classes that make the rows short: one that serves every row, and those that most rows gain from, such as
 * "digits, question mark, the rest". A row is indexed by the one with the fewest classes that tells its bytes apart.
 */
function classTables(rows: readonly Uint16Array[]): {
  readonly tables: readonly ClassTable[];
  readonly tableOf: (next: Uint16Array) => number;
} {
  const partition = (next: Uint16Array) => groupBytes((byte) => String(next[byte]));
  const kinds = new Map<string, { readonly table: ClassTable; count: number }>();
  for (const next of rows) {
    const table = partition(next);
    const key = table.classes.join(",");
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, { table, count: 1 });
    else kind.count++;
  }
  const all = [...kinds.values()];
  const common = groupBytes((byte) => all.map(({ table }) => table.classes[byte]).join(","));
  const gain = ({ table, count }: (typeof all)[number]) => count * (common.samples.length - table.samples.length);
  const best = all.sort((a, b) => gain(b) - gain(a)).slice(0, HttpLimit.CLASS_TABLES - 1);
  const tables = [common, ...best.map(({ table }) => table)];
  const bySize = [...tables.keys()].sort((a, b) => tables[a]!.samples.length - tables[b]!.samples.length);
  const serves = ({ classes, samples }: ClassTable, next: Uint16Array) =>
    next.every((target, byte) => next[samples[classes[byte]!]!] === target);
  return { tables, tableOf: (next) => bySize.find((table) => serves(tables[table]!, next))! };
}

/** The row of a state, shared with states of equal rows. */
function rowOf(
  next: Uint16Array,
  tables: readonly ClassTable[],
  tableOf: (next: Uint16Array) => number,
  room: Room,
  rows: Map<string, number>,
): Word {
  const table = tableOf(next);
  const targets = tables[table]!.samples.map((byte) => next[byte]!);
  const key = `${table}: ${targets.join(",")}`;
  let row = rows.get(key);
  if (row === undefined) {
    row = room.take(targets.length, 2);
    for (const [c, target] of targets.entries()) room.view.setUint16((row + c) * 2, target, true);
    rows.set(key, row);
  }
  return { hit: next[0]!, table, row };
}

interface Word {
  readonly expect?: number;
  readonly hit: number;
  readonly miss?: number;
  readonly table?: number;
  readonly row?: number;
}

function stateWord({ expect = 0, hit, miss = 0, table = 0, row = 0 }: Word): bigint {
  return BigInt(expect | (table << 8)) | (BigInt(hit) << 16n) | (BigInt(miss) << 32n) | (BigInt(row) << 48n);
}
