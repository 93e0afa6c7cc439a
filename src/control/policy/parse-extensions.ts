/** What tsilium adds to Cilium's language, in `rules.tsilium`: rules of further protocols. */
import type { FtpMatch, GrpcMatch, SmtpMatch } from "#contracts/proxy";
import { parseCustom } from "./parse-custom.ts";
import { parseHeaders } from "./parse-headers.ts";
import { readRegex } from "./parse-regex.ts";
import { at, type Fields, isGiven, placed, type Reader, show } from "./reader.ts";
import type { L7Rules } from "./rule.ts";

const protocols = ["ftp", "smtp", "grpc", "custom"] as const;

/** Reads `rules.tsilium`: exactly one of ftp, smtp, grpc, custom. */
export function parseExtendedRules(reader: Reader, value: unknown, path: string): L7Rules | undefined {
  const fields = reader.object(value, path, "l7Extensions");
  if (fields === undefined) return undefined;
  const given = protocols.filter((key) => isGiven(fields[key]));
  const [protocol] = given;
  if (given.length > 1)
    reader.error(
      path,
      "conflict",
      "multiple L7 protocol rule types specified in single rule",
      `keep one of ${given.join(", ")}`,
    );
  if (protocol === undefined) {
    reader.error(path, "missing-field", `one of ${protocols.join(", ")} is required`, "e.g. ftp: [{command: RETR}]");
    return undefined;
  }
  if (protocol === "custom") return parseCustom(reader, fields.custom, at(path, "custom"));
  const items = reader.list(fields, path, protocol);
  if (items === undefined) return undefined;
  const place = at(path, protocol);
  if (items.length === 0) {
    reader.error(place, "missing-field", `${protocol} lists nothing`, `list what is allowed; all is ${protocol}: [{}]`);
    return undefined;
  }
  switch (protocol) {
    case "ftp":
      return { protocol, rules: placed(items, place, (item, where) => parseFtp(reader, item, where)) };
    case "smtp":
      return { protocol, rules: placed(items, place, (item, where) => parseSmtp(reader, item, where)) };
    case "grpc":
      return { protocol: "http", rules: placed(items, place, (item, where) => parseGrpc(reader, item, where)) };
  }
}

function parseFtp(reader: Reader, value: unknown, path: string): FtpMatch | undefined {
  const fields = reader.object(value, path, "ftp");
  if (fields === undefined) return undefined;
  return { ...command(reader, fields, path), ...regexes(reader, fields, path, ["path", "user"]) };
}

function parseSmtp(reader: Reader, value: unknown, path: string): SmtpMatch | undefined {
  const fields = reader.object(value, path, "smtp");
  if (fields === undefined) return undefined;
  const maxSizeBytes = parseSize(reader, fields, path);
  return {
    ...command(reader, fields, path),
    ...regexes(reader, fields, path, ["from", "to"]),
    ...(maxSizeBytes === undefined ? {} : { maxSizeBytes }),
  };
}

function parseGrpc(reader: Reader, value: unknown, path: string) {
  const fields = reader.object(value, path, "grpc");
  if (fields === undefined) return undefined;
  const grpc: GrpcMatch = regexes(reader, fields, path, ["service", "method"]);
  if (grpc.service?.startsWith("/"))
    reader.warn(
      at(path, "service"),
      "never-matches",
      "the name of a service has no slash: this never matches",
      `write ${show(grpc.service.slice(1))}`,
    );
  const headers = parseHeaders(reader, fields, path);
  return { grpc, ...(headers.length === 0 ? {} : { headers }) };
}

function regexes<K extends string>(reader: Reader, fields: Fields, path: string, keys: readonly K[]) {
  const read = keys.map((key) => [key, readRegex(reader, fields, path, key)] as const);
  return Object.fromEntries(read.filter(([, pattern]) => pattern !== undefined)) as Partial<Record<K, string>>;
}

function command(reader: Reader, fields: Fields, path: string): { command?: string } {
  const text = reader.string(fields, path, "command");
  if (!text) return {};
  if (/^[A-Za-z]{3,12}$/.test(text)) return { command: text.toUpperCase() };
  reader.error(at(path, "command"), "invalid-value", `found ${show(text)}, expected a command`, "one word, e.g. RETR");
  return {};
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

/** Bytes: a number, or a quantity such as `10Mi`. */
function parseSize(reader: Reader, fields: Fields, path: string): number | undefined {
  const value = reader.field(fields, path, "maxSize");
  if (value === undefined) return undefined;
  const found = /^(\d{1,12})(k|M|G|Ki|Mi|Gi|)$/.exec(typeof value === "number" ? String(value) : String(value));
  if ((typeof value === "number" || typeof value === "string") && found) return Number(found[1]) * units[found[2]!]!;
  reader.error(at(path, "maxSize"), "invalid-value", `found ${show(value)}, expected a size in bytes`, "e.g. 10Mi");
  return undefined;
}
