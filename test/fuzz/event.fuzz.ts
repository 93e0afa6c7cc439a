/** Any bytes may stand in the ring buffer: decoding them yields an event or undefined, a flow can be made of every event, and nothing throws. */
import { Flow } from "#contracts/hubble";
import { decodeEvent, eventSizeBytes } from "#observer/decode";
import { createFlowBuilder } from "#observer/flow";
import { emptyLookups } from "#observer/flow/testing";
import type { FuzzTarget } from "./main.ts";

/** xorshift32: the seed alone decides what is tried. */
function generator(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

export const fuzz: FuzzTarget = {
  name: "event",
  run({ seconds, seed }) {
    const next = generator(seed);
    const builder = createFlowBuilder({ nodeName: "fuzz", lookups: emptyLookups });
    const until = performance.now() + seconds * 1000;
    let inputs = 0;
    for (; performance.now() < until; inputs++) {
      const bytes = new Uint8Array(next() % (eventSizeBytes * 2));
      for (let i = 0; i < bytes.length; i++) bytes[i] = next();
      // Most random bytes have no valid type; half of the inputs get one, so that the fields behind it are tried too.
      if (bytes.length > 8 && next() % 2 === 0) bytes[8] = 1 + (next() % 3);
      const offset = next() % 4 === 0 ? next() % (bytes.length + 2) : 0;
      try {
        const event = decodeEvent(new DataView(bytes.buffer), offset);
        if (event === undefined) continue;
        const flow = builder.fromEvent(event, builder.factsOf(event), "");
        Flow.toJSON(Flow.decode(Flow.encode(flow).finish()));
      } catch (error) {
        throw new Error(`bytes ${Buffer.from(bytes).toString("hex")} at offset ${offset}`, { cause: error });
      }
    }
    return inputs;
  },
};
