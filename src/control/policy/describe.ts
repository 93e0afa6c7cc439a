/** Rules in words: what a policy does, and what a broken one would have done. */

import type { Problem } from "#contracts/manifest";
import { formatPrefix, protocolName } from "#core/model";
import { describeL7, describeTls } from "./describe-l7.ts";
import { clusterKey, namespaceKey } from "./parse-peers.ts";
import { showDnsMatch } from "./peers.ts";
import type { CloudGroup, GroupPeer, Peer, PortList, PortMatch, Rule, ServicePeer, Statement } from "./rule.ts";
import { formatRequirement, type Selector } from "./selector.ts";

/** What a rule does, one sentence a line. */
export function describeRule(rule: Rule, clusterName = "default"): string[] {
  const whom = rule.ofNodes ? "every node" : undefined;
  const subject = describeSelector(rule.subject, rule.namespace, clusterName, whom);
  const out: string[] = [];
  if (rule.statements.some((statement) => statement.standing !== undefined))
    return describeTierRule(rule, subject, clusterName);
  for (const direction of ["ingress", "egress"] as const) {
    const statements = rule.statements.filter((statement) => statement.direction === direction);
    if (statements.length === 0 && !rule.defaultDeny[direction]) continue;
    const verb = direction === "ingress" ? "accepts" : "reaches";
    const allowed = statements.filter((s) => s.action === "allow" && namesSomeone(s));
    const denied = statements.filter((s) => s.action === "deny" && namesSomeone(s));
    if (rule.defaultDeny[direction]) out.push(`${capital(subject)} goes into ${direction} default deny.`);
    for (const statement of allowed) out.push(`It ${verb} ${describeStatement(statement, rule, clusterName)}.`);
    for (const statement of denied) out.push(`It never ${verb} ${describeStatement(statement, rule, clusterName)}.`);
    if (allowed.length === 0 && rule.defaultDeny[direction]) out.push(`By this rule it ${verb} no one.`);
  }
  return out;
}

function namesSomeone({ peers, groups, services }: Statement): boolean {
  return peers === "any" || peers.length > 0 || (groups ?? services) !== undefined;
}

/** The rules of a tier are asked one after the other: each is a sentence, in that order. */
function describeTierRule(rule: Rule, subject: string, clusterName: string): string[] {
  const tier = rule.statements.some(({ standing }) => standing?.tier === "admin")
    ? "Before the policies of everyone (tier Admin)"
    : "Where no other policy decides (tier Baseline)";
  const verbs = { allow: "accepts", deny: "denies", pass: "leaves to the next tier" };
  const ordered = (["ingress", "egress"] as const).flatMap((direction) =>
    rule.statements
      .filter((statement) => statement.direction === direction)
      .map(
        (statement, i) =>
          `${direction} ${i + 1}: it ${verbs[statement.action]} traffic ${direction === "ingress" ? "from" : "to"} ${describeStatement(statement, rule, clusterName)}.`,
      ),
  );
  return [`${tier}, for ${subject}, the first of these that matches decides:`, ...ordered];
}

/**
 * What a cluster that drops unknown fields would make of a refused object, or that it would enforce nothing. Undefined if the
 * problems are of a kind whose outcome can't be told.
 */
export function describeEffect(
  rules: readonly Rule[],
  problems: readonly Problem[],
  clusterName: string,
): string | undefined {
  const errors = problems.filter((problem) => problem.severity === "error");
  const subjectMissing = errors.some((problem) => problem.message.startsWith("rule must have one of EndpointSelector"));
  if (subjectMissing)
    return "As written, any API server that knows the schema rejects it, because it selects no subject; where it slips through, agents refuse to import it. Nothing would be enforced: everything that this policy was to forbid stays open.";
  // The schema's pattern for ports is anchored at one end only, so it admits almost any text.
  if (
    errors.every(
      ({ code, path, message }) => code === "invalid-value" && path.endsWith(".port") && !message.includes("octal"),
    )
  )
    return "As written, the API server's schema lets it through, but agents refuse to import it: the policy would be stored, and nothing of it enforced.";
  if (
    rules.length === 0 ||
    errors.some((problem) => problem.code !== "unknown-field" && problem.code !== "misplaced-field")
  )
    return undefined;
  const said = rules.flatMap((rule) => describeRule(rule, clusterName)).join(" ");
  return `As written, kubectl's strict validation rejects it; a client without it drops the unknown fields silently, and what is left would mean: ${said}`;
}

