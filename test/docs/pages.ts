/** The commands in the manual: read out of its ```console blocks, run as a reader would, compared with what the page shows. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");

/** How a block is run: `offline` anywhere, `node` with a running node, `none` not at all (it would not end, or needs the internet). */
type RunMode = "offline" | "node" | "none";

/** One command of a page. */
export interface Step {
  readonly page: string;
  readonly line: number;
  readonly mode: RunMode;
  readonly command: string;
  /** Pieces of output lines that must come, in this order. */
  readonly shows: readonly string[];
  readonly exitCode: number;
}

/** All pages that people follow, by their path. */
export function guidePages(): readonly string[] {
  const pages = (folder: string) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`);
  return ["README.md", "CONTRIBUTING.md", "examples/README.md", ...pages("docs/guide"), ...pages("docs/debug")];
}

/** The steps of a page. Throws if a block does not say how it is run. */
export function stepsOf(page: string): readonly Step[] {
  const steps: { -readonly [K in keyof Step]: Step[K] }[] = [];
  let mode: RunMode | undefined;
  for (const [index, text] of readFileSync(join(root, page), "utf8").split("\n").entries()) {
    const fence = /^```(\w*)(?: run=(\w+))?$/.exec(text);
    if (fence !== null) {
      const opens = mode === undefined && fence[1] === "console";
      if (opens && !["offline", "node", "none"].includes(fence[2] ?? "")) {
        throw new Error(`${page}:${index + 1}: a console block must say run=offline, run=node or run=none`);
      }
      mode = opens ? (fence[2] as RunMode) : undefined;
      continue;
    }
    if (mode === undefined) continue;
    const last = steps.at(-1);
    if (text.startsWith("$ ")) {
      steps.push({ page, line: index + 1, mode, command: text.slice(2), shows: [], exitCode: 0 });
    } else if (/^\? \d+$/.test(text) && last !== undefined) {
      last.exitCode = Number(text.slice(2));
    } else if (text.trim() !== "" && last !== undefined) {
      last.shows = [...last.shows, text.trim()];
    }
  }
  return steps;
}

/** What a step did. */
export interface StepOutcome {
  readonly step: Step;
  readonly exitCode: number;
  readonly output: string;
}

/** Runs steps in one shell, so that variables last; `wrap` is put before bash, e.g. to enter a namespace. */
export async function runSteps(
  steps: readonly Step[],
  options: { readonly wrap?: readonly string[]; readonly env?: NodeJS.ProcessEnv; readonly timeoutMs: number },
): Promise<readonly StepOutcome[]> {
  const marker = `@@${process.pid}@@`;
  const script = ['sudo() { "$@"; }', ...steps.map(({ command }) => `{ ${command}\n} 2>&1; echo "${marker}$?"`)].join(
    "\n",
  );
  const [command = "bash", ...args] = [...(options.wrap ?? []), "bash", "-c", script];
  const text = await new Promise<string>((done) => {
    execFile(
      command,
      args,
      {
        cwd: root,
        env: { ...process.env, ...options.env, NO_COLOR: "1", PATH: `${root}/bin:${process.env.PATH}` },
        timeout: options.timeoutMs,
        maxBuffer: 16 << 20,
      },
      // A shell that was killed leaves fewer markers than steps: the missing ones show as exit code -1.
      (_, stdout) => done(stdout),
    ).stdin?.end();
  });
  const parts = text.split(marker);
  return steps.map((step, i) => {
    const output = (parts[i] ?? "").replace(/^\d+\n/, "");
    const exitCode = Number(/^\d+/.exec(parts[i + 1] ?? "-1")?.[0] ?? -1);
    return { step, exitCode, output };
  });
}

/** What differs from the page; undefined if nothing does. */
export function difference({ step, exitCode, output }: StepOutcome): string | undefined {
  const where = `${step.page}:${step.line}: $ ${step.command}`;
  if (exitCode !== step.exitCode) return `${where}\nended with ${exitCode}, the page says ${step.exitCode}:\n${output}`;
  let from = 0;
  for (const line of step.shows) {
    const at = output.indexOf(line, from);
    if (at < 0) return `${where}\ndoes not show "${line}":\n${output}`;
    from = at + line.length;
  }
  return undefined;
}
