/** HTTP rules: which requests are allowed. */
import type { HeaderMatch } from "#contracts/proxy";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { HttpRule } from "./rule.ts";

/** Reads a list of HTTP rules; the list is not empty. */
export function parseHttpRules(reader: Reader, items: readonly unknown[], path: string): readonly HttpRule[] {
  return items.map((item, i) => parseHttpRule(reader, item, `${path}[${i}]`)).filter((rule) => rule !== undefined);
}

function parseHttpRule(reader: Reader, value: unknown, path: string): HttpRule | undefined {
  const fields = reader.object(value, path, "http");
  if (fields === undefined) return undefined;
  const method = regex(reader, fields, path, "method");
  const target = regex(reader, fields, path, "path");
  const host = regex(reader, fields, path, "host");
  if (method !== undefined && /^[a-z]+$/.test(method))
    reader.warn(
      at(path, "method"),
      "case",
      `methods are compared with case: ${show(method)} never matches ${method.toUpperCase()}`,
      `write ${method.toUpperCase()}`,
    );
  if (target !== undefined) adviseOnPath(reader, target, at(path, "path"));
  const headers: HeaderMatch[] = [];
  for (const [i, item] of (reader.list(fields, path, "headers") ?? []).entries()) {
    const header = parseHeaderText(reader, item, `${at(path, "headers")}[${i}]`);
    if (header !== undefined) headers.push(header);
  }
  for (const [i, item] of (reader.list(fields, path, "headerMatches") ?? []).entries()) {
    const header = parseHeaderMatch(reader, item, `${at(path, "headerMatches")}[${i}]`);
    if (header !== undefined) headers.push(header);
  }
  return {
    ...(method === undefined ? {} : { method }),
    ...(target === undefined ? {} : { path: target }),
    ...(host === undefined ? {} : { host }),
    ...(headers.length === 0 ? {} : { headers }),
    place: path,
  };
}

/** A regex; an empty one is the same as none. */
function regex(reader: Reader, fields: Fields, path: string, key: string): string | undefined {
  const pattern = reader.string(fields, path, key);
  if (pattern === undefined || pattern === "") return undefined;
  if (pattern.length > 4096) {
    reader.error(
      at(path, key),
      "invalid-value",
      `found a regex of ${pattern.length} characters, at most 4096 are taken`,
      "split the rule",
    );
    return undefined;
  }
  const wrong = reader.compileRegex(pattern);
  if (wrong === undefined) return pattern;
  const hint = /\(\?[=!<]|\\[1-9]/.test(pattern)
    ? "regexes are RE2: no look-ahead, look-behind or back-references"
    : /^[*?+]/.test(pattern)
      ? `this is no glob: write .${pattern} for "anything"`
      : "regexes are RE2: see https://github.com/google/re2/wiki/Syntax";
  reader.error(at(path, key), "invalid-regex", `${show(pattern)} is not a valid regex: ${wrong}`, hint);
  return undefined;
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
  if (checkHeaderName(reader, name, at(path, "name"), "") === undefined) return undefined;
  return text === undefined ? { name } : { name, value: text };
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
