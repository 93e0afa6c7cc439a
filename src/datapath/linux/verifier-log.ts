// What a person needs of the verifier's log is its last telling line; the rest stays in the error's details.

/** Lines that only count work done; they follow the reason. */
const trailer =
  /^(processed \d+ insns|verification time|stack depth|peak_states|mark_read|-- (BEGIN|END) PROG LOAD LOG)/;
/** Lines that say nothing without the one before: "R1 type=ctx expected=fp" needs no more, "(85) call x#1" alone does. */
const meaninglessAlone =
  /^(\(?[0-9a-f]{2}\)|\d+: \(|R\d+=|arg#\d+ |invalid (?:stack|func)|.*\bR\d !read_ok|misaligned|last_idx|regs=|; )/i;

export interface VerifierSummary {
  /** One or two lines, then "(N lines omitted)". Empty when the log is. */
  readonly message: string;
  readonly lines: number;
}

/** The short form of a verifier log. */
export function summarizeVerifierLog(log: string): VerifierSummary {
  const lines = log.split("\n").map((line) => line.trimEnd()).filter((line) => line !== "" && !trailer.test(line)); // biome-ignore format: one pipeline
  const last = lines.at(-1);
  if (last === undefined) return { message: "", lines: 0 };
  // The instruction that was refused stands right before the reason, with its source line above.
  const source = lines.findLast((line) => line.startsWith("; "));
  const telling = source !== undefined && !last.startsWith("; ") ? [source, last] : lines.length > 1 && meaninglessAlone.test(last) ? lines.slice(-2) : [last]; // biome-ignore format: one decision
  const omitted = lines.length - telling.length;
  const note = omitted > 0 ? ` (${omitted} ${omitted === 1 ? "line" : "lines"} omitted)` : "";
  return { message: telling.map((line) => line.trim()).join(": ") + note, lines: lines.length };
}
