/** The policy engine alone: 1000 identities and 1000 rules from nothing, then one rule or one identity more. Pure computing. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Pod } from "#contracts/kube";
import { podLabels } from "#control/identity";
import { createPolicyEngine, formatYaml, type PolicyEngine, parsePolicy, type Rule } from "#control/policy";
import { createReplay } from "#control/replay";
import { flowLine, podEnd } from "#control/replay/testing";
import { createWorld } from "#control/workbench";
import type { Identity, NumericIdentity } from "#core/model";
import { type Bench, type BenchContext, type Figure, limited, percentiles, quantile } from "./figure.ts";

const [identityCount, ruleCount, subjectCount] = [1000, 1000, 100];
const rounds = 5;
const changes = 200;

/** The benchmark; a few seconds. */
export const bench: Bench = {
  name: "policy",
  async run(context: BenchContext): Promise<Figure[]> {
    const objects = Array.from({ length: ruleCount }, (_, i) => policyObject(i));
    const parsing = repeat(rounds, () => objects.map(rulesOf));
    const rules = objects.map(rulesOf);
    const identities = Array.from({ length: identityCount }, (_, i) => identity(i));
    const fromNothing: number[] = [];
    let engine = createPolicyEngine();
    for (let round = 0; round < rounds; round++) {
      engine = createPolicyEngine();
      fromNothing.push(timed(() => fill(engine, identities, rules)));
      context.log(`from nothing, round ${round + 1}: ${fromNothing.at(-1)!.toFixed(1)} ms`);
    }
    const entries = countEntries(engine);

    const extraRule = rulesOf(policyObject(ruleCount + 7));
    const rule = repeat(changes, (i) => {
      if (i % 2 === 0) engine.upsertRules("extra", extraRule);
      else engine.removeRules("extra");
      engine.flush();
    });
    const extraIdentity = identity(identityCount + 7);
    const oneIdentity = repeat(changes, (i) => {
      if (i % 2 === 0) engine.upsertIdentity(extraIdentity);
      else engine.removeIdentity(extraIdentity.id);
      engine.flush();
    });
    const subject = identities[subjectCount]!;
    const oneSubject = repeat(changes, (i) => {
      if (i % 2 === 0) engine.addSubject(subject.id);
      else engine.removeSubject(subject.id);
      engine.flush();
    });
    const size = `${identityCount} identities, ${ruleCount} rules, ${subjectCount} subjects`;
    return [
      checkFigure("policy check of one file, whole process", join(root, "examples/policies/first.yaml"), 150, context),
      ...manyPolicies((folder) =>
        checkFigure("policy check of 500 policies in 500 files, whole process", folder, 300, context),
      ),
      ...replayFigures(),
      figure(`parse and check ${ruleCount} policy objects`, parsing),
      figure(`from nothing: ${size}`, fromNothing),
      { name: "entries computed", value: entries, unit: "entries" },
      figure("one rule more or less", rule),
      figure("one identity more or less", oneIdentity),
      figure("one subject more or less", oneSubject),
    ];
  },
};

const root = resolve(import.meta.dirname, "../..");

