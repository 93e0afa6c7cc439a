/** The first oracle: the engine alone. Yields what a case file expects, so that the two can be compared or brought in line. */
import { type Problem, parseManifests } from "#contracts/manifest";
import { createPrefixIdentities } from "#control/identity";
import {
  type CidrGroup,
  createPolicyEngine,
  type Decision,
  decide,
  type EngineOptions,
  type Entry,
  formatMaskedPort,
  type PolicyEngine,
  type PolicySet,
  parseCidrGroup,
  parsePolicy,
  type Rule,
  repairPolicy,
  unenforcedPolicy,
} from "#control/policy";
import {
  type Direction,
  type EndpointId,
  formatAddress,
  formatPrefix,
  hostPrefix,
  type IpAddress,
  type NumericIdentity,
  type PolicySetId,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
  protocolName,
  Reserved,
  reservedName,
} from "#core/model";
import { ConnectionPolicy, compilePattern, PolicyStore } from "#proxy/policy";
import type { CaseEndpoint, CaseEntry, CaseFile, CaseFlow, CaseParty, CaseProblem } from "./case-file.ts";

/** A case file, loaded into an engine. */
export interface LoadedCase {
  readonly engine: PolicyEngine;
  readonly problems: readonly Problem[];
  readonly accepted: boolean;
  /** Repaired text of the first refused document; undefined if there is none. */
  readonly repaired: string | undefined;
  /** What the ipcache holds beside the endpoints' addresses. */
  readonly prefixes: readonly { readonly prefix: Prefix; readonly identity: NumericIdentity }[];
  /** Longest-prefix lookup, as the ipcache answers. */
  identityOf(address: IpAddress): NumericIdentity;
}

/** Address of the node in every case. */
const hostAddresses: readonly IpAddress[] = ["10.0.0.1", "fd00::1"].map((text) => parseAddress(text)!);

/** What is wrong with a regex; undefined if nothing is. */
export function checkRegex(pattern: string): string | undefined {
  const compiled = compilePattern(pattern);
  return typeof compiled === "string" ? compiled : undefined;
}

/** Parses the policies and, if all are accepted, fills an engine. */
export function loadCase(file: CaseFile): LoadedCase {
  const problems: Problem[] = [];
  const groups: CidrGroup[] = [];
  const rules: [key: string, rules: readonly Rule[]][] = [];
  let repaired: string | undefined;
  for (const manifest of parseManifests(file.policy)) {
    problems.push(...manifest.problems);
    if (manifest.value === undefined) continue;
    if ((manifest.value as { kind?: unknown }).kind === "CiliumCIDRGroup") {
      groups.push(parseCidrGroup(manifest.value)!.group);
      continue;
    }
    const parsed = parsePolicy(manifest.value, { compileRegex: checkRegex });
    problems.push(...manifest.locateProblems(parsed.problems));
    if (parsed.kind === "accepted")
      rules.push([`${parsed.ref.kind}/${parsed.ref.namespace ?? ""}/${parsed.ref.name}`, parsed.rules]);
    else repaired ??= repairPolicy(manifest.value, { compileRegex: checkRegex })?.yaml;
  }
  const accepted = problems.every((problem) => problem.severity !== "error");
  const { enforcement = "default", audit = "false" } = file.options;
  const engine = createPolicyEngine({
    enforcement: enforcement as NonNullable<EngineOptions["enforcement"]>,
    audit: audit === "true",
  });
  for (const endpoint of file.endpoints) {
    engine.upsertIdentity({ id: endpoint.identity, labels: endpoint.labels });
    engine.addSubject(endpoint.identity);
  }
  for (const group of groups) engine.upsertGroup(group);
  if (accepted) for (const [key, parsed] of rules) engine.upsertRules(key, parsed);
  const prefixes = createPrefixIdentities();
  for (const identity of prefixes.update(engine.neededPrefixes()).added) engine.upsertIdentity(identity);
  if (file.options.now !== undefined) engine.setTime(Date.parse(file.options.now));
  engine.flush();
  const outside = [
    ...["0.0.0.0/0", "::/0"].map((text, i) => ({
      prefix: parsePrefix(text)!,
      identity: i === 0 ? Reserved["world-ipv4"] : Reserved["world-ipv6"],
    })),
    ...prefixes.list().map(({ prefix, id }) => ({ prefix: parsePrefix(prefix!)!, identity: id })),
    ...hostAddresses.map((address) => ({ prefix: hostPrefix(address), identity: Reserved.host })),
  ];
  const ipcache = [
    ...outside,
    ...file.endpoints.flatMap(({ ips, identity }) => ips.map((ip) => ({ prefix: hostPrefix(ip), identity }))),
  ].sort((a, b) => b.prefix.length - a.prefix.length);
  return {
    engine,
    problems,
    accepted,
    repaired,
    prefixes: outside,
    identityOf: (address) => ipcache.find(({ prefix }) => prefixContains(prefix, address))!.identity,
  };
}

