/** Advice on policies that are valid, but often do more than their author thinks. */
import { protocolNumbers } from "#core/model";
import type { Reader } from "./reader.ts";
import type { Peer, Rule, Statement } from "./rule.ts";

/** Warns of an egress policy that leaves its subjects without name resolution. */
export function adviseOnDns(reader: Reader, rule: Rule): void {
  const egress = rule.statements.filter(
    (statement) => statement.direction === "egress" && statement.action === "allow",
  );
  const allowing = egress.filter(
    ({ peers, groups, services }) => peers === "any" || peers.length > 0 || (groups ?? services) !== undefined,
  );
  // Whoever allows nothing at all wants just that.
  if (!rule.defaultDeny.egress || allowing.length === 0 || allowing.some(allowsDns)) return;
  reader.warn(
    `${rule.path}.egress`,
    "dns-cut",
    "egress default deny also cuts DNS: no item allows port 53, so names can't be resolved",
    'if names are needed, add egress to the DNS server: toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, "k8s:k8s-app": kube-dns}}], toPorts: [{ports: [{port: "53", protocol: ANY}]}]',
  );
}

/** Warns of destinations by name that can never be known: their addresses are learned from answers that DNS rules let through. */
export function adviseOnNames(reader: Reader, rules: readonly Rule[]): void {
  const statements = rules.flatMap((rule) => rule.statements);
  const asksDns = statements.some(
    ({ direction, ports }) =>
      direction === "egress" && ports !== "any" && ports.some(({ l7 }) => l7?.protocol === "dns"),
  );
  if (asksDns) return;
  for (const { peers, action } of statements) {
    const [name] = peers === "any" ? [] : peers.filter(({ kind }) => kind === "fqdn");
    if (name === undefined) continue;
    reader.warn(
      name.path,
      "names-unknown",
      `toFQDNs ${action === "deny" ? "denies" : "matches"} only addresses that were seen in answers to judged queries; no rule of this policy has rules.dns`,
      'unless another policy has it, add egress to the DNS server with ports: [{port: "53", protocol: ANY}] and rules: {dns: [{matchPattern: "*"}]}',
    );
    return;
  }
}

/** Says of a staged policy what staging does not show. */
export function adviseOnStaging(reader: Reader, rules: readonly Rule[]): void {
  for (const { statements } of rules)
    for (const { ports, ref } of statements)
      if (ports !== "any" && ports.some(({ l7 }) => l7 !== undefined))
        reader.warn(
          ref.path,
          "audit-connections-only",
          "the policy is staged: it reports connections that it would deny, but not requests that its HTTP rules would refuse",
          "judge requests beforehand with tsilium policy explain --http",
        );
}

function allowsDns(statement: Statement): boolean {
  if (statement.ports === "any") return statement.peers === "any" || statement.peers.some(mayBeDnsServer);
  return statement.ports.some((list) =>
    list.matches.some((match) => {
      if (match.protocol !== protocolNumbers.UDP && match.protocol !== protocolNumbers.TCP) return false;
      if (match.kind === "ports") return match.first <= 53 && match.last >= 53;
      if (match.kind === "named") return /dns|domain/.test(match.name);
      return match.kind === "protocol";
    }),
  );
}

/** A guess in favour of the author: only peers that clearly are something else count as no DNS server. */
function mayBeDnsServer(peer: Peer): boolean {
  switch (peer.kind) {
    case "cidr":
      return true;
    case "fqdn":
      return false;
    case "entity":
      return peer.entity === "all" || peer.entity === "world" || peer.entity === "cluster" || peer.entity === "host";
    case "labels": {
      const own = peer.selector.requirements.filter((requirement) => requirement.path !== undefined);
      return own.some((requirement) => requirement.values.some((value) => /dns|kube-system/.test(value)));
    }
  }
}
