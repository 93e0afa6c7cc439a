/** Selection flags -> the request. The rules are `hubble observe`'s. */
import type { GetFlowsRequest } from "#contracts/hubble";
import { FlowFilter } from "#contracts/hubble";
import { usageError } from "../failure.ts";
import type { FilterBuilder } from "./flow-filters.ts";
import { parseMoment } from "./moment.ts";

/** Flags that select, as they stand on the command line. */
export interface SelectionFlags {
  readonly all?: boolean;
  readonly first?: number;
  readonly last?: number;
  readonly follow?: boolean;
  readonly since?: string;
  readonly until?: string;
  /** Filters as JSON, in the form that `-o json` prints fields. */
  readonly allowlist?: readonly string[];
  readonly denylist?: readonly string[];
}

const defaultLast = 20n;
/** As many as there are. */
const everything = 2n ** 64n - 1n;

/** Builds the request. Throws USAGE for flags that contradict each other. */
export function buildRequest(flags: SelectionFlags, filters: FilterBuilder): GetFlowsRequest {
  const { all = false, first = 0, last = 0, follow = false } = flags;
  const apart = (one: boolean, other: boolean, names: string): void => {
    if (one && other) throw usageError(`${names} can't be combined`);
  };
  apart(first > 0, last > 0, "--first and --last");
  apart(first > 0, all, "--first and --all");
  apart(first > 0, follow, "--first and --follow");
  apart(last > 0, all, "--last and --all");
  apart(flags.until !== undefined, follow, "--until and --follow");
  const { whitelist, blacklist } = filters.build();
  const since = flags.since === undefined ? undefined : parseMoment("--since", flags.since);
  const until = flags.until === undefined ? undefined : parseMoment("--until", flags.until);
  const timed = since !== undefined || until !== undefined;
  const lastOrDefault = all && !timed ? everything : last > 0 ? BigInt(last) : follow || timed ? 0n : defaultLast;
  return {
    number: first > 0 ? BigInt(first) : lastOrDefault,
    first: first > 0,
    follow,
    whitelist: [...whitelist, ...(flags.allowlist ?? []).map((text) => parseRaw("--allowlist", text))],
    blacklist: [...blacklist, ...(flags.denylist ?? []).map((text) => parseRaw("--denylist", text))],
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

function parseRaw(flag: string, text: string): FlowFilter {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw usageError(`${flag} takes a filter as JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw usageError(`${flag} takes a filter as a JSON object, such as {"source_pod":["default/client"]}`);
  const known = FlowFilter.fromJSON({});
  const strange = Object.keys(json).find((field) => !(field in known));
  if (strange !== undefined) throw usageError(`${flag}: a filter has no field "${strange}"`);
  return FlowFilter.fromJSON(json);
}
