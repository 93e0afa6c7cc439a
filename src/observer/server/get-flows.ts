/** GetFlows: which part of the ring a request means, and the walk through it. Rules as in Hubble's observer. */
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  type Flow,
  type GetFlowsRequest,
  type GetFlowsResponse,
  LostEventSource,
  type Timestamp,
} from "#contracts/hubble";
import { errorCode, errorMessage } from "#core/runtime";
import { timestampOf } from "#observer/flow";
import { compileFieldMask } from "./field-mask.ts";
import { compileFilters, type FlowPredicate } from "./filter.ts";
import type { FlowStore } from "./flow-store.ts";
import { GrpcError } from "./grpc-status.ts";
import type { LostEntry } from "./ring.ts";

/** So many entries are looked at before others get a turn of the event loop. */
const stride = 256;
/** At most so many answers go out in one piece. */
const batchSize = 64;

const nanoseconds = ({ seconds = 0n, nanos = 0 }: Timestamp): bigint => seconds * 1_000_000_000n + BigInt(nanos);
const timeOf = (flow: Flow): bigint => nanoseconds(flow.time ?? {});
const now = (): Timestamp => timestampOf(BigInt(Date.now()) * 1_000_000n);

/**
 * Answers a request in batches, oldest flow first. Whoever asks for the next batch late finds the ring further on: what was
 * overwritten meanwhile is reported as lost, and nothing queues up. Ends with the buffer or, with `follow`, with the signal.
 * Throws INVALID_ARGUMENT for filters that can't be used.
 */
export async function* getFlows(
  store: FlowStore,
  request: GetFlowsRequest,
  nodeName: string,
  signal: AbortSignal,
): AsyncGenerator<readonly GetFlowsResponse[]> {
  const { follow = false, first = false, since, until } = request;
  if (first && follow) throw new GrpcError("INVALID_ARGUMENT", "first cannot be specified with follow");
  const passes = filtersOf(request);
  const mask = compileFieldMask(request.field_mask);
  const { ring } = store;
  const limit = request.number ?? 0n;
  const [from, to] = [since && nanoseconds(since), until && nanoseconds(until)];
  const end = ring.next;
  let place = await firstPlace(store, request, passes, signal);
  let given = 0n;

  while (!signal.aborted) {
    const batch: GetFlowsResponse[] = [];
    if (place < ring.oldest) {
      batch.push(lostResponse(ring.oldest - place, LostEventSource.HUBBLE_RING_BUFFER, nodeName, now()));
      place = ring.oldest;
    }
    let ended = false;
    for (let looked = 0; looked < stride && batch.length < batchSize; looked++, place++) {
      if (!follow && (place >= end || (limit > 0n && given >= limit))) {
        ended = true;
        break;
      }
      const entry = store.at(place);
      if (entry === undefined) break;
      if (entry.kind === "lost") {
        batch.push(lostResponse(entry.count, lostSources[entry.source], nodeName, entry.time));
        continue;
      }
      const { flow } = entry;
      if (to !== undefined && timeOf(flow) > to) {
        ended = true;
        break;
      }
      if ((from !== undefined && timeOf(flow) < from) || !passes(flow)) continue;
      given++;
      batch.push({
        response_types: { $case: "flow", value: mask ? mask(flow) : flow },
        node_name: nodeName,
        ...(flow.time !== undefined && { time: flow.time }),
      });
    }
    if (batch.length > 0) yield batch;
    if (ended) return;
    if (follow && place >= ring.next) await ring.written(place, signal);
    else await nextTurn();
  }
}

function filtersOf({ whitelist = [], blacklist = [] }: GetFlowsRequest): FlowPredicate {
  try {
    return compileFilters(whitelist, blacklist);
  } catch (error) {
    if (errorCode(error) === "BAD_FLOW_FILTER") throw new GrpcError("INVALID_ARGUMENT", errorMessage(error));
    throw error;
  }
}

/** Goes back from the newest entry until enough flows were passed, or one older than `since`. */
async function firstPlace(
  store: FlowStore,
  { first = false, follow = false, number = 0n, since }: GetFlowsRequest,
  passes: FlowPredicate,
  signal: AbortSignal,
): Promise<number> {
  const { ring } = store;
  if (first && since === undefined) return ring.oldest;
  if (follow && number === 0n && since === undefined) return ring.next;
  // All of the buffer: nothing to count.
  if (number === 0n && since === undefined) return ring.oldest;
  const from = since && nanoseconds(since);
  let place = ring.next;
  for (let looked = 1, passed = 0n; place > ring.oldest && !signal.aborted; looked++, place--) {
    const entry = store.at(place - 1);
    if (entry?.kind === "flow") {
      if (from !== undefined) {
        if (timeOf(entry.flow) < from) break;
      } else if (passes(entry.flow) && ++passed === number) {
        return place - 1;
      }
    }
    if (looked % stride === 0) await nextTurn();
  }
  return place;
}

const lostSources: Readonly<Record<LostEntry["source"], LostEventSource>> = {
  "ring-buffer": LostEventSource.PERF_EVENT_RING_BUFFER,
  proxy: LostEventSource.OBSERVER_EVENTS_QUEUE,
};

function lostResponse(count: number, source: LostEventSource, nodeName: string, time: Timestamp): GetFlowsResponse {
  return {
    response_types: {
      $case: "lost_events",
      value: { source, num_events_lost: BigInt(count), first: time, last: time },
    },
    node_name: nodeName,
    time,
  };
}
