/** Flags about a connection: what the workbench can't read is a wrong command line. */
import {
  type HttpRequest,
  type Party,
  parseIcmp,
  parseRequest,
  parseTransport,
  type Transport,
  type World,
} from "#control/workbench";
import { usageError } from "../failure.ts";

/** Reads `--port`. Throws USAGE. */
export function readPort(text: string, world: World, to: Party): Transport {
  return understood("--port", parseTransport(text, world, to));
}

/** Reads `--icmp`; true: without a type. Throws USAGE. */
export function readIcmp(text: string | true, to: Party): Transport {
  return understood("--icmp", parseIcmp(text === true ? undefined : text, to));
}

/** Reads `--http` and `--header`. Throws USAGE. */
export function readRequest(text: string, headers?: readonly string[]): HttpRequest {
  return understood("--http", parseRequest(text, headers));
}

function understood<T extends object>(flag: string, read: T | string): T {
  if (typeof read === "string") throw usageError(`${flag}: ${read}`);
  return read;
}
