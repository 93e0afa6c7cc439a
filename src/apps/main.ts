/** The one program: dispatches to what the first argument names. Everything is loaded on demand, so that a short command starts quickly. */
import type { Problem } from "#contracts/manifest";

const [name = "", ...rest] = process.argv.slice(2);

async function main(): Promise<number> {
  switch (name) {
    case "agent":
      return (await import("#apps/agent")).runAgent(rest, process.env);
    case "apiserver": {
      const { runApiServer } = await import("#apps/apiserver");
      return runApiServer(rest, process.env, await policyValidator());
    }
    case "proxy":
      return (await import("#apps/proxy")).runProxy(rest, process.env);
    default:
      return (await import("#apps/cli")).runCli(process.argv.slice(2));
  }
}

/** Lets the API server refuse a bad policy with all its problems, before the agent sees it. */
async function policyValidator() {
  const { isPolicyKind, parsePolicy } = await import("#control/policy");
  const { compilePattern } = await import("#proxy/policy");
  const compileRegex = (pattern: string) => {
    const compiled = compilePattern(pattern);
    return typeof compiled === "string" ? compiled : undefined;
  };
  return (kind: string, object: unknown): readonly Problem[] =>
    isPolicyKind(kind) ? parsePolicy(object, { compileRegex }).problems : [];
}

process.exitCode = await main();
// A pipe takes only so much at once: what the reader has not had yet must not be lost.
if (process.stdout.writableLength > 0) await new Promise((resolve) => process.stdout.write("", resolve));
// What outlives its purpose (idle connections, timers) doesn't keep a finished program alive.
process.exit();
