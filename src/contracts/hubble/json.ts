/** Answers of the observer as JSON, in the form that `hubble observe -o jsonpb` prints. */

import type { LostEvent } from "./generated/flow/flow.ts";
import type { Timestamp } from "./generated/google/protobuf/timestamp.ts";
import { StringValue } from "./generated/google/protobuf/wrappers.ts";
import { GetFlowsResponse } from "./generated/observer/observer.ts";

/** Type URL of the sentence in a flow's extensions. */
export const sentenceTypeUrl = "type.googleapis.com/google.protobuf.StringValue";

type Json = Record<string, unknown>;

/** RFC 3339 in UTC with as many of 0, 3, 6 or 9 decimals as are needed: what Go prints. */
export function formatTimestamp(time: Timestamp): string {
  const seconds = new Date(Number(time.seconds ?? 0n) * 1000).toISOString().slice(0, 19);
  const nanos = time.nanos ?? 0;
  if (nanos === 0) return `${seconds}Z`;
  const digits = nanos % 1_000_000 === 0 ? 3 : nanos % 1000 === 0 ? 6 : 9;
  return `${seconds}.${String(nanos).padStart(9, "0").slice(0, digits)}Z`;
}

/** One answer as JSON text without a newline: names of the .proto files, enums as names, u64 as text. */
export function formatResponse(response: GetFlowsResponse): string {
  const json = GetFlowsResponse.toJSON(response) as Json;
  // The generated code knows milliseconds only.
  if (response.time !== undefined) json.time = formatTimestamp(response.time);
  switch (response.response_types?.$case) {
    case "flow": {
      const { time, extensions } = response.response_types.value;
      const flow = json.flow as Json;
      if (time !== undefined) flow.time = formatTimestamp(time);
      if (extensions?.type_url === sentenceTypeUrl && extensions.value !== undefined) {
        flow.extensions = { "@type": sentenceTypeUrl, value: StringValue.decode(extensions.value).value };
      }
      break;
    }
    case "lost_events":
      replaceLostTimes(response.response_types.value, json.lost_events as Json);
      break;
    default:
  }
  return JSON.stringify(json);
}

function replaceLostTimes(lost: LostEvent, json: Json): void {
  if (lost.first !== undefined) json.first = formatTimestamp(lost.first);
  if (lost.last !== undefined) json.last = formatTimestamp(lost.last);
}
