import assert from "node:assert/strict";
import { test } from "node:test";
import { type KubeObject, resourceOf } from "#contracts/kube";
import { compileJsonPath } from "./json-path.ts";
import { formatAge, formatSelector, formatTable } from "./tables.ts";

const ages: [number, string][] = [
  [-5000, "<invalid>"],
  [0, "0s"],
  [119_999, "119s"],
  [120_000, "2m"],
  [199_000, "3m19s"],
  [601_000, "10m"],
  [3 * 3600_000, "3h"],
  [5 * 3600_000 + 60_000, "5h1m"],
  [47 * 3600_000, "47h"],
  [48 * 3600_000, "2d"],
  [50 * 3600_000, "2d2h"],
  [9 * 86_400_000, "9d"],
  [800 * 86_400_000, "2y70d"],
];
for (const [ms, text] of ages) test(`${ms} ms are written ${text}`, () => assert.equal(formatAge(ms), text));

const object = {
  a: {
    "b.c": [
      { type: "X", v: 1 },
      { type: "Valid", v: 2 },
    ],
  },
  n: 0,
};
const paths: [string, unknown][] = [
  [".n", 0],
  [".a.b\\.c[0].v", 1],
  ['.a.b\\.c[?(@.type=="Valid")].v', 2],
  [".a.b\\.c[7].v", undefined],
  [".missing.deep", undefined],
  [".toString", undefined],
];
for (const [path, value] of paths)
  test(`the JSONPath ${path} reads ${value}`, () => assert.equal(compileJsonPath(path)(object), value));

const creationTimestamp = "2030-01-01T00:00:00Z";
const nowMs = Date.parse(creationTimestamp) + 60_000;
const rows: Record<
  string,
  { object: KubeObject & Record<string, unknown>; kind: Parameters<typeof resourceOf>[0]; cells: unknown[] }
> = {
  "a running pod": {
    kind: "Pod",
    object: {
      metadata: { name: "web", creationTimestamp },
      spec: { containers: [{}, {}], nodeName: "n1" },
      status: {
        phase: "Running",
        podIP: "10.0.0.1",
        containerStatuses: [
          { ready: true, restartCount: 2 },
          { ready: false, restartCount: 1 },
        ],
      },
    },
    cells: ["web", "1/2", "Running", "3", "60s", "10.0.0.1", "n1", "<none>", "<none>"],
  },
  "a pod that waits": {
    kind: "Pod",
    object: {
      metadata: { name: "web", creationTimestamp },
      spec: { containers: [{}] },
      status: {
        phase: "Pending",
        containerStatuses: [{ ready: false, restartCount: 0, state: { waiting: { reason: "CrashLoopBackOff" } } }],
      },
    },
    cells: ["web", "0/1", "CrashLoopBackOff", "0", "60s", "<none>", "<none>", "<none>", "<none>"],
  },
  "a service": {
    kind: "Service",
    object: {
      metadata: { name: "s", creationTimestamp },
      spec: {
        type: "NodePort",
        clusterIP: "10.96.0.1",
        ports: [
          { port: 80, nodePort: 30080 },
          { port: 53, protocol: "UDP" },
        ],
        selector: { app: "web" },
      },
    },
    cells: ["s", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "60s", "app=web"],
  },
  "a policy with its condition": {
    kind: "CiliumNetworkPolicy",
    object: { metadata: { name: "p", creationTimestamp }, status: { conditions: [{ type: "Valid", status: "True" }] } },
    cells: ["p", "60s", "True"],
  },
  "an identity": {
    kind: "CiliumIdentity",
    object: { metadata: { name: "1001", creationTimestamp, labels: { "io.kubernetes.pod.namespace": "shop" } } },
    cells: ["1001", "shop", "60s"],
  },
  "an endpoint without addresses": {
    kind: "CiliumEndpoint",
    object: { metadata: { name: "e" }, status: { identity: { id: 7 }, state: "creating" } },
    cells: ["e", 7, null, null, "creating", null, null],
  },
};
for (const [name, { kind, object: shown, cells }] of Object.entries(rows)) {
  test(`the row of ${name}`, () => {
    const table = formatTable(resourceOf(kind), [shown], { metadata: {}, include: "None", nowMs }) as {
      rows: { cells: unknown[] }[];
      columnDefinitions: unknown[];
    };
    assert.deepEqual(table.rows[0]!.cells, cells);
    assert.equal(table.columnDefinitions.length, cells.length);
  });
}

test("selectors are written as in requests", () => {
  assert.equal(formatSelector({}), "<none>");
  assert.equal(
    formatSelector({
      matchLabels: { a: "b" },
      matchExpressions: [
        { key: "c", operator: "NotIn", values: ["d", "e"] },
        { key: "f", operator: "DoesNotExist" },
      ],
    }),
    "a=b,c notin (d,e),!f",
  );
});
