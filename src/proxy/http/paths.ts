/**
 * Which path will the server see? We forward the target as it came, so policy must hold for what the server may make of it.
 *
 * A target is judged as it is written. If its path holds what servers resolve (dot segments, `\`, doubled slashes,
 * percent-encoded unreserved characters, slashes, backslashes or NUL, or parameters on a dot segment) it is judged in resolved form too, and both
 * must be allowed. Nothing is ever rewritten: a request that passes goes on byte for byte.
 */

/** The forms in which a target must be allowed: as written, and resolved where that differs. The query stays as it is. */
export function judgedTargets(target: string): readonly [string] | readonly [string, string] {
  if (!/[%\\]|\/[./]/.test(target)) return [target];
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  const resolved = resolvePath(path);
  return resolved === path ? [target] : [target, query < 0 ? resolved : resolved + target.slice(query)];
}

/**
 * The path as the most eager server resolves it: unreserved characters, slashes and backslashes decoded (once), `\` read as `/`,
 * cut off at an encoded NUL, slashes merged, dot segments (with or without `;parameters`) removed. Other percent-encodings stay.
 */
function resolvePath(path: string): string {
  let decoded = path.replace(/%([0-9A-Fa-f]{2})/g, (text, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9\-._~/\\\0]/.test(character) ? character : text;
  });
  const nul = decoded.indexOf("\0");
  if (nul >= 0) decoded = decoded.slice(0, nul);
  const out: string[] = [];
  const segments = decoded.replaceAll("\\", "/").split("/");
  let directory = false;
  for (const segment of segments) {
    const name = /^\.\.?;/.test(segment) ? segment.slice(0, segment.indexOf(";")) : segment;
    directory = name === "" || name === "." || name === "..";
    if (name === "..") out.pop();
    else if (!directory) out.push(segment);
  }
  return `/${out.join("/")}${directory && out.length > 0 ? "/" : ""}`;
}
