/** How the demo talks: chapters, commands as a person would type them, results with a mark. */
import { setTimeout as sleep } from "node:timers/promises";
import colours from "picocolors";
import { proseColumns, wrapProse } from "#core/runtime";

/** Longer lines are hard to read, however wide the terminal is. */
const widest = 120;

/** Tells the story and keeps count of what did not come as told. */
export interface Narrator {
  chapter(title: string): Promise<void>;
  say(text: string): Promise<void>;
  /** A command, shown before it runs. */
  command(text: string): void;
  /** What it printed: the first and the last lines, where it is longer. */
  output(text: string, first?: number, last?: number): void;
  /** Whether it came as told. */
  verdict(asTold: boolean, told: string): void;
  readonly surprises: number;
}

/** `paceMs` is the pause after each paragraph; 0 tells without pauses. */
export function createNarrator(paceMs: number): Narrator {
  let surprises = 0;
  const columns = Math.min(proseColumns(process.stdout) ?? widest, widest);
  const write = (text: string): void => void process.stdout.write(`${text}\n`);
  return {
    async chapter(title) {
      write(`\n${colours.bold(colours.inverse(` ${title} `))}\n`);
      await sleep(paceMs);
    },
    async say(text) {
      // Indented lines are commands: they are there to be copied.
      const lines = text.split("\n").map((line) => (line.startsWith("  ") ? line : wrapProse(line, columns, 0)));
      write(`${lines.join("\n")}\n`);
      await sleep(paceMs);
    },
    command(text) {
      write(`${colours.dim("$")} ${colours.cyan(text)}`);
    },
    output(text, first = 12, last = 0) {
      const lines = text.trimEnd().split("\n");
      const left = lines.length - first - last;
      const shortest = 2; // to say that fewer lines are left out takes as much room as they do
      const shown =
        left <= shortest
          ? lines
          : [...lines.slice(0, first), colours.dim(`… ${left} more lines`), ...(last > 0 ? lines.slice(-last) : [])];
      for (const line of shown) write(`  ${line}`);
    },
    verdict(asTold, told) {
      if (!asTold) surprises++;
      write(asTold ? `${colours.green("✓")} ${told}\n` : `${colours.red("✗ this should have been:")} ${told}\n`);
    },
    get surprises() {
      return surprises;
    },
  };
}
