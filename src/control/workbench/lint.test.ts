import assert from "node:assert/strict";
import { test } from "node:test";
import { lintLabels } from "#control/policy";
import { createWorld, type Finding, lintPolicy } from "./index.ts";
import { pod, policy, randomObjects } from "./testing.ts";

const pods = [pod("web", { app: "web" }, "http:8080"), pod("db", { app: "db" }, "5432"), pod("job", { app: "job" })];
const select = (app: string) => ({ matchLabels: { app } });
const tcp = (port: string) => [{ ports: [{ port, protocol: "TCP" }] }];
const lint = (...specs: object[]): Finding[] => {
  const world = createWorld([...pods, ...specs.map((spec, i) => policy(`p${i}`, spec))]);
  assert.deepEqual(world.refused, []);
  return lintPolicy(world, world.policies[0]!);
};

const rows: readonly (readonly [name: string, specs: object[], found: string[]])[] = [
  [
    "a policy that does what it says",
    [{ endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web")], toPorts: tcp("5432") }] }],
    [],
  ],
  [
    "a subject that nobody is",
    [{ endpointSelector: select("dbb"), ingress: [{}] }],
    [
      "selects-no-workload spec.endpointSelector.matchLabels.app: the policy selects no workload (nearest is db: expected app=dbb, found k8s:app=db)",
    ],
  ],
  [
    "a peer that nobody is",
    [{ endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web"), select("webb")] }] }],
    [
      "peer-selects-no-workload spec.ingress[0].fromEndpoints[1]: the selector matches no workload (nearest is db: expected app=webb, found k8s:app=db)",
    ],
  ],
  [
    "a port on which nobody listens",
    [{ endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web")], toPorts: tcp("5433") }] }],
    ["port-not-exposed spec.ingress[0].toPorts[0].ports[0]: db exposes no port 5433/TCP (exposed: 5432/TCP)"],
  ],
  [
    "a port of a workload that declares none",
    [{ endpointSelector: select("job"), ingress: [{ fromEndpoints: [select("web")], toPorts: tcp("5433") }] }],
    [],
  ],
  [
    "a name that no port has",
    [{ endpointSelector: select("job"), egress: [{ toEndpoints: [select("web")], toPorts: tcp("htp") }] }],
    ['port-not-exposed spec.egress[0].toPorts[0].ports[0]: web gives no port the name "htp" (known: http)'],
  ],
  [
    "an allow that a deny beats",
    [
      { endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web")], toPorts: tcp("5432") }] },
      { endpointSelector: select("db"), ingressDeny: [{ fromEntities: ["cluster"] }] },
    ],
    [
      "shadowed-by-deny spec.ingress[0]: nothing of this is allowed: a deny beats all of it (denied by CiliumNetworkPolicy default/p1 spec.ingressDeny[0] (p1.yaml spec.ingressDeny[0]); a deny always beats an allow)",
      "no-effect metadata.name: CiliumNetworkPolicy default/p0 changes nothing: without it every connection would be judged the same (other policies say all of it already; remove it, or look at whom it was to select and what it was to forbid)",
    ],
  ],
  [
    "a policy that another one repeats",
    [
      { endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web")] }] },
      { endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web"), select("job")] }] },
    ],
    [
      "no-effect metadata.name: CiliumNetworkPolicy default/p0 changes nothing: without it every connection would be judged the same (other policies say all of it already; remove it, or look at whom it was to select and what it was to forbid)",
    ],
  ],
  [
    "egress that the peer does not accept",
    [
      { endpointSelector: select("web"), egress: [{ toEndpoints: [select("db")], toPorts: tcp("5432") }] },
      { endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("job")] }] },
    ],
    [
      "egress-not-accepted spec.egress[0].toEndpoints[0]: db accepts none of this: its ingress policy denies it (let db accept it, or see why with `tsilium policy explain`)",
    ],
  ],
  [
    "ingress that the peer can't send",
    [
      { endpointSelector: select("db"), ingress: [{ fromEndpoints: [select("web")], toPorts: tcp("5432") }] },
      { endpointSelector: select("web"), egress: [{ toEndpoints: [select("job")] }] },
    ],
    [
      "ingress-not-sent spec.ingress[0].fromEndpoints[0]: web can send none of this: its egress policy denies it (let web send it, or see why with `tsilium policy explain`)",
    ],
  ],
];
for (const [name, specs, found] of rows)
  test(`lint: ${name}`, () =>
    assert.deepEqual(
      lint(...specs).map(
        ({ code, path, message, hint }) => `${code} ${path}: ${message}${hint === "" ? "" : ` (${hint})`}`,
      ),
      found,
    ));

test("labels that make no identity are named, without any workload", () => {
  const spec = {
    endpointSelector: { matchLabels: { "pod-template-hash": "1", app: "a" } },
    ingress: [
      {
        fromEndpoints: [
          { matchExpressions: [{ key: "topology.kubernetes.io/zone", operator: "NotIn", values: ["a"] }] },
        ],
      },
    ],
  };
  const world = createWorld([policy("p", spec)]);
  assert.deepEqual(
    lintLabels(world.policies[0]!.rules).map(({ path, message }) => `${path}: ${message}`),
    [
      "spec.endpointSelector.matchLabels.pod-template-hash: label pod-template-hash is not part of identities, so this selects no one",
      "spec.ingress[0].fromEndpoints[0].matchExpressions[0]: label topology.kubernetes.io/zone is not part of identities, so this excludes no one",
    ],
  );
});

const seed = Number(process.env.TSILIUM_SEED ?? Date.now() % 2 ** 32);
test(`linting leaves the world as it was, in random worlds (seed ${seed})`, () => {
  for (let n = 0; n < 10; n++) {
    const world = createWorld(randomObjects(seed + n));
    const entries = () => world.groups.map(({ identity }) => world.engine.policyOf(identity)?.entries);
    const before = entries();
    for (const one of world.policies) lintPolicy(world, one);
    assert.deepEqual(entries(), before);
  }
});
