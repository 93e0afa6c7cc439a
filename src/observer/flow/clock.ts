/** The kernel stamps events with CLOCK_MONOTONIC; people want the time of day. */

/** Both clocks in nanoseconds. `wallMs` may be cut to whole milliseconds, as Date.now() is. */
export interface Clocks {
  monotonicNs(): bigint;
  wallMs(): number;
}

const systemClocks: Clocks = { monotonicNs: () => process.hrtime.bigint(), wallMs: () => Date.now() };

/** A larger difference than the rounding of Date.now() can make means that somebody set the clock back. */
const steppedNs = 5_000_000n;

/**
 * The offset to add to CLOCK_MONOTONIC. Each call samples both clocks: as Date.now() cuts off, the true offset is the
 * largest one seen, which a few calls approach to some microseconds; it follows when the clock is set.
 */
export function createWallClockOffset(clocks: Clocks = systemClocks): () => bigint {
  let largest: bigint | undefined;
  return () => {
    const sample = BigInt(Math.floor(clocks.wallMs())) * 1_000_000n - clocks.monotonicNs();
    if (largest === undefined || sample > largest || largest - sample > steppedNs) largest = sample;
    return largest;
  };
}