/** Entries of an endpoint as case files write them. Without `all` only those that rules made. */
export function entriesOf(loaded: LoadedCase, file: CaseFile, name: string, all: boolean): CaseEntry[] {
  const endpoint = endpointOf(file, name);
  const set = loaded.engine.policyOf(endpoint.identity) ?? unenforcedPolicy;
  const byRule = (entry: Entry) => set.provenance[entry.cookie]?.some((ref) => ref.kind !== "implicit") ?? false;
  return set.entries
    .filter((entry) => all || byRule(entry))
    .map((entry) => ({
      direction: entry.direction,
      peer: peerName(entry.identity, loaded, file),
      port: formatPort(entry),
      action: `${entry.action}${entry.proxy === undefined ? "" : ` ${entry.proxy}`}${entry.unenforced ? " (unenforced)" : byRule(entry) ? "" : " (implicit)"}`,
    }));
}

function peerName(id: NumericIdentity, loaded: LoadedCase, file: CaseFile): string {
  if (id === 0) return "any";
  const endpoint = file.endpoints.find((one) => one.identity === id);
  return endpoint?.name ?? reservedName(id) ?? loaded.engine.identity(id)?.prefix ?? String(id);
}

function formatPort(entry: Entry): string {
  if (entry.protocol === 0) return "any";
  const protocol = protocolName(entry.protocol).toLowerCase();
  return entry.portPrefix === 0
    ? protocol
    : `${protocol}/${formatMaskedPort({ port: entry.port, prefix: entry.portPrefix })}`;
}

/** What was found about a flow, in a case file's words. */
export interface FlowOutcome {
  readonly verdict: string;
  readonly reason: string;
  readonly rule: string;
}

/** One judgement: whose policy spoke, in which direction, and what it said. */
export interface Judgement {
  readonly direction: Direction;
  readonly set: PolicySet;
  readonly decision: Decision;
}

/** What the kernel judges when a flow begins: egress of the source, then, unless that says no, ingress of the destination. */
export function judgementsOf(loaded: LoadedCase, file: CaseFile, flow: CaseFlow): readonly Judgement[] {
  const source = identityOfParty(flow.from, flow, loaded, file);
  const destination = identityOfParty(flow.to, flow, loaded, file);
  const judge = (direction: Direction, subject: NumericIdentity, peer: NumericIdentity): Judgement => {
    const set = loaded.engine.policyOf(subject) ?? unenforcedPolicy;
    return { direction, set, decision: decide(set, direction, peer, flow.protocol, flow.port) };
  };
  const egress = flow.from.kind === "endpoint" ? [judge("egress", source, destination)] : [];
  if (flow.to.kind !== "endpoint" || egress[0]?.decision.verdict === "DROPPED") return egress;
  return [...egress, judge("ingress", destination, source)];
}

