/** Programs of HTTP rules in the kernel: one for each content, numbered, gone some time after the last policy set that names it. */
import { createHash } from "node:crypto";
import { TsiliumError } from "#core/runtime";

/** A program of rules; treat as immutable: its content is looked at once per object. */
export interface HttpProgram {
  readonly bytes: Uint8Array;
}

/** What the kernel holds programs in: `HttpProgramMap` of #datapath/maps. */
export interface HttpProgramDoor {
  readonly capacity: number;
  get(number: number): Uint8Array | undefined;
  set(number: number, program: Uint8Array): void;
  delete(number: number): boolean;
  numbers(): readonly number[];
}

/** The programs that the kernel holds. */
export interface HttpPrograms {
  /** Number of a program with this content, writing it first if there is none; undefined: the kernel has no room for another. */
  acquire(program: HttpProgram): number | undefined;
  /** As acquire, but never writes. */
  numberOf(program: HttpProgram): number | undefined;
  /** From now on these are in use, and all others are not. */
  use(numbers: ReadonlySet<number>): void;
  /** Deletes what has not been in use for `graceMs`. */
  sweep(nowMs: number): void;
  readonly count: number;
  readonly capacity: number;
  /** Why the last attempt to write one failed, other than for want of room; undefined if it did not. */
  readonly problem: string | undefined;
}

interface Held {
  readonly content: string;
  /** Since when nothing names it; undefined: something does. */
  unusedSinceMs: number | undefined;
}

/** A request that has begun under a program is judged to its end by it: heads take a minute at most. */
const graceMs = 60_000;

/**
 * Takes over the programs that the kernel holds already. Numbers are never given out twice, not even after a restart: a
 * connection may still know an old one. So they begin with the time, in seconds, and rise from there.
 */
export function createHttpPrograms(map: HttpProgramDoor, nowMs: () => number = Date.now): HttpPrograms {
  const held = new Map<number, Held>();
  const byContent = new Map<string, number>();
  let last = Math.floor(nowMs() / 1000) % 2 ** 31;
  let problem: string | undefined;

  const keep = (number: number, content: string, unusedSinceMs: number | undefined) => {
    held.set(number, { content, unusedSinceMs });
    byContent.set(content, number);
    last = Math.max(last, number);
  };
  for (const number of map.numbers()) {
    const bytes = map.get(number);
    if (bytes !== undefined) keep(number, contentOf({ bytes }), nowMs());
  }

  const forget = (number: number) => {
    map.delete(number);
    const content = held.get(number)?.content;
    held.delete(number);
    if (content !== undefined && byContent.get(content) === number) byContent.delete(content);
  };

  return {
    acquire(program) {
      const content = contentOf(program);
      const known = byContent.get(content);
      if (known !== undefined) {
        held.get(known)!.unusedSinceMs = undefined;
        return known;
      }
      if (held.size >= map.capacity) {
        // Room is dearer than the rest of somebody's grace.
        const oldest = longestUnused(held);
        if (oldest === undefined) return undefined;
        forget(oldest);
      }
      const number = last + 1;
      try {
        map.set(number, program.bytes);
        problem = undefined;
      } catch (error) {
        // Memory for one more, or a kernel that refuses maps of maps: the proxy judges, and the status says why.
        if (!(error instanceof TsiliumError)) throw error;
        problem = error.message;
        return undefined;
      }
      keep(number, content, undefined);
      return number;
    },
    numberOf: (program) => byContent.get(contentOf(program)),
    use(numbers) {
      for (const [number, program] of held)
        program.unusedSinceMs = numbers.has(number) ? undefined : (program.unusedSinceMs ?? nowMs());
    },
    sweep(now) {
      for (const [number, { unusedSinceMs }] of held)
        if (unusedSinceMs !== undefined && now - unusedSinceMs >= graceMs) forget(number);
    },
    get count() {
      return held.size;
    },
    capacity: map.capacity,
    get problem() {
      return problem;
    },
  };
}

function longestUnused(held: ReadonlyMap<number, Held>): number | undefined {
  let found: number | undefined;
  let since = Number.POSITIVE_INFINITY;
  for (const [number, { unusedSinceMs }] of held)
    if (unusedSinceMs !== undefined && unusedSinceMs < since) {
      found = number;
      since = unusedSinceMs;
    }
  return found;
}

const contents = new WeakMap<Uint8Array, string>();

function contentOf({ bytes }: HttpProgram): string {
  let content = contents.get(bytes);
  if (content === undefined) {
    content = createHash("sha256").update(bytes).digest("base64");
    contents.set(bytes, content);
  }
  return content;
}
