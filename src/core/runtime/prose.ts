/** Sentences on a terminal: broken between words, not where the line happens to end. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour code is made of
const colourCode = /\u001b\[[0-9;]*m/g;
const visible = (text: string): string => text.replaceAll(colourCode, "");
/** Narrower than this nothing is readable anyway. */
const leastColumns = 40;

/**
 * The width for sentences written to a stream: that of its terminal, undefined for files and pipes. A program that shows our
 * output to a person as its own sets TSILIUM_COLUMNS.
 */
export function proseColumns(stream: NodeJS.WriteStream): number | undefined {
  if (stream.isTTY) return stream.columns;
  return Number(process.env.TSILIUM_COLUMNS) || undefined;
}

/**
 * Breaks lines longer than `columns` between words; what follows is indented below where the sentence began, or by `hanging`
 * where it began at the margin. Excerpts of sources (`12 | ...`) stay whole, and so does a word that is longer than a line: both are there to be copied.
 */
export function wrapProse(text: string, columns: number | undefined, hanging = 2): string {
  if (columns === undefined) return text;
  const limit = Math.max(leastColumns, columns);
  return text
    .split("\n")
    .map((line) =>
      visible(line).length <= limit || /^\s*\d*\s\|/.test(visible(line)) ? line : wrapLine(line, limit, hanging),
    )
    .join("\n");
}

function wrapLine(line: string, columns: number, hanging: number): string {
  const lead = /^\s*(?:= hint: )?/.exec(visible(line))![0].length;
  const indent = " ".repeat(lead === 0 ? hanging : lead);
  const start = /^\s*/.exec(line)![0];
  const out: string[] = [];
  let current = start;
  for (const word of line.slice(start.length).split(" ")) {
    const empty = current === start || current === indent;
    const joined = empty ? current + word : `${current} ${word}`;
    if (empty || visible(joined).length <= columns) {
      current = joined;
    } else {
      out.push(current);
      current = indent + word;
    }
  }
  return [...out, current].join("\n");
}
