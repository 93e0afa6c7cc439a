/** Headers that a request must carry: `headers` and `headerMatches`. */
import type { HeaderMatch } from "#contracts/proxy";
import { parseSecret } from "./parse-tls.ts";
import { at, type Fields, isGiven, type Reader, show } from "./reader.ts";

/** Reads headers and headerMatches. */
export function parseHeaders(reader: Reader, fields: Fields, path: string): HeaderMatch[] {
  const headers = (reader.list(fields, path, "headers") ?? []).map((item, i) =>
    parseHeaderText(reader, item, `${at(path, "headers")}[${i}]`),
  );
  const matches = (reader.list(fields, path, "headerMatches") ?? []).map((item, i) =>
    parseHeaderMatch(reader, item, `${at(path, "headerMatches")}[${i}]`),
  );
  return [...headers, ...matches].filter((header) => header !== undefined);
}

const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** `Name: value` (exactly this value) or `Name` (present). */
function parseHeaderText(reader: Reader, value: unknown, path: string): HeaderMatch | undefined {
  if (typeof value !== "string") {
    reader.notString(value, path);
    return undefined;
  }
  const space = value.indexOf(" ");
  const name = (space < 0 ? value : value.slice(0, space)).replace(/:$/, "");
  const checked = checkHeaderName(
    reader,
    name,
    path,
    value.includes(":") && space < 0 ? `write "${value.replace(":", ": ")}"` : "",
  );
  if (checked === undefined) return undefined;
  return space < 0 ? { name } : { name, value: value.slice(space + 1) };
}

function parseHeaderMatch(reader: Reader, value: unknown, path: string): HeaderMatch | undefined {
  const fields = reader.object(value, path, "headerMatch");
  if (fields === undefined) return undefined;
  const name = reader.string(fields, path, "name");
  const text = reader.string(fields, path, "value");
  if (name === undefined || name === "") {
    if (fields.name === undefined || fields.name === null || name === "")
      reader.error(path, "missing-field", "Header name missing", "add name: X-My-Header");
    return undefined;
  }
  const checked = checkHeaderName(reader, name, at(path, "name"), "");
  const secret = isGiven(fields.secret) ? parseSecret(reader, fields.secret, at(path, "secret")) : undefined;
  const mismatch = parseMismatch(reader, fields, path);
  if (checked === undefined) return undefined;
  if (mismatch !== undefined && mismatch !== "LOG" && text === undefined && secret === undefined)
    reader.warn(
      at(path, "mismatch"),
      "ignored",
      `${mismatch} without a value or secret does nothing where the header is there`,
      "add value, or a secret that holds it",
    );
  return {
    name,
    ...(text === undefined ? {} : { value: text }),
    ...(secret === undefined ? {} : { secret }),
    ...(mismatch === undefined ? {} : { mismatch }),
  };
}

const mismatchActions = ["LOG", "ADD", "DELETE", "REPLACE"] as const;

function parseMismatch(reader: Reader, fields: Fields, path: string): HeaderMatch["mismatch"] {
  const text = reader.string(fields, path, "mismatch");
  if (!text) return undefined;
  const action = mismatchActions.find((one) => one === text);
  if (action === undefined)
    reader.error(
      at(path, "mismatch"),
      "invalid-value",
      `Invalid header action: ${text}`,
      `one of ${mismatchActions.join(", ")}`,
    );
  return action;
}

function checkHeaderName(reader: Reader, name: string, path: string, hint: string): string | undefined {
  if (headerName.test(name)) return name;
  reader.error(
    path,
    "invalid-value",
    `${show(name)} is not the name of a header`,
    hint || 'write "Name: value", or the name alone if any value will do',
  );
  return undefined;
}
