/** `tsilium demo`: a node of its own, the story, and everything removed again. */
import colours from "picocolors";
import { TsiliumError } from "#core/runtime";
import { createNarrator } from "./narrator.ts";
import { createDemoNode } from "./shell.ts";
import { tell } from "./story.ts";

/** Flags of `demo`. */
export interface DemoFlags {
  readonly once?: boolean;
  /** Commander's form of `--no-pause`. */
  readonly pause: boolean;
}

/** Runs the demo; yields 0 only if everything came as told and nothing was left behind. */
export async function demo(flags: DemoFlags): Promise<number> {
  if (process.getuid?.() !== 0) {
    throw new TsiliumError("NEEDS_ROOT", "root is needed to run a node; run the demo with sudo");
  }
  const interrupted = waitForInterrupt();
  const paceMs = flags.pause && process.stdout.isTTY ? 800 : 0;
  const narrator = createNarrator(paceMs);
  const instance = process.env.TSILIUM_INSTANCE || "demo";
  await narrator.say(
    `${colours.bold("tsilium")}: eBPF decides in the kernel, you see what and why.\n` +
      colours.dim(
        "Everything here is real: processes, packets, HTTP. It happens in a network namespace of its own, nothing of yours is touched.",
      ),
  );
  const node = await createDemoNode(instance);
  let failure: unknown;
  let told = false;
  try {
    await Promise.race([
      interrupted,
      (async () => {
        narrator.command("tsilium up");
        narrator.output(await node.start(), 30);
        await tell(node, narrator);
        told = true;
        if (flags.once === true) return;
        await narrator.chapter("Your turn");
        await narrator.say(
          [
            "The node is still up. In another terminal:",
            `  ${colours.cyan(node.enterCommand)}`,
            "and then, for example:",
            ...[
              "tsilium endpoint list",
              "tsilium endpoint get server",
              "tsilium policy get",
              "tsilium map show policy",
              "tsilium observe --follow",
              "tsilium delete cnp service-account --wait",
            ].map((command) => `  ${colours.cyan(command)}`),
            "",
            colours.dim("Ctrl-C ends the demo and removes everything."),
          ].join("\n"),
        );
        await interrupted;
      })(),
    ]);
  } catch (error) {
    failure = error;
  }
  await narrator.say(colours.dim("removing everything …"));
  const left = await node.end();
  for (const one of left) process.stdout.write(`${colours.red("left behind:")} ${one}\n`);
  if (failure !== undefined) throw failure;
  if (!told) return interruptedExitCode;
  if (flags.once === true) {
    const text =
      narrator.surprises === 0
        ? colours.green("everything came as told")
        : colours.red(`${narrator.surprises} results were not as told`);
    process.stdout.write(`${text}\n`);
  }
  return narrator.surprises === 0 && left.length === 0 ? 0 : 1;
}

const interruptedExitCode = 130;

/** Resolves at the first Ctrl-C; the second one ends the process at once. */
function waitForInterrupt(): Promise<void> {
  return new Promise((resolve) => {
    let seen = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (seen) process.exit(interruptedExitCode);
        seen = true;
        resolve();
      });
    }
  });
}
