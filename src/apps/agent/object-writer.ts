/** What the agent says about its node in the API: pods' addresses, CiliumEndpoints, the Node, whether policies are valid. Never in the way of enforcement. */
import { release } from "node:os";
import type { CiliumEndpoint, Condition, KubeClient, KubeObject, Node, Pod } from "#contracts/kube";
import type { Endpoint } from "#control/endpoint";
import type { PolicySet, Rule } from "#control/policy";
import { formatAddress, formatLabels, formatPrefix } from "#core/model";
import { errorMessage, type Logger, TsiliumError } from "#core/runtime";
import type { AgentOptions } from "./options.ts";
import type { JudgedPolicy, PolicyObject } from "./policies.ts";

/** Writes in the background; the newest state of each object wins. */
export interface ObjectWriter {
  endpoint(endpoint: Endpoint, policy: PolicySet | undefined, pod: Pod | undefined): void;
  endpointGone(endpoint: Endpoint): void;
  /** Deletes the CiliumEndpoints of this node behind which there is no endpoint: an earlier agent was ended before it could. */
  pruneEndpoints(hasEndpoint: (namespace: string, name: string) => boolean): Promise<void>;
  policy(object: PolicyObject, judged: JudgedPolicy): void;
  policyGone(object: PolicyObject): void;
  node(addresses: { readonly ipv4?: string; readonly ipv6?: string }): void;
  /** Resolves when nothing is being written, or after `withinMs`: a server that is away must not hold up an end. */
  idle(withinMs: number): Promise<void>;
}

/** Writes at most one state of an object at a time; a failed write is tried again until the object is gone. */
export function createObjectWriter(kube: KubeClient, options: AgentOptions, log: Logger): ObjectWriter {
  const queue = new Map<string, () => Promise<unknown>>();
  const active = new Map<string, Promise<void>>();
  const written = new Map<string, string>();

  /** `state`: what would be written, so that nothing is written twice. */
  function write(key: string, state: unknown, action: () => Promise<unknown>): void {
    const text = JSON.stringify(state);
    if (written.get(key) === text) return;
    written.set(key, text);
    queue.set(key, action);
    if (!active.has(key)) active.set(key, work(key));
  }

  async function work(key: string): Promise<void> {
    for (let retryMs = 100; queue.has(key); ) {
      const action = queue.get(key)!;
      queue.delete(key);
      try {
        await action();
      } catch (error) {
        if (!(error instanceof TsiliumError)) throw error;
        // The object was deleted meanwhile: nobody is interested any more.
        if (error.code === "KUBE_NOT_FOUND") break;
        log.debug({ object: key, error: errorMessage(error) }, "object not written; trying again");
        if (!queue.has(key)) queue.set(key, action);
        await new Promise((resolve) => setTimeout(resolve, retryMs).unref());
        retryMs = Math.min(5000, retryMs * 2);
        if (["KUBE_INVALID", "KUBE_BAD_REQUEST", "KUBE_FORBIDDEN"].includes(error.code)) {
          log.warn({ object: key, error: errorMessage(error) }, "object refused by the API server");
          break;
        }
      }
    }
    active.delete(key);
  }

  return {
    endpoint(endpoint, policy, pod) {
      const { namespace, name, uid } = endpoint.pod;
      const object = ciliumEndpoint(endpoint, policy, pod, options.nodeName);
      const key = `CiliumEndpoint/${namespace}/${name}`;
      write(key, object, async () => {
        try {
          await kube.create("CiliumEndpoint", object);
        } catch (error) {
          if (!(error instanceof TsiliumError && error.code === "KUBE_ALREADY_EXISTS")) throw error;
          await kube.patch("CiliumEndpoint", { namespace, name }, { status: object.status }, { type: "merge" });
        }
      });
      if (pod === undefined || endpoint.state.kind !== "ready") return;
      const ips = addressesOf(endpoint);
      const status: Pod["status"] = {
        phase: "Running",
        ...(ips[0] !== undefined && { podIP: ips[0] }),
        podIPs: ips.map((ip) => ({ ip })),
        startTime: new Date(endpoint.createdAtMs).toISOString().replace(/\.\d+Z$/, "Z"),
        conditions: [{ type: "Ready", status: "True" }],
        containerStatuses: (pod.spec?.containers ?? []).map((container) => ({
          name: container.name,
          ready: true,
          started: true,
          restartCount: 0,
          image: container.image ?? "",
          imageID: "",
          state: { running: { startedAt: new Date(endpoint.createdAtMs).toISOString().replace(/\.\d+Z$/, "Z") } },
        })),
      };
      write(`Pod/${namespace}/${name}/${uid}`, status, () =>
        kube.patch("Pod", { namespace, name }, { status }, { type: "merge", subresource: "status" }),
      );
    },
    endpointGone(endpoint) {
      const { namespace, name, uid } = endpoint.pod;
      const key = `CiliumEndpoint/${namespace}/${name}`;
      write(key, "gone", () => kube.delete("CiliumEndpoint", { namespace, name }));
      written.delete(key);
      written.delete(`Pod/${namespace}/${name}/${uid}`);
    },
    async pruneEndpoints(hasEndpoint) {
      try {
        for (const { metadata, status } of (await kube.list("CiliumEndpoint")).items) {
          const { namespace = "default", name = "", uid = "" } = metadata;
          if (status?.networking?.node !== options.nodeName || hasEndpoint(namespace, name)) continue;
          await kube.delete("CiliumEndpoint", { namespace, name }, { uid });
        }
      } catch (error) {
        if (!(error instanceof TsiliumError)) throw error;
        log.warn({ error: errorMessage(error) }, "CiliumEndpoints of former workloads not deleted");
      }
    },
    policy(object, judged) {
      // Kubernetes' own policy has no status.
      if (object.kind === "NetworkPolicy" || object.kind === undefined) return;
      const errors = judged.problems.filter((problem) => problem.severity === "error");
      const condition: Omit<Condition, "lastTransitionTime"> = {
        type: "Valid",
        status: judged.state === "valid" ? "True" : "False",
        reason:
          judged.state === "valid" ? "Accepted" : judged.state === "last-good" ? "EarlierVersionInForce" : "Refused",
        message:
          judged.state === "valid"
            ? inForce(judged.rules)
            : errors
                .map((problem) => `${problem.path}: ${problem.message}`)
                .join("; ")
                .slice(0, 4000),
      };
      const key = policyStatusKey(object);
      const present = conditionOf(object);
      if (present?.status === condition.status && present.message === condition.message) return;
      write(key, condition, () =>
        kube.patch(
          object.kind as "CiliumNetworkPolicy",
          refOf(object),
          { status: { conditions: [{ ...condition, lastTransitionTime: now() }] } },
          { type: "merge", subresource: "status" },
        ),
      );
    },
    policyGone: (object) => void written.delete(policyStatusKey(object)),
    node(addresses) {
      const { nodeName, podCidr4, podCidr6 } = options;
      const podCIDRs = [formatPrefix(podCidr4), formatPrefix(podCidr6)];
      const status: Node["status"] = {
        addresses: [
          { type: "Hostname", address: nodeName },
          ...[addresses.ipv4, addresses.ipv6].flatMap((a) => (a ? [{ type: "InternalIP", address: a }] : [])),
        ],
        conditions: [{ type: "Ready", status: "True", reason: "AgentReady" }],
        nodeInfo: { kernelVersion: release(), operatingSystem: "linux", architecture: process.arch },
      };
      const node: Node = { metadata: { name: nodeName }, spec: { podCIDR: podCIDRs[0]!, podCIDRs } };
      write(`Node/${nodeName}`, [node, status], async () => {
        try {
          await kube.create("Node", node);
        } catch (error) {
          if (!(error instanceof TsiliumError && error.code === "KUBE_ALREADY_EXISTS")) throw error;
        }
        await kube.patch("Node", { name: nodeName }, { status }, { type: "merge", subresource: "status" });
      });
    },
    async idle(withinMs) {
      const late = new Promise<void>((resolve) => setTimeout(resolve, withinMs).unref());
      const deadline = performance.now() + withinMs;
      while (active.size > 0 && performance.now() < deadline) await Promise.race([Promise.all(active.values()), late]);
    },
  };
}

