/** How the demo talks: chapters, commands as a person would type them, results with a mark. */
import { setTimeout as sleep } from "node:timers/promises";
import colours from "picocolors";

/** Tells the story and keeps count of what did not come as told. */
export interface Narrator {
  chapter(title: string): Promise<void>;
  say(text: string): Promise<void>;
  /** A command, shown before it runs. */
  command(text: string): void;
  /** What it printed; long texts are cut. */
  output(text: string, lines?: number): void;
  /** Whether it came as told. */
  verdict(asTold: boolean, told: string): void;
  readonly surprises: number;
}

/** `paceMs` is the pause after each paragraph; 0 tells without pauses. */
export function createNarrator(paceMs: number): Narrator {
  let surprises = 0;
  const write = (text: string): void => void process.stdout.write(`${text}\n`);
  return {
    async chapter(title) {
      write(`\n${colours.bold(colours.inverse(` ${title} `))}\n`);
      await sleep(paceMs);
    },
    async say(text) {
      write(`${text}\n`);
      await sleep(paceMs);
    },
    command(text) {
      write(`${colours.dim("$")} ${colours.cyan(text)}`);
    },
    output(text, lines = 12) {
      const all = text.trimEnd().split("\n");
      for (const line of all.slice(0, lines)) write(`  ${line}`);
      if (all.length > lines) write(colours.dim(`  … ${all.length - lines} more lines`));
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
