/** The story: what is typed, and what must come of it. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import colours from "picocolors";
import { TsiliumError } from "#core/runtime";
import type { Narrator } from "./narrator.ts";
import type { DemoNode } from "./shell.ts";

/** One request of the story: who asks whom for what, and what must happen. */
interface Asked {
  readonly client: string;
  readonly namespace?: string;
  readonly account?: string;
  readonly label?: string;
  readonly method?: string;
  readonly server: string;
  readonly address: string;
  readonly path: string;
  readonly expect: "200" | "403" | "dropped";
  /** Whether the proxy judges the request, so that the flow is one of HTTP. */
  readonly byProxy?: true;
  readonly because: string;
}

const port = 3555;
/** Kernel and wall clock differ by less. */
const clockSlackMs = 100;
/** Exit code and beginning of the output of examples/demo/request for each outcome. */
const outcomes = {
  "200": { exitCode: 0, text: "200 ", verdict: "FORWARDED" },
  "403": { exitCode: 22, text: "403 ", verdict: "DROPPED" },
  dropped: { exitCode: 28, text: "no answer", verdict: "DROPPED" },
} as const;

/** Tells everything once. Surprises are counted by the narrator. */
export async function tell(node: DemoNode, narrator: Narrator): Promise<void> {
  const type = async (args: readonly string[], first?: number, last?: number) => {
    narrator.command(`tsilium ${args.map(quote).join(" ")}`);
    const outcome = await node.tsilium(args);
    narrator.output(outcome.text, first, last);
    return outcome;
  };
  const ask = (asked: Asked): Promise<void> => askAndShow(node, narrator, asked);

  await narrator.chapter("1  A server, and whoever finds it");
  await narrator.say(
    `A real HTTP server becomes a workload: its own network namespace, its own address, and an identity made of its labels and its service account.`,
  );
  const server = await startServer(type, { name: "server", namespace: "default", account: "server" });
  await narrator.say(
    "No policy selects it yet, so everybody may ask it everything. Below each answer stands the flow, as `tsilium observe` shows it.",
  );
  const base = { client: "client", account: "client", server: "server", address: server } as const;
  await ask({ ...base, path: "/mypath", expect: "200", because: "no policy: open" });
  await ask({ ...base, path: "/other", expect: "200", because: "no policy: open" });
  await ask({
    ...base,
    client: "stranger",
    account: "stranger",
    path: "/mypath",
    expect: "200",
    because: "no policy: open",
  });

  await narrator.chapter("2  A policy, as it was first written");
  await narrator.say(
    "It says: only GET /mypath, only from service account client. But it went through a bad copy and paste, and its fields have lost their places. Many clusters would take it, drop what they do not know, and open the server to the whole namespace.",
  );
  const check = await type(["policy", "check", "examples/seed/service-account.yaml"], 25, 30);
  narrator.verdict(
    check.exitCode === 1,
    "refused: each fault with its place, what it would have done, and what was meant",
  );

  await narrator.chapter("3  The same policy, repaired");
  await narrator.say("The text above is in examples/policies/service-account.yaml. Apply it, and ask again.");
  const applied = await type(["apply", "-f", "examples/policies/service-account.yaml", "--wait"]);
  narrator.verdict(applied.exitCode === 0, "in force: when the command returns, the kernel has it");
  await ask({
    ...base,
    path: "/mypath",
    expect: "200",
    byProxy: true,
    because: "the rule allows GET /mypath to service account client",
  });
  await ask({
    ...base,
    path: "/other",
    expect: "403",
    byProxy: true,
    because: "another path: the request never reached the server",
  });
  await ask({ ...base, method: "POST", path: "/mypath", expect: "403", byProxy: true, because: "another method" });
  await ask({
    ...base,
    client: "stranger",
    account: "stranger",
    path: "/mypath",
    expect: "dropped",
    because: "another service account: not even a connection, the kernel drops its packets",
  });

  await narrator.chapter("4  A whole namespace: frontend and backend");
  await narrator.say(
    "The second policy forgot to say whom it is about. Where nobody checks it is ignored, and everything stays open.",
  );
  const second = await type(["policy", "check", "examples/seed/restrict-access.yaml"], 40);
  narrator.verdict(second.exitCode === 1, "refused: it has no endpointSelector");
  await narrator.say(
    "Repaired: it is about every workload of namespace shop; in from app=frontend only, out to app=backend only.",
  );
  await type(["apply", "-f", "examples/demo/namespace.yaml"]);
  const backend = await startServer(type, { name: "backend", namespace: "shop", label: "app=backend" });
  const other = await startServer(type, { name: "billing", namespace: "shop", label: "app=billing" });
  const restricted = await type(["apply", "-n", "shop", "-f", "examples/policies/restrict-access.yaml", "--wait"], 20);
  narrator.verdict(restricted.exitCode === 0, "in force");
  const shop = { namespace: "shop", path: "/" } as const;
  await ask({
    ...shop,
    client: "frontend",
    label: "app=frontend",
    server: "backend",
    address: backend,
    expect: "200",
    because: "frontend may go out to backend, and backend takes it",
  });
  await ask({
    ...shop,
    client: "frontend",
    label: "app=frontend",
    server: "billing",
    address: other,
    expect: "dropped",
    because: "egress: frontend may go out to backend only",
  });
  await ask({
    ...shop,
    client: "cron",
    label: "app=cron",
    server: "backend",
    address: backend,
    expect: "dropped",
    because: "ingress: backend takes frontend only",
  });
}

