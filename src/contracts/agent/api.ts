/** Requests and answers of the agent's local API: JSON over HTTP on a unix socket. Numbers of time end in their unit; instants are ISO 8601. */

/** A component's state: `starting` will become ok by itself, `degraded` serves with a loss that `message` names. */
export interface ComponentStatus {
  readonly name: string;
  readonly state: "ok" | "starting" | "degraded" | "failed" | "off";
  readonly message?: string;
}

/** A row that the kernel or the proxy does not hold yet, and why. */
export interface RowProblem {
  readonly key: string;
  readonly message: string;
  readonly attempts: number;
  readonly retryAt: string;
}

/** One reconciler: how many rows are wanted, how many are realised, what is wrong with the others. */
export interface ReconcilerStatus {
  readonly name: string;
  readonly rows: number;
  readonly done: number;
  readonly pending: number;
  readonly problems: readonly RowProblem[];
  /** Why leftovers could not be removed. */
  readonly pruneProblem?: string;
}

/** A program of somebody else on one of our hooks. */
export interface ForeignProgram {
  readonly device: string;
  readonly hook: "ingress" | "egress";
  readonly programId: number;
  readonly name: string;
  /** Whether it sees packets before our program does. */
  readonly before: boolean;
}

/** A kernel feature that is missing here and what that costs. */
export interface DegradedFeature {
  readonly name: string;
  readonly cost: string;
  /** Kernel version that brings it. */
  readonly since?: string;
}

/** The L7 proxy as the agent sees it. `off`: not needed yet, it starts with the first rule that wants it. */
export interface ProxyStatus {
  readonly state: "off" | "starting" | "connected" | "disconnected" | "failed";
  readonly pid?: number;
  readonly message?: string;
}

/** `GET /v1/status`. */
export interface AgentStatus {
  /** Whether endpoints can be created and policy is enforced: all lists were seen once and realised. */
  readonly ready: boolean;
  readonly nodeName: string;
  readonly instance: string;
  readonly pid: number;
  readonly startedAt: string;
  /** From process start to `ready`. */
  readonly readyAfterMs?: number;
  readonly residentBytes: number;
  readonly versions: { readonly tsilium: string; readonly node: string; readonly kernel: string };
  readonly addresses: { readonly ipv4?: string; readonly ipv6?: string; readonly worldDevice?: string };
  readonly podCidrs: readonly string[];
  readonly components: readonly ComponentStatus[];
  readonly counts: {
    readonly endpoints: number;
    readonly endpointsReady: number;
    readonly identities: number;
    readonly ipcache: number;
    readonly policies: number;
    readonly policiesRefused: number;
    readonly policySets: number;
    readonly policyEntries: number;
    readonly policyEntriesCapacity: number;
    /** Programs that judge HTTP requests in the kernel. */
    readonly httpPrograms: number;
    readonly httpProgramsCapacity: number;
  };
  readonly policy: PolicyRevision;
  readonly reconcilers: readonly ReconcilerStatus[];
  readonly proxy: ProxyStatus;
  readonly foreignPrograms: readonly ForeignProgram[];
  /** Only what is missing. */
  readonly degraded: readonly DegradedFeature[];
}

/** How far policy has come. Revisions count changes of what policy computes from; they start at 1 with each agent. */
export interface PolicyRevision {
  readonly computed: number;
  /** The newest revision that is wholly in force. */
  readonly realised: number;
  /** `node_config.policy_epoch`. */
  readonly epoch: number;
}

/** States of an endpoint; see `#control/endpoint`. */
export type EndpointPhase = "creating" | "waiting-for-identity" | "ready" | "disconnecting" | "failed";

/** One line of `GET /v1/endpoints`. */
export interface EndpointSummary {
  readonly id: number;
  readonly namespace: string;
  readonly pod: string;
  readonly phase: EndpointPhase;
  readonly message?: string;
  readonly identity: number;
  readonly labels: readonly string[];
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly policy: { readonly ingress: boolean; readonly egress: boolean };
}

/** Where a policy entry comes from. */
export interface RuleReference {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Field path of the rule, e.g. `spec.ingress[0]`; empty where the whole object speaks. */
  readonly path: string;
}

/** Who judges the HTTP requests on an entry's connections. */
export interface HttpJudge {
  readonly judge: "kernel" | "proxy";
  /** Why it is the proxy; a clause such as "its rules limit rates". */
  readonly reason?: string;
  /** With `kernel`: number of the program that judges. */
  readonly program?: number;
  /** With `kernel`: connections of these peers go to the proxy all the same, since they spoke something else than HTTP/1. */
  readonly learnt?: readonly { readonly identity: number; readonly peer: string; readonly port: number; readonly protocol: string }[]; // biome-ignore format: one row
}

/** A policy entry as people read it. */
export interface PolicyEntryView {
  readonly direction: "ingress" | "egress";
  /** 0 = any. */
  readonly identity: number;
  readonly peer: string;
  /** `TCP`, `UDP`, `ANY`... */
  readonly protocol: string;
  /** Empty = any port; `80`, `8000-8191` or an ICMP type. */
  readonly port: string;
  readonly action: "allow" | "deny" | "redirect" | "audit";
  readonly precedence: number;
  readonly proxyPort?: number;
  /** Of an entry with HTTP rules. */
  readonly http?: HttpJudge;
  /** The direction has no policy: the entry stands for "everything may pass". */
  readonly unenforced: boolean;
  readonly rules: readonly RuleReference[];
}

