/** `tsilium status`: is it well, and if not, what ails it. */
import { setTimeout as sleep } from "node:timers/promises";
import colours from "picocolors";
import type { AgentClient, AgentStatus, ComponentStatus } from "#contracts/agent";
import { errorCode, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { formatAge, formatBytes, print, printStructured } from "../output.ts";
import { withAgent } from "./endpoint.ts";

/** Flags of `status`. */
export interface StatusFlags {
  readonly wait?: boolean;
  readonly timeout: number;
  readonly output: "text" | "json" | "yaml";
}

/** Prints the agent's state. Exit code 0 if it is ready and no component failed, else 1; with `--wait` 124 if that did not come in time. */
export function status(flags: StatusFlags): Promise<number> {
  return withAgent(async (client) => {
    const now = flags.wait === true ? await waitUntilReady(client, flags.timeout) : await client.status();
    if (flags.output === "text") print(formatStatus(now));
    else await printStructured(flags.output, now);
    return isWell(now) ? ExitCode.ok : ExitCode.failed;
  });
}

const isWell = (now: AgentStatus): boolean => now.ready && now.components.every(({ state }) => state !== "failed");

async function waitUntilReady(client: AgentClient, timeoutMs: number): Promise<AgentStatus> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let last: AgentStatus | TsiliumError;
    try {
      last = await client.status();
      if (isWell(last)) return last;
    } catch (error) {
      // It may only be about to start; anything else will not pass by waiting.
      if (!(error instanceof TsiliumError) || !["AGENT_NOT_RUNNING", "AGENT_UNREACHABLE"].includes(errorCode(error)!)) {
        throw error;
      }
      last = error;
    }
    if (performance.now() >= deadline) {
      if (last instanceof TsiliumError) throw last;
      const ailing = last.components.filter(({ state }) => state !== "ok" && state !== "off");
      throw new TsiliumError(
        "TIMED_OUT",
        `the agent is not ready after ${timeoutMs} ms: ${ailing.map(({ name, message, state }) => `${name} is ${state}${message === undefined ? "" : ` (${message})`}`).join("; ") || "it has not said why"}`,
      );
    }
    await sleep(Math.min(50, Math.max(1, deadline - performance.now())));
  }
}

const marks: Readonly<Record<ComponentStatus["state"], string>> = {
  ok: colours.green("ok"),
  starting: colours.yellow("starting"),
  degraded: colours.yellow("degraded"),
  failed: colours.red("failed"),
  off: colours.dim("off"),
};

/** Endpoints that an earlier policy still judges, because the newest could not be written. */
function exceptFor({ reconcilers }: AgentStatus): string {
  const failing = reconcilers.find(({ name }) => name === "endpoints")?.problems ?? [];
  if (failing.length === 0) return "";
  return colours.red(`, but not for ${failing[0]!.key}${failing.length > 1 ? ` and ${failing.length - 1} more` : ""}`);
}

/** The state for people. */
export function formatStatus(now: AgentStatus): string {
  const { counts, policy, versions, addresses } = now;
  const out: string[] = [];
  const fact = (title: string, value: string): void => {
    out.push(`${colours.bold(`${title}:`.padEnd(13))} ${value}`);
  };
  fact(
    "Agent",
    `${now.ready ? colours.green("ready") : colours.yellow("not ready")}, pid ${now.pid}, up ${formatAge(now.startedAt)}, ${formatBytes(now.residentBytes)} resident`,
  );
  fact("Node", [now.nodeName, addresses.ipv4, addresses.ipv6, addresses.worldDevice].filter(Boolean).join("   "));
  fact("Pod CIDRs", now.podCidrs.join("   "));
  fact("Versions", `tsilium ${versions.tsilium}, Node ${versions.node}, kernel ${versions.kernel}`);
  fact("Endpoints", `${counts.endpointsReady} of ${counts.endpoints} ready`);
  fact("Identities", `${counts.identities}, ipcache ${counts.ipcache}`);
  fact(
    "Policy",
    `${counts.policies} policies${counts.policiesRefused > 0 ? colours.red(` (${counts.policiesRefused} refused)`) : ""}, ` +
      `${counts.policySets} sets, ${counts.policyEntries} of ${counts.policyEntriesCapacity} entries; ` +
      (policy.realised >= policy.computed
        ? `revision ${policy.realised} in force${exceptFor(now)}`
        : colours.yellow(`revision ${policy.computed} computed, ${policy.realised} in force`)),
  );
  fact(
    "L7 proxy",
    `${now.proxy.state}${now.proxy.pid === undefined ? "" : `, pid ${now.proxy.pid}`}${now.proxy.message === undefined ? "" : `: ${now.proxy.message}`}`,
  );
  fact("Components", "");
  for (const { name, state, message } of now.components) {
    out.push(`  ${name.padEnd(20)} ${marks[state]}${message === undefined ? "" : `   ${message}`}`);
  }
  const pending = now.reconcilers.filter(({ pending, problems }) => pending > 0 || problems.length > 0);
  if (pending.length > 0) {
    fact("Not realised", "");
    for (const { name, pending: rows, problems } of pending) {
      out.push(`  ${name.padEnd(20)} ${rows} pending`);
      const [first, ...others] = problems;
      if (first !== undefined) {
        const more = others.length > 0 ? ` (and ${others.length} more)` : "";
        out.push(
          `    ${colours.red(first.key)}: ${first.message}, ${first.attempts} attempts, next ${first.retryAt}${more}`,
        );
      }
    }
  }
  if (now.degraded.length > 0) {
    fact("Missing", "");
    for (const { name, cost, since } of now.degraded) {
      out.push(
        `  ${colours.yellow(name.padEnd(20))} ${cost}${since === undefined ? "" : colours.dim(` (since Linux ${since})`)}`,
      );
    }
  }
  if (now.foreignPrograms.length > 0) {
    fact("Others", "programs of others on our hooks");
    for (const { device, hook, name, programId, before } of now.foreignPrograms) {
      out.push(`  ${device} ${hook}: ${name} (program ${programId}), ${before ? "before" : "after"} ours`);
    }
  }
  return out.join("\n");
}