/** A selector in words: `every endpoint of namespace default with app=client`. */
function describeSelector(
  selector: Selector,
  namespace: string | undefined,
  clusterName: string,
  everyone = "every endpoint",
): string {
  const own: string[] = [];
  let where = "";
  for (const requirement of selector.requirements) {
    const [value] = requirement.values;
    if (requirement.key === namespaceKey && requirement.operator === "In" && requirement.values.length === 1)
      where = ` of namespace ${value}`;
    else if (requirement.key === namespaceKey && requirement.operator === "Exists") where = " of any namespace";
    else if (requirement.key === clusterKey && value === clusterName) continue;
    else if (requirement.source === "reserved" && requirement.path === undefined) continue;
    else own.push(formatRequirement(requirement));
  }
  if (where === "" && namespace === undefined) where = "";
  return `${everyone}${where}${own.length === 0 ? "" : ` with ${own.join(" and ")}`}`;
}

function describeStatement(statement: Statement, rule: Rule, clusterName: string): string {
  const peers =
    statement.peers === "any" ? ["anyone"] : statement.peers.map((peer) => describePeer(peer, rule, clusterName));
  const groups = (statement.groups ?? []).map(describeGroup);
  const services = (statement.services ?? []).map(describeService);
  const who = [...peers, ...groups, ...services].join(" or ") || "no one";
  const ports =
    statement.ports === "any"
      ? "on every port and protocol, with no L7 rule"
      : statement.ports.map(describePortList).join(" and ") || "on no port";
  const proved = statement.authentication === undefined ? "" : `, authentication ${statement.authentication}`;
  return `${who} ${ports}${proved}`;
}

function describeService({ namespace, service }: ServicePeer): string {
  const where = namespace === undefined ? "of any namespace" : `of namespace ${namespace}`;
  if (typeof service === "string") return `what is behind service ${service} ${where}`;
  const labels = service.requirements.map(formatRequirement).join(" and ");
  return `what is behind every service ${where}${labels === "" ? "" : ` with ${labels}`}`;
}

function describeGroup({ group, cloud, except }: GroupPeer): string {
  if (cloud !== undefined) return describeCloudGroup(cloud);
  const which =
    typeof group === "string"
      ? `CIDR group ${group}`
      : `every CIDR group${group.requirements.length === 0 ? "" : ` with ${group.requirements.map(formatRequirement).join(" and ")}`}`;
  return except.length === 0 ? which : `${which} except ${except.map(formatPrefix).join(", ")}`;
}

function describeCloudGroup({ provider, labels, securityGroupIds, securityGroupNames }: CloudGroup): string {
  const tags = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const parts = [...securityGroupIds, ...securityGroupNames, ...tags];
  return `the ${provider.toUpperCase()} group ${parts.join(", ") || "of all instances"}`;
}

function describePeer(peer: Peer, rule: Rule, clusterName: string): string {
  switch (peer.kind) {
    case "labels":
      return describeSelector(
        peer.selector,
        rule.namespace,
        clusterName,
        peer.ofNodes ? "every other node" : undefined,
      );
    case "entity":
      return peer.entity === "all" ? "anyone" : `entity ${peer.entity}`;
    case "cidr": {
      const except = peer.except.length === 0 ? "" : ` except ${peer.except.map(formatPrefix).join(", ")}`;
      return `${formatPrefix(peer.prefix)}${except}`;
    }
    case "fqdn":
      return `the addresses of ${showDnsMatch(peer.name)}`;
  }
}

function describePortList(list: PortList): string {
  if (list.matches.length === 0) return "on no port";
  const ports = list.matches.map(formatPortMatch).join(", ");
  const judged = [
    ...(list.l7 === undefined ? [] : [describeL7(list.l7)]),
    ...(list.tls === undefined ? [] : describeTls(list.tls)),
    ...(list.listener === undefined ? [] : [`through listener ${list.listener.name} of ${list.listener.config}`]),
  ];
  return [`on ${ports}`, ...judged].join(", ");
}

/** `tcp/80`, `udp/1000-2000`, `tcp/http`, `icmp/8`, `sctp`. */
export function formatPortMatch(match: PortMatch): string {
  const protocol = protocolName(match.protocol).toLowerCase();
  switch (match.kind) {
    case "ports":
      return match.first === match.last ? `${protocol}/${match.first}` : `${protocol}/${match.first}-${match.last}`;
    case "protocol":
      return protocol;
    case "named":
      return `${protocol}/${match.name}`;
    case "icmp":
      return `${protocol}/${match.type}`;
  }
}

function capital(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
