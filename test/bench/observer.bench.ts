/** The observer alone: how many kernel events it takes in per second, and how many flows with names and reasons it makes. */
import { decodeEvent } from "#observer/decode";
import { encodeEvent } from "#observer/decode/testing";
import { createFlowBuilder } from "#observer/flow";
import { twoPods } from "#observer/flow/testing";
import { createObserver } from "#observer/server";
import { type Bench, type BenchContext, type Figure, quantile } from "./figure.ts";

const rounds = 5;
const batch = 4096;

/** The benchmark; a few seconds. */
export const bench: Bench = {
  name: "observer",
  async run({ seconds }: BenchContext): Promise<Figure[]> {
    const events = Array.from({ length: batch }, (_, i) =>
      encodeEvent({ sport: 1024 + i, ...(i % 4 === 3 && { verdict: 2, reason: 133, tcpFlags: 2 }) }),
    );
    const observer = createObserver({ nodeName: "bench", version: "0", lookups: twoPods });
    const builder = createFlowBuilder({ nodeName: "bench", lookups: twoPods });
    try {
      const taken = rate(seconds, () => {
        for (const event of events) observer.ingestEvent(event, 0, event.byteLength);
      });
      const built = rate(seconds, () => {
        for (const view of events) {
          const event = decodeEvent(view, 0, view.byteLength);
          if (event === undefined) throw new Error("the event is none");
          builder.fromEvent(event, builder.factsOf(event), "");
        }
      });
      return [
        { name: "events taken in (counted, kept, named)", value: taken, unit: "events/s" },
        { name: "flows made of them (decoded, with labels and rules)", value: built, unit: "flows/s" },
      ];
    } finally {
      await observer.close();
    }
  },
};

/** Items per second, the median of some rounds; `work` does `batch` of them. */
function rate(seconds: number, work: () => void): number {
  const rates = Array.from({ length: rounds }, () => {
    const begun = performance.now();
    const end = begun + (seconds * 1000) / rounds / 2;
    let count = 0;
    for (; performance.now() < end; count += batch) work();
    return count / ((performance.now() - begun) / 1000);
  });
  return quantile(rates, 0.5);
}
