/** The agent's own numbers in Prometheus' text format; those of flows are the observer's. */
import type { NodeAgent } from "./node-agent.ts";

/** One scrape. */
export function agentMetrics(agent: NodeAgent): string {
  const { store, datapath, enforcement, policies, engine, proxy } = agent;
  const lines: string[] = [];
  const gauge = (name: string, help: string, values: readonly (readonly [labels: string, value: number])[]) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`);
    for (const [labels, value] of values) lines.push(`${name}${labels === "" ? "" : `{${labels}}`} ${value}`);
  };
  const byState = new Map<string, number>();
  for (const { state } of store.table.values()) byState.set(state.kind, (byState.get(state.kind) ?? 0) + 1);
  gauge(
    "tsilium_endpoints",
    "Endpoints of this node, by state",
    [...byState].map(([state, count]) => [`state="${state}"`, count] as const),
  );
  const judged = [...policies.table.values()];
  gauge(
    "tsilium_policies",
    "Policy objects, by state",
    (["valid", "refused", "last-good"] as const).map((state) => [
      `state="${state}"`,
      judged.filter((policy) => policy.state === state).length,
    ]),
  );
  gauge("tsilium_policy_revision", "Changes of what policy computes from: seen, and in force", [
    ['stage="computed"', enforcement.computed],
    ['stage="realised"', enforcement.realised],
  ]);
  gauge("tsilium_policy_sets", "Policy sets in the kernel", [["", datapath.sets.count]]);
  gauge("tsilium_map_entries", "Entries of maps that the agent writes", [
    ['map="policy"', datapath.sets.used],
    ['map="ipcache"', enforcement.ipcacheRows.size],
  ]);
  gauge("tsilium_map_capacity", "Room of maps that the agent writes", [
    ['map="policy"', datapath.sets.capacity],
    ['map="ipcache"', datapath.loaded.maps.ipcache.capacity],
  ]);
  gauge(
    "tsilium_identities",
    "Cluster-wide identities known",
    agent.connected ? [["", agent.connected.identities.table.size]] : [],
  );
  gauge("tsilium_proxy_connected", "Whether the L7 proxy is connected", [
    ["", proxy.status.state === "connected" ? 1 : 0],
  ]);
  gauge("tsilium_needed_prefixes", "Prefixes that rules name", [["", engine.neededPrefixes().length]]);
  gauge("process_resident_memory_bytes", "Resident memory of the agent", [["", process.memoryUsage.rss()]]);
  return `${lines.join("\n")}\n`;
}
