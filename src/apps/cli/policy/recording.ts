/** Where recorded flows come from: files, standard input, or the buffer of a running observer; line by line, never all at once. */
import { createReadStream } from "node:fs";
import { formatResponse } from "#contracts/hubble";
import { clusterOfLine } from "#control/replay";
import { errorCode, instancePaths, TsiliumError } from "#core/runtime";
import { usageError } from "../failure.ts";
import { receiveFlows } from "../observe/observe.ts";

/** Flags that say which observer is asked where no file is named. */
export interface RecordingFlags {
  readonly server?: string;
}

/** Lines at the start of a recording that are searched for the name of its cluster. */
const searched = 1000;

/** A recording whose first lines have been looked at. */
export interface Recording {
  /** As its flows name it; undefined if none does. */
  readonly clusterName: string | undefined;
  readonly lines: AsyncIterable<string>;
}

/** Opens recordings; without any, the observer's. Throws FILE_UNREADABLE, AGENT_NOT_RUNNING and what else observing throws. */
export async function openRecording(paths: readonly string[], flags: RecordingFlags): Promise<Recording> {
  if (paths.length > 0 && flags.server !== undefined) throw usageError("--server goes without files of flows");
  if (paths.filter((path) => path === "-").length > 1) throw usageError("standard input (-) can be read only once");
  const lines = (paths.length === 0 ? observedLines(flags.server) : linesOf(paths))[Symbol.asyncIterator]();
  const head: string[] = [];
  let clusterName: string | undefined;
  while (head.length < searched && clusterName === undefined) {
    const next = await lines.next();
    if (next.done) break;
    head.push(next.value);
    clusterName = clusterOfLine(next.value);
  }
  return {
    clusterName,
    lines: (async function* () {
      yield* head;
      for (let next = await lines.next(); !next.done; next = await lines.next()) yield next.value;
    })(),
  };
}

/** Longest line that is taken for a flow, in characters; what is longer arrives in pieces, which are none. */
const longestLine = 4 << 20;

async function* linesOf(paths: readonly string[]): AsyncGenerator<string> {
  for (const path of paths) {
    const input: AsyncIterable<string> = (
      path === "-" ? process.stdin : createReadStream(path, { highWaterMark: 1 << 20 })
    ).setEncoding("utf8");
    let rest = "";
    try {
      for await (const chunk of input) {
        const pieces = (rest + chunk).split("\n");
        rest = pieces.pop()!;
        yield* pieces;
        if (rest.length <= longestLine) continue;
        yield rest;
        rest = "";
      }
    } catch (cause) {
      const why = errorCode(cause) === "ENOENT" ? "it does not exist" : (errorCode(cause) ?? "it can't be read");
      throw new TsiliumError("FILE_UNREADABLE", `can't read ${path}: ${why}`, { cause, details: { file: path } });
    }
    if (rest !== "") yield rest;
  }
}

async function* observedLines(server = instancePaths().hubbleSocket): AsyncGenerator<string> {
  const everything = { number: 2n ** 64n - 1n, first: false, follow: false, whitelist: [], blacklist: [] };
  for await (const response of receiveFlows(server, everything)) yield formatResponse(response);
}
