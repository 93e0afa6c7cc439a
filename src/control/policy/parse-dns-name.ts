/** Names in DNS and patterns for them: toFQDNs and dns rules (semantics: Cilium's `matchpattern.go`), and the server names of TLS. */
import type { DnsMatch } from "#contracts/proxy";
import { at, type Reader, show } from "./reader.ts";

const maxLength = 255;

/** `{matchName}` or `{matchPattern}`; what it means is in lower case with a trailing dot. */
export function parseDnsMatch(reader: Reader, value: unknown, path: string): DnsMatch | undefined {
  const fields = reader.object(value, path, "dnsName");
  if (fields === undefined) return undefined;
  const name = reader.string(fields, path, "matchName") || undefined;
  const pattern = reader.string(fields, path, "matchPattern") || undefined;
  if (name !== undefined && pattern !== undefined) {
    reader.error(
      path,
      "conflict",
      "only one of MatchName or MatchPattern is allowed in an FQDNSelector",
      "give each an item of its own",
    );
    return undefined;
  }
  if (name !== undefined) {
    const place = at(path, "matchName");
    return checkName(reader, name, place, "") ? { matchName: withDot(name) } : undefined;
  }
  if (pattern !== undefined) {
    const place = at(path, "matchPattern");
    if (!checkName(reader, pattern, place, "*")) return undefined;
    adviseOnPattern(reader, pattern, place);
    return { matchPattern: withDot(pattern) };
  }
  if (Object.keys(fields).length === 0 || fields.matchName === "" || fields.matchPattern === "")
    reader.error(path, "missing-field", "one of matchName, matchPattern is required", 'add matchName: "example.com"');
  return undefined;
}

/** A name that a TLS client asks for; `*` within a label, `**.` in front. Lower case, without a trailing dot. */
export function parseServerName(reader: Reader, value: unknown, path: string): string | undefined {
  if (typeof value !== "string") {
    reader.notString(value, path);
    return undefined;
  }
  if (value === "") {
    reader.error(path, "invalid-value", "empty server name is not allowed", "name the server, or remove the item");
    return undefined;
  }
  if (!checkName(reader, value, path, "*")) return undefined;
  adviseOnPattern(reader, value, path);
  return value.toLowerCase().replace(/\.$/, "");
}

const withDot = (name: string): string => `${name.toLowerCase().replace(/\.$/, "")}.`;

function checkName(reader: Reader, name: string, path: string, also: "" | "*"): boolean {
  const bad = (message: string, hint: string): false => {
    reader.error(path, "invalid-value", message, hint);
    return false;
  };
  if (name.length > maxLength)
    return bad(`found a name of ${name.length} characters, at most ${maxLength} are taken`, "shorten it");
  if (also === "" && name.includes("*"))
    return bad(`Invalid characters in MatchName: ${show(name)}`, `write matchPattern: "${name}"`);
  if (!(also === "" ? /^[-a-zA-Z0-9_.]+$/ : /^[-a-zA-Z0-9_.*]+$/).test(name)) {
    const scheme = /^[a-z]+:\/\/([^/:]+)/.exec(name);
    return bad(
      `Invalid characters in ${also === "" ? "MatchName" : "MatchPattern"}: ${show(name)}`,
      scheme
        ? `a name alone is meant: "${scheme[1]}"`
        : "letters, digits, '-', '_' and '.'; names of other scripts in their xn-- form",
    );
  }
  if (name !== "." && /^\.|\.\./.test(name.replace(/\.$/, "")))
    return bad(`${show(name)} has an empty label`, "remove the dot too many");
  return true;
}

function adviseOnPattern(reader: Reader, pattern: string, path: string): void {
  const inner = pattern.replace(/^\*+(\.|$)/, "");
  if (/\*\*/.test(inner))
    reader.warn(
      path,
      "pattern",
      `** stands for several labels only in front of all others: ${show(pattern)} means ${show(pattern.replaceAll(/\*+/g, "*"))}`,
      "write ** only as the first label",
    );
  const glued = /^\*([-a-zA-Z0-9_].*)$/.exec(pattern);
  if (glued)
    reader.note(
      "info",
      path,
      "pattern",
      `* stands for characters of one label: ${show(pattern)} does not match sub.${glued[1]!.replace(/^\./, "")}`,
      `for what lies below a name write "**.${glued[1]}"`,
    );
}