function inForce(rules: readonly Rule[]): string {
  const audit = rules.find((rule) => rule.audit !== undefined)?.audit;
  if (audit === undefined) return "the policy is valid and in force";
  const until =
    audit.untilMs === undefined ? "" : ` until ${new Date(audit.untilMs).toISOString()}, and is in force then`;
  return `the policy is valid and staged: it denies nothing and reports what it would deny${until}`;
}

const now = () => new Date().toISOString().replace(/\.\d+Z$/, "Z");

function refOf(object: KubeObject): { name: string; namespace?: string } {
  const { name = "", namespace } = object.metadata;
  return namespace ? { name, namespace } : { name };
}

function policyStatusKey({ kind, metadata }: PolicyObject): string {
  return `${kind}/${metadata.namespace ?? ""}/${metadata.name}/${metadata.uid}`;
}

function conditionOf(object: PolicyObject): Condition | undefined {
  const status = (object as { status?: { conditions?: readonly Condition[] } }).status;
  return status?.conditions?.find((condition) => condition.type === "Valid");
}

function addressesOf(endpoint: Endpoint): string[] {
  return [endpoint.ipv4, endpoint.ipv6].filter((address) => address !== undefined).map(formatAddress);
}

function ciliumEndpoint(
  endpoint: Endpoint,
  policy: PolicySet | undefined,
  pod: Pod | undefined,
  nodeName: string,
): CiliumEndpoint {
  const { namespace, name, uid } = endpoint.pod;
  const addressing = {
    ...(endpoint.ipv4 && { ipv4: formatAddress(endpoint.ipv4) }),
    ...(endpoint.ipv6 && { ipv6: formatAddress(endpoint.ipv6) }),
  };
  const state = { creating: "creating", failed: "not-ready" } as const;
  return {
    metadata: {
      namespace,
      name,
      ...(uid !== "" && { ownerReferences: [{ apiVersion: "v1", kind: "Pod", name, uid }] }),
    },
    status: {
      id: endpoint.id,
      state:
        endpoint.state.kind === "creating" || endpoint.state.kind === "failed"
          ? state[endpoint.state.kind]
          : endpoint.state.kind,
      ...(endpoint.state.kind === "ready" && {
        identity: { id: endpoint.state.identity, labels: formatLabels(endpoint.labels ?? []) },
      }),
      networking: { addressing: [addressing], node: nodeName },
      policy: {
        ingress: { enforcing: policy?.enforced.ingress ?? false },
        egress: { enforcing: policy?.enforced.egress ?? false },
      },
      ...(pod?.spec?.serviceAccountName && { "service-account": pod.spec.serviceAccountName }),
      "external-identifiers": { "container-id": endpoint.containerId, "pod-name": `${namespace}/${name}` },
    },
  };
}
