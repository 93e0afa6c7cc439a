/** What `tsilium up` tells once everything runs. */
import colours from "picocolors";
import type { AgentStatus } from "#contracts/agent";
import type { InstancePaths } from "#core/runtime";

/** Facts of the start. */
export interface StartFacts {
  readonly status: AgentStatus;
  readonly paths: InstancePaths;
  readonly apiPort: number;
  readonly apiserverPid: number | undefined;
  readonly tookMs: number;
}

/** The report: what runs where, what is missing, what to do next. */
export function formatReport({ status, paths, apiPort, apiserverPid, tookMs }: StartFacts): string {
  const line = (title: string, text: string): string => `  ${colours.bold(title.padEnd(12))} ${text}`;
  const instance = paths.instance === "" ? "" : ` (instance ${paths.instance})`;
  const { addresses, versions } = status;
  const device =
    addresses.worldDevice === undefined
      ? colours.dim("no device to the world")
      : `world through ${addresses.worldDevice}`;
  const out = [
    `${colours.green("✓")} ${colours.bold(`tsilium ${versions.tsilium} is running on ${status.nodeName}${instance}`)}, after ${(tookMs / 1000).toFixed(1)} s`,
    "",
    line("API server", `https://127.0.0.1:${apiPort}   pid ${apiserverPid ?? "?"}, objects in ${paths.stateDir}`),
    line(
      "Agent",
      `pid ${status.pid}, ${status.ready ? colours.green("ready") : colours.yellow("starting")}, ${paths.agentSocket}`,
    ),
    line("L7 proxy", status.proxy.state === "off" ? "starts with the first HTTP rule" : status.proxy.state),
    line("Observer", paths.hubbleSocket),
    line("Workloads", `${status.podCidrs.join(", ")}; ${device}`),
    line("Kernel", `Linux ${versions.kernel}, maps and programs under ${paths.bpfDir}`),
  ];
  if (status.counts.endpoints > 0) {
    out.push(
      line("Taken over", `${status.counts.endpoints} endpoints, ${status.counts.policies} policies of the last run`),
    );
  }
  for (const { name, cost, since } of status.degraded) {
    const when = since === undefined ? "" : colours.dim(` (since Linux ${since})`);
    out.push(line("Missing", `${colours.yellow(name)}: ${cost}${when}`));
  }
  for (const { name, state, message } of status.components) {
    if (state === "failed" || state === "degraded") {
      out.push(line(name, `${state === "failed" ? colours.red(state) : colours.yellow(state)}: ${message ?? ""}`));
    }
  }
  for (const { device: on, hook, name } of status.foreignPrograms) {
    out.push(line("Others", `a program of somebody else, ${name}, is on ${on} ${hook}`));
  }
  const prefix = paths.instance === "" ? "" : `TSILIUM_INSTANCE=${paths.instance} `;
  out.push(
    "",
    "In another terminal:",
    ...[
      ["tsilium run --name web --label app=web -- python3 -m http.server 8000", "a workload with its own address"],
      ["tsilium apply -f policy.yaml --wait", "a policy, in force when the command returns"],
      ["tsilium observe --follow", "every verdict, and why"],
      [`kubectl --kubeconfig ${paths.adminKubeconfig} get cnp -A`, "kubectl works too"],
    ].map(
      ([command, what]) =>
        `  ${colours.cyan(command!.startsWith("tsilium") ? `${prefix}${command}` : command)}\n      ${colours.dim(what!)}`,
    ),
    "",
    colours.dim("Ctrl-C stops the workloads and removes everything."),
  );
  return out.join("\n");
}
