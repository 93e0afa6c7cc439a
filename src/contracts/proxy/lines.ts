/** Newline-delimited JSON over a stream: bytes in, lines out. */

/** The longest line either side accepts; a policy set of a few thousand identities is well below. */
export const maxLineBytes = 64 * 1024 * 1024;

/** Collects bytes into lines. */
export interface LineReader {
  /** Takes bytes and returns the lines that they complete, without the newline; undefined if a line grew beyond the limit. */
  feed(bytes: Buffer): readonly string[] | undefined;
}

/** A reader for lines of at most `limitBytes`. */
export function createLineReader(limitBytes: number = maxLineBytes): LineReader {
  let parts: Buffer[] = [];
  let pendingBytes = 0;
  return {
    feed(bytes) {
      const lines: string[] = [];
      let from = 0;
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        parts.push(bytes.subarray(from, at));
        if (pendingBytes + at - from > limitBytes) return undefined;
        lines.push(parts.length === 1 ? parts[0]!.toString("utf8") : Buffer.concat(parts).toString("utf8"));
        parts = [];
        pendingBytes = 0;
        from = at + 1;
      }
      if (from < bytes.length) {
        parts.push(bytes.subarray(from));
        pendingBytes += bytes.length - from;
        if (pendingBytes > limitBytes) return undefined;
      }
      return lines;
    },
  };
}