/** `GET /v1/endpoints/ID`. */
export interface EndpointDetail extends EndpointSummary {
  readonly interfaceName: string;
  readonly ifindex: number;
  readonly mac: string;
  readonly hostMac: string;
  readonly netnsPath?: string;
  readonly workload?: string;
  readonly createdAt: string;
  readonly policyStatus: {
    readonly set: number;
    readonly revision: number;
    readonly realised: boolean;
    readonly problem?: string;
    readonly entries: readonly PolicyEntryView[];
  };
}

/** One line of `GET /v1/identities`. */
export interface IdentityView {
  readonly id: number;
  readonly labels: readonly string[];
  readonly scope: "reserved" | "cluster" | "local";
  /** For CIDR identities. */
  readonly prefix?: string;
  /** Endpoints of this node that have it. */
  readonly endpoints: number;
}

/** One line of `GET /v1/ipcache`. */
export interface IpcacheView {
  readonly prefix: string;
  readonly identity: number;
  readonly labels: readonly string[];
  readonly endpoint?: number;
  readonly source: string;
}

/** One fault of a policy: place, what was found, what to do. */
export interface PolicyProblemView {
  readonly path: string;
  readonly line?: number;
  readonly column?: number;
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** One line of `GET /v1/policies`. `last-good`: the newest version was refused, an earlier one stays in force. */
export interface PolicyView {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly state: "valid" | "refused" | "last-good";
  /** `staged`: it denies nothing, and reports what it would deny. */
  readonly mode: "enforced" | "staged";
  /** When a staged policy comes in force by itself; RFC 3339. */
  readonly auditUntil?: string;
  readonly problems: readonly PolicyProblemView[];
  /** Endpoints of this node that are its subjects. */
  readonly selects: readonly { readonly id: number; readonly pod: string }[];
}

/** One line of `GET /v1/maps`. */
export interface MapSummary {
  readonly name: string;
  readonly type: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly capacity: number;
}

/** `GET /v1/maps/NAME`: each entry decoded; addresses and prefixes are text. */
export interface MapDump {
  readonly name: string;
  readonly entries: readonly { readonly key: unknown; readonly value: unknown }[];
  /** Set where the dump was cut at its limit. */
  readonly truncated: boolean;
}

/** `POST /v1/workloads`: makes a pod object, an endpoint, a network namespace and a cgroup. */
export interface CreateWorkload {
  readonly name: string;
  /** Default `default`. */
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default `default`. */
  readonly serviceAccount?: string;
  /** Shown as the pod's container command. */
  readonly command?: readonly string[];
  /** Keep the workload when its last process has ended; otherwise it is removed then (and after a minute in which no process came). */
  readonly keep?: boolean;
}

/** A workload: where to put processes so that they belong to it. */
export interface Workload {
  /** Number of its endpoint. */
  readonly id: number;
  readonly namespace: string;
  readonly name: string;
  /** Name for `ip netns exec`. */
  readonly netnsName: string;
  readonly netnsPath: string;
  readonly cgroupPath: string;
  /** Write a pid here to move a process into the workload. */
  readonly cgroupProcsPath: string;
  readonly ips: readonly string[];
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  /** Processes running in it now. */
  readonly pids: readonly number[];
  readonly phase: EndpointPhase;
}

/** `POST /v1/endpoints`: for a container runtime's namespace; what a CNI ADD carries. */
export interface CreateEndpoint {
  readonly containerId: string;
  readonly netnsPath: string;
  /** Name of the interface to be made in the container; default `eth0`. */
  readonly interfaceName?: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid?: string };
}

/** Answer to `POST /v1/endpoints`; what a CNI result is made of. */
export interface CreatedEndpoint {
  readonly id: number;
  readonly interfaceName: string;
  readonly hostInterfaceName: string;
  readonly mac: string;
  readonly hostMac: string;
  /** With prefix length: `10.217.0.5/32`. */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  readonly identity: number;
}

/** Query of `GET /v1/policy/wait`; without `kind` it waits only for what was already seen. */
export interface PolicyWait {
  /** Kind of the object that was written, e.g. `CiliumNetworkPolicy`. */
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  /** Wait until this version (or a newer one) of the kind was seen. */
  readonly resourceVersion?: string;
  /** Wait until the named object is gone. */
  readonly absent?: boolean;
  /** Default 10 000, at most 60 000. */
  readonly timeoutMs?: number;
}

/** Answer of `GET /v1/policy/wait`. */
export interface PolicyWaitResult {
  /** False: the time ran out (`missing` says what was waited for), or it can't be (`problems` say why). */
  readonly enforced: boolean;
  readonly revision: PolicyRevision;
  readonly missing?: string;
  /** Why rows could not be realised or the named object was refused. */
  readonly problems: readonly string[];
  readonly waitedMs: number;
}

/** Answer of `POST /v1/cleanup`. The agent ends itself after it. */
export interface CleanupResult {
  readonly removed: readonly string[];
  readonly problems: readonly string[];
}

/** What every refusal carries: a {@link TsiliumError} as JSON. */
export interface ApiError {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