async function askAndShow(node: DemoNode, narrator: Narrator, asked: Asked): Promise<void> {
  const { client, namespace = "default", server, method = "GET", expect } = asked;
  const flags = [
    "--name",
    client,
    ...(asked.namespace === undefined ? [] : ["--namespace", asked.namespace]),
    ...(asked.account === undefined ? [] : ["--service-account", asked.account]),
    ...(asked.label === undefined ? [] : ["--label", asked.label]),
  ];
  const url = `http://${asked.address.includes(":") ? `[${asked.address}]` : asked.address}:${port}${asked.path}`;
  const args = ["run", ...flags, "--", "examples/demo/request", method, url];
  narrator.command(`tsilium ${args.map(quote).join(" ")}`);
  const since = new Date(Date.now() - clockSlackMs).toISOString();
  const outcome = await node.tsilium(args);
  narrator.output(outcome.text);
  const wanted = outcomes[expect];
  const answered = outcome.exitCode === wanted.exitCode && outcome.text.includes(wanted.text);
  const seen = await findFlow(node, {
    namespace,
    client,
    server,
    verdict: wanted.verdict,
    http: asked.byProxy === true,
    since,
  });
  narrator.output(seen === "" ? colours.dim("(no flow was seen)") : seen, 10);
  narrator.verdict(answered && seen !== "", asked.because);
}

/** The newest flow with that verdict; a flow is exported within a moment, so it is asked for a few times. */
async function findFlow(
  node: DemoNode,
  wanted: { namespace: string; client: string; server: string; verdict: string; http: boolean; since: string },
): Promise<string> {
  const args = [
    "observe",
    "--since",
    wanted.since,
    "--last",
    "1",
    "--from-pod",
    `${wanted.namespace}/${wanted.client}`,
    "--to-pod",
    `${wanted.namespace}/${wanted.server}`,
    "--verdict",
    wanted.verdict,
    ...(wanted.http ? ["--type", "l7"] : []),
  ];
  for (let attempt = 0; attempt < 10; attempt++) {
    const { exitCode, text } = await node.tsilium(args);
    if (exitCode !== 0) throw new TsiliumError("DEMO_FAILED", `\`tsilium ${args.join(" ")}\` failed:\n${text}`);
    if (text.trim() !== "") return text;
    await sleep(100);
  }
  return "";
}

interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly account?: string;
  readonly label?: string;
}

/** Starts a server in the background; yields its IPv4 address when it listens. */
async function startServer(
  type: (args: readonly string[]) => Promise<{ readonly exitCode: number; readonly text: string }>,
  { name, namespace, account, label }: Service,
): Promise<string> {
  const flags = [
    "--name",
    name,
    ...(namespace === "default" ? [] : ["--namespace", namespace]),
    ...(account === undefined ? [] : ["--service-account", account]),
    ...(label === undefined ? [] : ["--label", label]),
  ];
  const { exitCode, text } = await type([
    "run",
    "--detach",
    ...flags,
    "--",
    "examples/demo/server",
    String(port),
    name,
  ]);
  const address = /\b\d{1,3}(?:\.\d{1,3}){3}\b/.exec(text)?.[0];
  const log = /output in (\S+)/.exec(text)?.[1];
  if (exitCode !== 0 || address === undefined || log === undefined) {
    throw new TsiliumError("DEMO_FAILED", `the workload ${name} could not be started:\n${text}`);
  }
  for (let attempt = 0; attempt < 100; attempt++) {
    if (readFileSync(log, "utf8").includes("listening")) return address;
    await sleep(50);
  }
  throw new TsiliumError(
    "DEMO_FAILED",
    `the server in ${name} does not listen after 5 s:\n${readFileSync(log, "utf8")}`,
  );
}

/** As a shell needs it. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
