/** Two texts compared line by line, as a unified diff. */

/** The most comparisons that are made; beyond, the part that differs is shown as wholly replaced. */
const maxComparisons = 4_000_000;
const contextLines = 3;

interface Line {
  readonly mark: " " | "-" | "+";
  readonly text: string;
}

/** The diff with three lines of context; empty if the texts are equal. */
export function unifiedDiff(file: string, before: string, after: string): string {
  if (before === after) return "";
  const lines = compareLines(before.split("\n"), after.split("\n"));
  const changed = lines.flatMap(({ mark }, i) => (mark === " " ? [] : [i]));
  const out = [`--- ${file}`, `+++ ${file} (fixed)`];
  let [old, now] = [1, 1];
  let at = 0;
  while (at < lines.length) {
    const first = changed.find((i) => i >= at);
    if (first === undefined) break;
    const start = Math.max(at, first - contextLines);
    let end = first;
    for (const i of changed) if (i >= end && i <= end + 2 * contextLines) end = i;
    end = Math.min(lines.length, end + contextLines + 1);
    old += lines.slice(at, start).length;
    now += lines.slice(at, start).length;
    const hunk = lines.slice(start, end);
    const count = (mark: Line["mark"]) => hunk.filter((line) => line.mark !== mark).length;
    out.push(`@@ -${old},${count("+")} +${now},${count("-")} @@`, ...hunk.map(({ mark, text }) => `${mark}${text}`));
    old += count("+");
    now += count("-");
    at = end;
  }
  return `${out.join("\n")}\n`;
}

function compareLines(a: readonly string[], b: readonly string[]): Line[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const keep = (texts: readonly string[]) => texts.map((text): Line => ({ mark: " ", text }));
  const middle = compareMiddle(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [...keep(a.slice(0, head)), ...middle, ...keep(a.slice(a.length - tail))];
}

/** By the longest common subsequence. */
function compareMiddle(a: readonly string[], b: readonly string[]): Line[] {
  const line =
    (mark: Line["mark"]) =>
    (text: string): Line => ({ mark, text });
  if (a.length * b.length > maxComparisons) return [...a.map(line("-")), ...b.map(line("+"))];
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] =
        a[i] === b[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
  const out: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ mark: " ", text: a[i++]! });
      j++;
    } else if (j >= b.length || (i < a.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      out.push({ mark: "-", text: a[i++]! });
    } else out.push({ mark: "+", text: b[j++]! });
  }
  return out;
}
