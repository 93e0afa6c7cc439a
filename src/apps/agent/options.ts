/** What `tsilium agent` can be told. */
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import type { EngineOptions } from "#control/policy";
import { type Prefix, parsePrefix } from "#core/model";
import { errorMessage, type InstancePaths, instancePaths, TsiliumError } from "#core/runtime";
import type { AttachMode } from "#datapath/loader";

type Enforcement = NonNullable<EngineOptions["enforcement"]>;

/** Settings of an agent. */
export interface AgentOptions {
  readonly paths: InstancePaths;
  /** File that says where the API server is; waited for if it isn't there yet. */
  readonly kubeconfig: string;
  readonly nodeName: string;
  readonly podCidr4: Prefix;
  readonly podCidr6: Prefix;
  readonly worldDevice?: string;
  readonly masquerade: boolean;
  /** Which endpoints are in default deny: those that policies select, all, or none. */
  readonly enforcement: Enforcement;
  /** Let through and report what would be denied. */
  readonly audit: boolean;
  /** Capacity of the policy map: entries of all policy sets together. */
  readonly policyMapMax?: number;
  /** How programs are attached; found out without it. */
  readonly attach?: AttachMode;
  /** Socket redirect for every endpoint, not only for those whose pods ask for it. */
  readonly socketRedirect: boolean;
  /** Whether the L7 proxy may be started. */
  readonly proxy: boolean;
  /** Whether the kernel may judge HTTP requests. */
  readonly kernelHttp: boolean;
}

/** Text of `--help`. */
export const agentUsage = `usage: tsilium agent [options]

  --kubeconfig FILE        the API server and who we are (default: agent.kubeconfig in the run directory)
  --node-name NAME         name of the Node object (default: the host's name)
  --pod-cidr-ipv4 PREFIX   addresses of workloads (default 10.217.0.0/24)
  --pod-cidr-ipv6 PREFIX   (default fd10:217::/112)
  --world-device NAME      device towards the world (default: that of the default route)
  --policy-enforcement default|always|never
                           who is in default deny: whom policies select (default), everybody, or nobody
  --policy-audit           let through what would be denied, and report it with verdict AUDIT
  --policy-map-max N       entries that all policies together may have in the kernel (default 1048576)
  --attach tcx|clsact      how programs are attached to devices (default: TCX where this kernel has it)
  --socket-redirect        short-cut TCP between all workloads of this node, not only those annotated for it
  --no-masquerade          leave source addresses alone on the way to the world
  --no-kernel-http         let the proxy judge all HTTP requests, also those that the kernel could
  --no-proxy               do not start the L7 proxy: connections that need it are dropped
`;

/** Reads the arguments; throws BAD_ARGUMENT. */
export function parseAgentOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentOptions {
  const values = read(argv);
  const prefix = (flag: "pod-cidr-ipv4" | "pod-cidr-ipv6", family: 4 | 6, longest: number): Prefix => {
    const text = values[flag];
    const parsed = parsePrefix(text);
    if (!parsed || parsed.family !== family || parsed.length > longest) {
      throw new TsiliumError(
        "BAD_ARGUMENT",
        `--${flag} is "${text}"; it must be an IPv${family} prefix of at most ${longest} bits, such as ${family === 4 ? "10.217.0.0/24" : "fd10:217::/112"}`,
      );
    }
    return parsed;
  };
  const policyMapMax = values["policy-map-max"];
  if (policyMapMax !== undefined && !isCapacity(policyMapMax)) {
    throw new TsiliumError(
      "BAD_ARGUMENT",
      `--policy-map-max is "${policyMapMax}"; it must be a number of entries from ${capacity.least} to ${capacity.most}`,
    );
  }
  const { attach } = values;
  if (attach !== undefined && attach !== "tcx" && attach !== "clsact")
    throw new TsiliumError("BAD_ARGUMENT", `--attach is "${attach}"; it must be tcx or clsact`);
  const enforcement = values["policy-enforcement"];
  if (!isEnforcement(enforcement)) {
    throw new TsiliumError(
      "BAD_ARGUMENT",
      `--policy-enforcement is "${enforcement}"; it must be default, always or never`,
    );
  }
  const paths = instancePaths(env);
  return {
    paths,
    kubeconfig: values.kubeconfig ?? paths.agentKubeconfig,
    nodeName: (values["node-name"] ?? hostname()).toLowerCase(),
    podCidr4: prefix("pod-cidr-ipv4", 4, 30),
    podCidr6: prefix("pod-cidr-ipv6", 6, 126),
    ...(values["world-device"] !== undefined && { worldDevice: values["world-device"] }),
    masquerade: !values["no-masquerade"],
    enforcement,
    audit: values["policy-audit"],
    ...(policyMapMax !== undefined && { policyMapMax: Number(policyMapMax) }),
    ...(attach !== undefined && { attach }),
    socketRedirect: values["socket-redirect"],
    proxy: !values["no-proxy"],
    kernelHttp: !values["no-kernel-http"],
  };
}

/** An endpoint without policy has two entries; above this the map alone would take gigabytes. */
const capacity = { least: 16, most: 16_777_216 } as const;
const isCapacity = (text: string) =>
  /^[0-9]{1,8}$/.test(text) && Number(text) >= capacity.least && Number(text) <= capacity.most;

const isEnforcement = (text: string): text is Enforcement => ["default", "always", "never"].includes(text);

function read(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        kubeconfig: { type: "string" },
        "node-name": { type: "string" },
        "pod-cidr-ipv4": { type: "string", default: "10.217.0.0/24" },
        "pod-cidr-ipv6": { type: "string", default: "fd10:217::/112" },
        "world-device": { type: "string" },
        "policy-enforcement": { type: "string", default: "default" },
        "policy-audit": { type: "boolean", default: false },
        "policy-map-max": { type: "string" },
        attach: { type: "string" },
        "socket-redirect": { type: "boolean", default: false },
        "no-masquerade": { type: "boolean", default: false },
        "no-kernel-http": { type: "boolean", default: false },
        "no-proxy": { type: "boolean", default: false },
      },
    }).values;
  } catch (cause) {
    throw new TsiliumError("BAD_ARGUMENT", `${errorMessage(cause)}\n${agentUsage}`);
  }
}
