/** What a benchmark yields, and what it may use. */

/** One measured figure. With a baseline measured in the same run, `ratio` is value / baseline. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline?: { readonly name: string; readonly value: number };
  readonly ratio?: number;
  /** What was promised, as text ("ratio <= 0.95"), and whether this run kept it. */
  readonly goal?: string;
  readonly met?: boolean;
  readonly percentiles?: { readonly p50: number; readonly p90?: number; readonly p99: number; readonly p999?: number };
}

/** What a benchmark is given: a place for progress, and how long one measurement may take. */
export interface BenchContext {
  readonly log: (line: string) => void;
  readonly seconds: number;
}

/** A benchmark: `npm run bench -- NAME` runs it. It cleans up after itself. */
export interface Bench {
  readonly name: string;
  run(context: BenchContext): Promise<Figure[]>;
}

/** The q-quantile (0..1) of samples; sorts a copy. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** Percentiles of samples, rounded to a hundredth of the unit. */
export function percentiles(samples: readonly number[]): { p50: number; p90: number; p99: number } {
  const at = (q: number) => Math.round(quantile(samples, q) * 100) / 100;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

/** A figure with its baseline of the same run, their ratio, and whether a goal about the ratio was kept. */
export function compared(
  figure: Omit<Figure, "baseline" | "ratio" | "met" | "goal">,
  baseline: { readonly name: string; readonly value: number },
  goal?: { readonly atMost?: number; readonly atLeast?: number },
): Figure {
  const ratio = Math.round((figure.value / baseline.value) * 1000) / 1000;
  if (!goal) return { ...figure, baseline, ratio };
  const met = goal.atMost !== undefined ? ratio <= goal.atMost : ratio >= (goal.atLeast ?? 0);
  const text = goal.atMost !== undefined ? `ratio <= ${goal.atMost}` : `ratio >= ${goal.atLeast}`;
  return { ...figure, baseline, ratio, goal: text, met };
}

/** A figure with an upper limit of its own. */
export function limited(figure: Omit<Figure, "met" | "goal">, atMost: number): Figure {
  return { ...figure, goal: `<= ${atMost} ${figure.unit}`, met: figure.value <= atMost };
}