/** Judges a flow as the kernel and the proxy would. */
export function judgeFlow(loaded: LoadedCase, file: CaseFile, flow: CaseFlow): FlowOutcome {
  let verdict: Decision["verdict"] = "FORWARDED";
  let isProxied = false;
  const rules: string[] = [];
  for (const { set, decision } of judgementsOf(loaded, file, flow)) {
    for (const ref of set.provenance[decision.entry?.cookie ?? 0] ?? []) rules.push(`${ref.name} ${ref.path}`.trim());
    if (decision.verdict === "DROPPED")
      return { verdict: "DROPPED", reason: decision.reason ?? "", rule: rules.join(", ") };
    // Of two directions, one audited and one redirected, the audit is the news.
    if (decision.verdict === "AUDIT" || (decision.verdict !== "FORWARDED" && verdict === "FORWARDED"))
      verdict = decision.verdict;
    isProxied ||= decision.entry?.proxy !== undefined;
  }
  const rule = rules.join(", ");
  if (!isProxied || flow.request.kind !== "http") return { verdict, reason: "", rule };
  return judgeRequest(loaded, file, flow)
    ? { verdict: verdict === "AUDIT" ? "AUDIT" : "FORWARDED", reason: "", rule }
    : { verdict: "DROPPED", reason: "http 403", rule };
}

/** Asks the proxy's own judge, fed with the engine's filters. */
function judgeRequest(loaded: LoadedCase, file: CaseFile, flow: CaseFlow): boolean {
  if (flow.request.kind !== "http") throw new Error("not a request");
  const { method, target, host, headers } = flow.request;
  const store = new PolicyStore();
  const session = store.session();
  for (const [i, endpoint] of file.endpoints.entries()) {
    const { filters } = loaded.engine.policyOf(endpoint.identity) ?? unenforcedPolicy;
    session.stage({ kind: "put-set", set: { id: (i + 1) as PolicySetId, filters } });
    session.stage({
      kind: "put-endpoint",
      endpoint: {
        id: (i + 1) as EndpointId,
        ips: endpoint.ips.map(formatAddress),
        identity: endpoint.identity,
        policySet: (i + 1) as PolicySetId,
        labels: [],
        podName: endpoint.name,
        namespace: endpoint.namespace,
      },
    });
  }
  const source = addressOfParty(flow.from, flow, file);
  const destination = addressOfParty(flow.to, flow, file);
  session.stage({
    kind: "put-ipcache",
    entries: [source, destination].map((address) => ({
      prefix: formatPrefix(hostPrefix(address)),
      identity: loaded.identityOf(address),
    })),
  });
  const refused = session.commit(1);
  if (refused.length > 0) throw new Error(`the proxy refuses the filters: ${JSON.stringify(refused)}`);
  const judged = new ConnectionPolicy(store, source, destination, flow.port).judge({
    method,
    target,
    minorVersion: 1,
    host,
    framing: { kind: "none" },
    keepAlive: true,
    expectsContinue: false,
    upgrade: undefined,
    header: (name) => (name === "host" ? host : headers.get(name)),
  });
  return judged.kind === "permit";
}

/** Problems as case files write them. */
export function problemRows(problems: readonly Problem[]): CaseProblem[] {
  return problems.map(({ severity, line, column, code, path }) => ({
    severity,
    at: `${line}:${column}`,
    code,
    path: path || ".",
  }));
}

/** Who a party is. */
export function identityOfParty(party: CaseParty, flow: CaseFlow, loaded: LoadedCase, file: CaseFile): NumericIdentity {
  return party.kind === "host" ? Reserved.host : loaded.identityOf(addressOfParty(party, flow, file));
}

/** The address that a party has in the flow's family. */
export function addressOfParty(party: CaseParty, flow: CaseFlow, file: CaseFile): IpAddress {
  const candidates =
    party.kind === "endpoint"
      ? endpointOf(file, party.name).ips
      : party.kind === "host"
        ? hostAddresses
        : [party.address];
  const address = candidates.find((candidate) => candidate.family === flow.family);
  if (address === undefined) throw new Error(`line ${flow.line}: a party has no IPv${flow.family} address`);
  return address;
}

function endpointOf(file: CaseFile, name: string): CaseEndpoint {
  const endpoint = file.endpoints.find((one) => one.name === name);
  if (endpoint === undefined) throw new Error(`no endpoint is called ${name}`);
  return endpoint;
}
