/** Flags of the form KEY=VALUE, as `--label` and `--env` take them. */
import { usageError } from "../failure.ts";

/** Adds `key=value` to what earlier flags of the same name gave. Throws USAGE if there is no `=` or no key. */
export function collectPair(flag: string) {
  return (text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> => {
    const equals = text.indexOf("=");
    if (equals <= 0) throw usageError(`${flag} takes KEY=VALUE, but was given "${text}"`);
    return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
  };
}

/** Parses a duration such as `10s`, `500ms`, `2m` or a bare number of seconds into milliseconds. Throws USAGE. */
export function parseDurationMs(flag: string) {
  return (text: string): number => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
    if (match === null) throw usageError(`${flag} takes a duration such as 10s, 500ms or 2m, but was given "${text}"`);
    return Math.round(Number(match[1]) * ({ ms: 1, s: 1000, m: 60_000 }[match[2] ?? "s"] ?? 1000));
  };
}
