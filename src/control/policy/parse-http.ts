/** HTTP rules: which requests are allowed. */
import type { RateLimit } from "#contracts/proxy";
import { parseHeaders } from "./parse-headers.ts";
import { readRegex } from "./parse-regex.ts";
import { at, type Fields, isGiven, type Reader, show } from "./reader.ts";
import type { HttpRule } from "./rule.ts";

/** Reads a list of HTTP rules; the list is not empty. */
export function parseHttpRules(reader: Reader, items: readonly unknown[], path: string): readonly HttpRule[] {
  return items.map((item, i) => parseHttpRule(reader, item, `${path}[${i}]`)).filter((rule) => rule !== undefined);
}

function parseHttpRule(reader: Reader, value: unknown, path: string): HttpRule | undefined {
  const fields = reader.object(value, path, "http");
  if (fields === undefined) return undefined;
  const method = readRegex(reader, fields, path, "method");
  const target = readRegex(reader, fields, path, "path");
  const host = readRegex(reader, fields, path, "host");
  if (method !== undefined && /^[a-z]+$/.test(method))
    reader.warn(
      at(path, "method"),
      "case",
      `methods are compared with case: ${show(method)} never matches ${method.toUpperCase()}`,
      `write ${method.toUpperCase()}`,
    );
  if (target !== undefined) adviseOnPath(reader, target, at(path, "path"));
  const headers = parseHeaders(reader, fields, path);
  const rateLimit = parseRateLimit(reader, fields, path);
  return {
    ...(method === undefined ? {} : { method }),
    ...(target === undefined ? {} : { path: target }),
    ...(host === undefined ? {} : { host }),
    ...(headers.length === 0 ? {} : { headers }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    place: path,
  };
}

function adviseOnPath(reader: Reader, pattern: string, path: string): void {
  if (!pattern.startsWith("/") && /^[\w-]/.test(pattern)) {
    reader.warn(
      path,
      "never-matches",
      `the path of a request begins with a slash; ${show(pattern)} never matches one`,
      `write "/${pattern}"`,
    );
    return;
  }
  if (/^[\w/.~%-]+$/.test(pattern))
    reader.note(
      "info",
      path,
      "full-match",
      `the path must match as a whole: ${pattern} allows neither ${pattern.replace(/\/$/, "")}/x nor ${pattern}?x=1`,
      `to allow what lies below it and queries, write '${pattern.replace(/\/$/, "")}([/?].*)?'`,
    );
}

/** `tsilium` of an HTTP rule: what Cilium has not. */
function parseRateLimit(reader: Reader, fields: Fields, path: string): RateLimit | undefined {
  const value = reader.field(fields, path, "tsilium");
  if (value === undefined) return undefined;
  const place = at(path, "tsilium");
  const extensions = reader.object(value, place, "httpExtensions");
  const limit = extensions && reader.field(extensions, place, "rateLimit");
  if (limit === undefined) return undefined;
  const where = at(place, "rateLimit");
  const given = reader.object(limit, where, "rateLimit");
  if (given === undefined) return undefined;
  const requests = count(reader, given, where, "requests");
  const burst = count(reader, given, where, "burst");
  if (!isGiven(given.requests))
    reader.error(where, "missing-field", "requests is missing", "e.g. {requests: 100, per: 1m}");
  const perMs = parsePeriod(reader, given, where);
  if (requests === undefined || perMs === undefined) return undefined;
  return { requests, perMs, ...(burst === undefined ? {} : { burst }) };
}

function count(reader: Reader, fields: Fields, path: string, key: string): number | undefined {
  const value = reader.field(fields, path, key);
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 1e9) return value;
  reader.error(at(path, key), "invalid-value", `found ${show(value)}, expected a whole number from 1 to 1000000000`);
  return undefined;
}

const periods: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `1s`, `500ms`, `1m`, `1h`; a second if absent, at most a day. */
function parsePeriod(reader: Reader, fields: Fields, path: string): number | undefined {
  const text = reader.string(fields, path, "per");
  if (text === undefined) return isGiven(fields.per) ? undefined : periods.s;
  const found = /^(\d{1,8})(ms|s|m|h)$/.exec(text);
  const ms = found ? Number(found[1]) * periods[found[2]!]! : 0;
  if (ms > 0 && ms <= 24 * 3_600_000) return ms;
  reader.error(at(path, "per"), "invalid-value", `found ${show(text)}, expected a time up to 24h`, "e.g. 1s, 1m, 1h");
  return undefined;
}
