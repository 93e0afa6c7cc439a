/** Random choices that can be had again: the seed is printed. */
import type { TestContext } from "node:test";

export interface Random {
  readonly seed: number;
  /** 0 to n - 1. */
  below(n: number): number;
  pick<T>(items: readonly T[]): T;
}

/** Of the seed in $SEED, or a new one. */
export function createRandom(t: TestContext): Random {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_007);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const below = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  return { seed, below, pick: (items) => items[below(items.length)]! };
}
