/** `tsilium endpoint` and `tsilium identity`: what the agent made of workloads and their labels. */
import colours from "picocolors";
import {
  type AgentClient,
  createAgentClient,
  type EndpointDetail,
  type EndpointSummary,
  type IdentityView,
  type PolicyEntryView,
} from "#contracts/agent";
import { instancePaths, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { type Column, formatAge, formatTable, type ListFormat, print, printList, printStructured } from "../output.ts";
import { shortLabels } from "./labels.ts";

/** Runs `use` with a client of the agent and closes it afterwards. */
export async function withAgent<T>(use: (client: AgentClient) => Promise<T>): Promise<T> {
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

const phase = (one: EndpointSummary): string => {
  const colour = one.phase === "ready" ? colours.green : one.phase === "failed" ? colours.red : colours.yellow;
  return colour(one.phase);
};
const enforcement = ({ policy }: EndpointSummary): string =>
  [policy.ingress ? "ingress" : "", policy.egress ? "egress" : ""].filter(Boolean).join("+") || "none";

const columns: readonly Column<EndpointSummary>[] = [
  { title: "ID", cell: ({ id }) => String(id) },
  { title: "NAMESPACE", cell: ({ namespace }) => namespace },
  { title: "POD", cell: ({ pod }) => pod },
  { title: "STATE", cell: phase },
  { title: "IDENTITY", cell: ({ identity }) => String(identity) },
  { title: "IPV4", cell: ({ ipv4 }) => ipv4 ?? "-" },
  { title: "IPV6", cell: ({ ipv6 }) => ipv6 ?? "-" },
  { title: "POLICY", cell: enforcement },
  { title: "LABELS", wide: true, cell: ({ labels }) => shortLabels(labels) },
  { title: "MESSAGE", wide: true, cell: ({ message }) => message ?? "" },
];

/** `endpoint list`. */
export function listEndpoints(flags: { readonly output: ListFormat }): Promise<number> {
  return withAgent(async (client) => {
    await printList(flags.output, columns, await client.endpoints(), { none: "no endpoint" });
    return ExitCode.ok;
  });
}

/** `endpoint get`: one endpoint by number, `POD` or `NAMESPACE/POD`, with the policy that is in force for it. */
export function getEndpoint(
  wanted: string,
  flags: { readonly namespace: string; readonly output: "text" | "json" | "yaml" },
): Promise<number> {
  return withAgent(async (client) => {
    const detail = await client.endpoint(await endpointNumber(client, wanted, flags.namespace));
    if (flags.output === "text") print(describe(detail));
    else await printStructured(flags.output, detail);
    return ExitCode.ok;
  });
}

async function endpointNumber(client: AgentClient, wanted: string, defaultNamespace: string): Promise<number> {
  if (/^\d+$/.test(wanted)) return Number(wanted);
  const [namespace, pod] = wanted.includes("/") ? wanted.split("/", 2) : [defaultNamespace, wanted];
  const endpoints = await client.endpoints();
  const found = endpoints.find((one) => one.namespace === namespace && one.pod === pod);
  if (found !== undefined) return found.id;
  const elsewhere = endpoints.filter((one) => one.pod === pod).map((one) => `${one.namespace}/${one.pod}`);
  throw new TsiliumError(
    "NO_SUCH_ENDPOINT",
    `there is no endpoint for pod ${namespace}/${pod}; ` +
      (elsewhere.length > 0 ? `did you mean ${elsewhere.join(" or ")}?` : "`tsilium endpoint list` shows all"),
  );
}

const entryColumns: readonly Column<PolicyEntryView>[] = [
  { title: "DIRECTION", cell: ({ direction }) => direction },
  {
    title: "PEER",
    cell: ({ identity, peer }) => (identity === 0 ? peer || "any" : `${shortLabels(peer.split(","))} (${identity})`),
  },
  { title: "PORT", cell: ({ protocol, port }) => (port === "" ? protocol : `${port}/${protocol}`) },
  {
    title: "ACTION",
    cell: ({ action, unenforced, proxyPort, http }) => {
      if (unenforced) return colours.dim("allow (no policy)");
      const shown =
        http?.judge === "kernel" ? `${action} kernel` : proxyPort === undefined ? action : `${action} :${proxyPort}`;
      return action === "deny"
        ? colours.red(shown)
        : action === "redirect"
          ? colours.cyan(shown)
          : colours.green(shown);
    },
  },
  {
    title: "RULES",
    // What no policy says but the agent itself (the host may reach its workloads) has no namespace.
    cell: ({ rules }) =>
      rules
        .map(({ namespace, name, path }) => `${namespace === "" ? name : `${namespace}/${name}`} ${path}`.trim())
        .join(", "),
  },
];

function describe(detail: EndpointDetail): string {
  const { policyStatus } = detail;
  const facts: readonly (readonly [string, string])[] = [
    ["Endpoint", `${detail.id}`],
    ["Pod", `${detail.namespace}/${detail.pod}`],
    ["State", `${phase(detail)}${detail.message === undefined ? "" : `: ${detail.message}`}`],
    ["Addresses", [detail.ipv4, detail.ipv6].filter((one) => one !== undefined).join(", ")],
    ["Interface", `${detail.interfaceName} (index ${detail.ifindex}), MAC ${detail.mac}, host side ${detail.hostMac}`],
    ["Identity", `${detail.identity}`],
    ["Labels", detail.labels.join("\n            ")],
    ["Created", `${detail.createdAt} (${formatAge(detail.createdAt)} ago)`],
    [
      "Policy",
      `set ${policyStatus.set}, revision ${policyStatus.revision}, ` +
        (policyStatus.realised ? "in force" : colours.yellow(`not in force yet: ${policyStatus.problem ?? "pending"}`)),
    ],
  ];
  const head = facts.map(([title, value]) => `${colours.bold(`${title}:`.padEnd(11))} ${value}`).join("\n");
  const judges = describeJudges(policyStatus.entries);
  return [
    head,
    formatTable(entryColumns, policyStatus.entries),
    ...(judges.length > 0 ? [judges.join("\n")] : []),
  ].join("\n\n");
}

/** Who judges HTTP requests, where that needs a word. */
function describeJudges(entries: readonly PolicyEntryView[]): string[] {
  return entries.flatMap(({ direction, port, protocol, peer, http }) => {
    const where = `${direction} ${port === "" ? protocol : `${port}/${protocol}`} ${peer || "any"}`;
    if (http?.judge === "proxy")
      return [`${where}: requests are judged by the proxy: ${http.reason ?? "no reason given"}`];
    return (http?.learnt ?? []).map(
      (one) =>
        `${where}: ${shortLabels(one.peer.split(","))} goes to the proxy: it spoke ${one.protocol} on port ${one.port}`,
    );
  });
}

const identityColumns: readonly Column<IdentityView>[] = [
  { title: "ID", cell: ({ id }) => String(id) },
  { title: "SCOPE", cell: ({ scope }) => scope },
  { title: "ENDPOINTS", cell: ({ endpoints }) => String(endpoints) },
  { title: "LABELS", cell: ({ labels, prefix }) => prefix ?? shortLabels(labels) },
  { title: "ALL LABELS", wide: true, cell: ({ labels }) => labels.join(",") },
];

/** `identity list`. */
export function listIdentities(flags: { readonly output: ListFormat }): Promise<number> {
  return withAgent(async (client) => {
    await printList(flags.output, identityColumns, await client.identities(), { none: "no identity" });
    return ExitCode.ok;
  });
}