/** The time from start to end of the command, as a shell sees it; the compile cache is warm from the second run on. */
function checkFigure(name: string, path: string, atMostMs: number, { log }: BenchContext): Figure {
  const times = repeat(12, () => execFileSync(join(root, "bin/tsilium"), ["policy", "check", path], { stdio: "pipe" }));
  log(`${name}: ${times.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  const warm = times.slice(2);
  return limited({ name, value: quantile(warm, 0.5), unit: "ms", percentiles: percentiles(warm) }, atMostMs);
}

function manyPolicies(measure: (folder: string) => Figure): Figure[] {
  const folder = mkdtempSync(join(tmpdir(), "tsilium-bench-"));
  try {
    for (let i = 0; i < 500; i++) writeFileSync(join(folder, `${i}.yaml`), formatYaml(policyObject(i)));
    return [measure(folder)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A recording of 20 workloads, replayed line by line: what parsing and judging cost together. */
function replayFigures(): Figure[] {
  const pods = Array.from({ length: 20 }, (_, i) => ({
    object: { kind: "Pod", metadata: { name: `p-${i}`, labels: { app: `app-${i}` } }, spec: { containers: [] } },
  }));
  const policies = Array.from({ length: 20 }, (_, i) => ({ object: policyObject(i) }));
  const world = createWorld([...pods, ...policies]);
  const lines = Array.from({ length: 20_000 }, (_, i) => {
    const [from, to] = [world.groups[i % 20]!, world.groups[(i * 7 + 3) % 20]!];
    return flowLine(podEnd(from, i % 50), podEnd(to, i % 9), `${1000 + (i % 40)}/TCP`, "ingress", "FORWARDED");
  });
  const replay = createReplay(world, { judge: () => ({ allowed: true, rules: [] }) });
  const count = 1_000_000;
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const ms = timed(() => {
    for (let i = 0; i < count; i++) replay.addLine(lines[i % lines.length]!);
  });
  if (replay.result().flows !== count) throw new Error("flows were lost");
  const heldMb = (process.memoryUsage().heapUsed - before) / 1e6;
  return [
    { name: "replay of a million recorded flows", value: Math.round((count / ms) * 1000), unit: "flows/s" },
    { name: "memory after a million flows, garbage included", value: heldMb, unit: "MB" },
  ];
}

function fill(engine: PolicyEngine, identities: readonly Identity[], rules: readonly (readonly Rule[])[]): void {
  for (const one of identities) engine.upsertIdentity(one);
  for (const [i, list] of rules.entries()) engine.upsertRules(`policy-${i}`, list);
  for (const { id } of identities.slice(0, subjectCount)) engine.addSubject(id);
  engine.flush();
}

function countEntries(engine: PolicyEngine): number {
  let count = 0;
  for (let i = 0; i < subjectCount; i++) count += engine.policyOf(identity(i).id)?.entries.length ?? 0;
  return count;
}

/** Pods of 100 applications in four tiers. */
function identity(i: number): Identity {
  const labels = { app: `app-${i % 100}`, tier: `tier-${i % 4}`, pod: `pod-${i}` };
  const pod: Pod = { metadata: { name: `pod-${i}`, namespace: "default", labels }, spec: { containers: [] } };
  return { id: (1000 + i) as NumericIdentity, labels: podLabels(pod, undefined) };
}

/** An application is let in by the pods of another one, and by a whole tier on a second port; every tenth denies something. */
function policyObject(i: number): object {
  const peers = [{ matchLabels: { app: `app-${(i * 7 + 3) % 100}` } }];
  const toPorts = (port: number) => [{ ports: [{ port: String(port), protocol: "TCP" }] }];
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: `policy-${i}`, namespace: "default" },
    spec: {
      endpointSelector: { matchLabels: { app: `app-${i % 100}` } },
      ingress: [
        { fromEndpoints: peers, toPorts: toPorts(1000 + i) },
        { fromEndpoints: [{ matchLabels: { tier: `tier-${i % 4}` } }], toPorts: toPorts(8080) },
      ],
      ...(i % 10 === 0 && { ingressDeny: [{ fromEndpoints: peers, toPorts: toPorts(9090) }] }),
    },
  };
}

function rulesOf(object: object): readonly Rule[] {
  const parsed = parsePolicy(object);
  if (parsed.kind === "refused") throw new Error(`refused: ${JSON.stringify(parsed.problems)}`);
  return parsed.rules;
}

function timed(work: () => unknown): number {
  const before = performance.now();
  work();
  return performance.now() - before;
}

function repeat(count: number, work: (i: number) => unknown): number[] {
  return Array.from({ length: count }, (_, i) => timed(() => work(i)));
}

function figure(name: string, times: readonly number[]): Figure {
  return { name, value: quantile(times, 0.5), unit: "ms", percentiles: percentiles(times) };
}
