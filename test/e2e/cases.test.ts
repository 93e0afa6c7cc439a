/** Every case file with flows over real sockets on a whole node: what the ends see, and what the observer tells of it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseAllDocuments } from "yaml";
import { dropReasonName, type Flow, FlowType, TrafficDirection, verdictName } from "#contracts/hubble";
import { type KubeObject, resourceOfObject } from "#contracts/kube";
import { protocolNumbers } from "#core/model";
import { type CaseFile, type CaseFlow, parseCaseFile } from "../cases/case-file.ts";
import { judgementsOf, type LoadedCase, loadCase } from "../cases/run-case.ts";
import { CaseStage, type Performance } from "./case-stage.ts";

const folder = join(import.meta.dirname, "../cases/policy");
const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".txtar"))
  .sort()
  .map((name) => ({ name: name.replace(".txtar", ""), file: parseCaseFile(readFileSync(join(folder, name), "utf8")) }))
  .filter(({ file }) => file.flows.length > 0);

/** Cases that no node can be brought into, and why. */
const exceptions: Readonly<Record<string, string>> = {
  audit: "a mode of the whole node: enforcement-modes.test.ts",
  "enforcement-always": "a mode of the whole node: enforcement-modes.test.ts",
  "enforcement-never": "a mode of the whole node: enforcement-modes.test.ts",
  "init-is-closed": "a workload's labels are known before its first packet",
  "init-policy": "a workload's labels are known before its first packet",
  "tier-unknown-peer": "only a newer API server than ours would accept such a peer",
};

/** Kinds that the API server does not serve yet: the engine knows them, no node gets to see them. */
function unservedKinds(file: CaseFile): string | undefined {
  const kinds = parseAllDocuments(file.policy).flatMap((document) => {
    const object = document.toJS() as KubeObject | null;
    return object && resourceOfObject(object) === undefined ? [object.kind] : [];
  });
  return kinds.length > 0 ? `the API server does not serve ${[...new Set(kinds)].join(", ")}` : undefined;
}

/** Why sockets can't perform a flow. */
function exceptionOf({ from, to, protocol }: CaseFlow): string | undefined {
  if (from.kind === "endpoint" && to.kind === "endpoint" && from.name === to.name)
    return "what a workload sends to itself never leaves it";
  if (protocol === protocolNumbers.SCTP) return "Node has no SCTP sockets";
  return undefined;
}

const now = () => performance.now();

/** How long the observer may take to tell. */
const observerMs = 3000;

/** Who judges HTTP requests. */
type Way = "kernel" | "proxy";

test("every exception is a case", () => {
  const names = cases.map(({ name }) => name);
  for (const name of Object.keys(exceptions)) assert.ok(names.includes(name), name);
});

describe("a node does as the case files say", () => perform("kernel", cases));

// The same answers, whoever judges.
const withRequests = cases.filter(({ file }) => file.flows.some(({ request }) => request.kind === "http"));
describe("a node whose proxy judges all requests does as the case files say", () =>
  perform("proxy", withRequests, "--no-kernel-http"));

function perform(way: Way, some: typeof cases, ...agentArgs: string[]): void {
  let stage: CaseStage;
  before(async () => {
    stage = await CaseStage.open(
      some.map(({ file }) => file),
      ...agentArgs,
    );
  });
  after(async () => {
    assert.deepEqual(await stage?.close(), []);
  });

  for (const { name, file } of some) {
    const exception = exceptions[name] ?? unservedKinds(file);
    test(`${name}: ${file.description}`, { skip: exception ?? false }, async (t) => {
      const loaded = loadCase(file);
      try {
        const scene = await stage.set(file);
        const results = file.flows.map(async (flow) => {
          const exception = exceptionOf(flow);
          if (exception !== undefined) return t.diagnostic(`not performed: ${flow.text}: ${exception}`);
          const performed = await stage.perform(scene, flow, flow.verdict !== "DROPPED" || flow.reason === "http 403");
          await check(way, loaded, file, flow, performed);
        });
        const failures = (await Promise.allSettled(results)).flatMap((result) =>
          result.status === "rejected" ? [result.reason as Error] : [],
        );
        assert.deepEqual(failures.map(({ message }) => message).join("\n"), "");
      } finally {
        await stage.clear(file);
      }
    });
  }
}

async function check(
  way: Way,
  loaded: LoadedCase,
  file: CaseFile,
  flow: CaseFlow,
  performed: Performance,
): Promise<void> {
  const where = `line ${flow.line}: ${flow.text}`;
  assert.equal(performed.outcome, expectedOutcome(flow), `${where}: at the sender`);
  const expected = expectedFlows(way, loaded, file, flow);
  let told: string[] = [];
  for (const end = now() + observerMs; now() < end && told.length < expected.length; await sleep(20))
    told = performed.observed().map(describeFlow);
  assert.deepEqual(told, expected, `${where}: what the observer tells`);
  if (flow.rule !== undefined) assert.equal(rulesOf(performed.observed()), flow.rule, `${where}: rules`);
}

/** A flow for each judgement of a connection, and one for the request if HTTP rules decide about it. */
function expectedFlows(way: Way, loaded: LoadedCase, file: CaseFile, flow: CaseFlow): string[] {
  const judgements = judgementsOf(loaded, file, flow);
  const byRules = judgements.filter(({ decision }) => decision.verdict === "REDIRECTED");
  const told = judgements.map(({ direction, decision }) => {
    // What the kernel judges is led nowhere else; of two sides with rules only the second one finds that it is too much for it.
    const stays =
      way === "kernel" && decision.entry?.requests !== undefined && (byRules.length < 2 || direction === "egress");
    const verdict = decision.verdict === "REDIRECTED" && stays ? "FORWARDED" : decision.verdict;
    return `${direction} ${verdict} ${verdict === "DROPPED" ? decision.reason : ""}`.trim();
  });
  return flow.request.kind === "http" && byRules.length > 0 ? [...told, `request ${flow.verdict}`] : told;
}

function expectedOutcome({ verdict, reason, request, protocol }: CaseFlow): string {
  if (reason === "http 403") return "403";
  if (verdict === "DROPPED") return "timeout";
  if (request.kind === "http") return "200";
  return protocol === protocolNumbers.TCP ? "connected" : "answered";
}

function describeFlow({ Type, verdict, drop_reason: reason, traffic_direction: direction }: Flow): string {
  const name = verdictName(verdict ?? 0);
  if (Type === FlowType.L7) return `request ${name}`;
  const way = direction === TrafficDirection.INGRESS ? "ingress" : "egress";
  return `${way} ${name} ${reason ? dropReasonName(reason) : ""}`.trim();
}

/** As case files write them: in the order of the directions. */
function rulesOf(flows: readonly Flow[]): string {
  const policies = flows
    .filter(({ Type }) => Type !== FlowType.L7)
    .flatMap(({ egress_denied_by, egress_allowed_by, ingress_denied_by, ingress_allowed_by }) =>
      [egress_denied_by, egress_allowed_by, ingress_denied_by, ingress_allowed_by].flatMap((list) => list ?? []),
    );
  const path = (labels: readonly string[] = []) =>
    labels.find((label) => label.startsWith("tsilium:rule="))?.replace("tsilium:rule=", "") ?? "";
  return policies.map(({ name, labels }) => `${name} ${path(labels)}`.trim()).join(", ");
}
