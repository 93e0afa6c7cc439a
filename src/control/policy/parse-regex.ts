/** Regular expressions in rules: RE2, compiled where a compiler is given, their usual mistakes explained. */
import { at, type Fields, type Reader, show } from "./reader.ts";

const maxLength = 4096;

/** The field's regex; an empty one is the same as none. */
export function readRegex(reader: Reader, fields: Fields, path: string, key: string): string | undefined {
  const pattern = reader.string(fields, path, key);
  if (pattern === undefined || pattern === "") return undefined;
  if (pattern.length > maxLength) {
    reader.error(
      at(path, key),
      "invalid-value",
      `found a regex of ${pattern.length} characters, at most ${maxLength} are taken`,
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
