/**
 * Case files: one text, several oracles. A description, then sections `-- NAME --`:
 *
 * - `policy.yaml`: policy objects, one or several documents.
 * - `endpoints`: a table; columns name, labels, ip, identity, and if wanted namespace, account, ports, nslabels.
 * - `options`: `key: value` lines for the engine (enforcement, audit, now).
 * - `entries of NAME` / `all entries of NAME`: what the engine must yield; without or with what holds where no rule speaks.
 * - `flows`: a table; columns from, to, request, verdict, reason, and if wanted rule: which statements decided.
 * - `problems`: a table; columns severity, at, code, path. What parsing must say, in order.
 * - `repaired.yaml`: what must be proposed instead.
 *
 * Columns of a table stand two spaces apart; the first line names them. A reason in parentheses is a remark.
 */
import { namedPortLabels, podLabelKeys } from "#control/identity";
import {
  createLabels,
  type IpAddress,
  type IpFamily,
  type Labels,
  labelsKey,
  type NumericIdentity,
  parseAddress,
  parseLabel,
  protocolNumbers,
} from "#core/model";

/** A workload. */
export interface CaseEndpoint {
  readonly name: string;
  readonly namespace: string;
  /** Service account, if it has one. */
  readonly account?: string;
  /** All labels, as an identity has them: with namespace, cluster, account and named ports. */
  readonly labels: Labels;
  /** Labels as its pod has them. */
  readonly podLabels: Readonly<Record<string, string>>;
  /** Labels of its namespace, as far as the case gives it any. */
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly namedPorts: readonly { readonly name: string; readonly protocol: number; readonly port: number }[];
  readonly ips: readonly IpAddress[];
  readonly identity: NumericIdentity;
}

/** Who sends or receives: an endpoint, the node itself, or an address of the world. */
export type CaseParty =
  | { readonly kind: "endpoint"; readonly name: string }
  | { readonly kind: "host" }
  | { readonly kind: "address"; readonly address: IpAddress };

/** What is sent: the first packet of a connection, or a whole request over one. */
type CaseRequest =
  | { readonly kind: "packet" }
  | {
      readonly kind: "http";
      readonly method: string;
      readonly target: string;
      readonly host: string;
      /** Names in lower case. */
      readonly headers: ReadonlyMap<string, string>;
    };

/** A flow and what ought to befall it. */
export interface CaseFlow {
  readonly from: CaseParty;
  readonly to: CaseParty;
  readonly family: IpFamily;
  readonly protocol: number;
  /** Destination port; ICMP: type. */
  readonly port: number;
  readonly request: CaseRequest;
  readonly verdict: "FORWARDED" | "DROPPED" | "REDIRECTED" | "AUDIT";
  /** `POLICY_DENIED`, `POLICY_DENY`, `http 403`, or nothing. */
  readonly reason: string;
  /** Statements that decided, e.g. `web spec.ingress[0]`; undefined if the case does not say. */
  readonly rule?: string;
  /** Line in the file, and the text there. */
  readonly line: number;
  readonly text: string;
}

/** One line of an `entries` section. */
export interface CaseEntry {
  readonly direction: string;
  readonly peer: string;
  readonly port: string;
  readonly action: string;
}

/** One line of a `problems` section. */
export interface CaseProblem {
  readonly severity: string;
  /** `line:column` in policy.yaml. */
  readonly at: string;
  readonly code: string;
  readonly path: string;
}

/** A parsed case file. */
export interface CaseFile {
  readonly description: string;
  readonly policy: string;
  readonly options: Readonly<Record<string, string>>;
  readonly endpoints: readonly CaseEndpoint[];
  readonly entries: readonly { readonly of: string; readonly all: boolean; readonly rows: readonly CaseEntry[] }[];
  readonly flows: readonly CaseFlow[];
  readonly problems?: readonly CaseProblem[];
  readonly repaired?: string;
}

interface Section {
  readonly name: string;
  /** Line of its first line of content. */
  readonly line: number;
  readonly lines: readonly string[];
}

/** Parses a case file. Throws an Error that names the line: case files are our own. */
export function parseCaseFile(text: string): CaseFile {
  const { description, sections } = splitSections(text);
  const find = (name: string) => sections.find((section) => section.name === name);
  const endpoints = table(find("endpoints")).map(parseEndpoint);
  checkIdentities(endpoints);
  const problems = find("problems");
  const repaired = find("repaired.yaml");
  for (const { name, line } of sections)
    if (!/^(policy\.yaml|endpoints|options|flows|problems|repaired\.yaml|(all )?entries of \S+)$/.test(name))
      throw new Error(`line ${line - 1}: no section is called "${name}"`);
  return {
    description,
    policy: contentOf(find("policy.yaml")),
    options: Object.fromEntries((find("options")?.lines ?? []).filter(Boolean).map((line) => line.split(/:\s*/, 2))),
    endpoints,
    entries: sections.flatMap((section) => {
      const match = /^(all )?entries of (\S+)$/.exec(section.name);
      if (!match) return [];
      return [
        {
          of: match[2]!,
          all: match[1] !== undefined,
          rows: table(section).map(({ cells }) => cells as unknown as CaseEntry),
        },
      ];
    }),
    flows: table(find("flows")).map((row) => parseFlow(row, endpoints)),
    ...(problems === undefined
      ? {}
      : { problems: table(problems).map(({ cells }) => cells as unknown as CaseProblem) }),
    ...(repaired === undefined ? {} : { repaired: contentOf(repaired) }),
  };
}

/** Replaces the content of a section, or adds the section at the end. For bringing expectations up to date. */
export function replaceSection(text: string, name: string, content: string): string {
  const lines = text.split("\n");
  const start = lines.indexOf(`-- ${name} --`);
  if (start < 0) return `${text.trimEnd()}\n-- ${name} --\n${content}`;
  let end = start + 1;
  while (end < lines.length && !/^-- .+ --$/.test(lines[end]!)) end++;
  return `${[...lines.slice(0, start + 1), ...content.trimEnd().split("\n"), ...lines.slice(end)].join("\n").trimEnd()}\n`;
}

/** Writes a table with aligned columns. */
export function formatTable<K extends string>(
  columns: readonly K[],
  rows: readonly Readonly<Record<K, string>>[],
): string {
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => row[column].length)));
  const write = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  return `${[columns, ...rows.map((row) => columns.map((column) => row[column]))].map(write).join("\n")}\n`;
}

function splitSections(text: string): { description: string; sections: Section[] } {
  const sections: { name: string; line: number; lines: string[] }[] = [];
  const head: string[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    const match = /^-- (.+) --$/.exec(line);
    if (match) sections.push({ name: match[1]!, line: i + 2, lines: [] });
    else (sections.at(-1)?.lines ?? head).push(line);
  }
  return { description: head.join("\n").trim(), sections };
}

function contentOf(section: Section | undefined): string {
  const text = (section?.lines ?? []).join("\n");
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

interface Row {
  readonly cells: Readonly<Record<string, string>>;
  readonly line: number;
  readonly text: string;
}

/** Reads a table; a cell belongs to the column in whose width it begins. */
function table(section: Section | undefined): Row[] {
  const [header = "", ...lines] = section?.lines ?? [];
  const columns = [...header.matchAll(/\S+/g)].map((match) => ({ name: match[0], start: match.index }));
  return lines.flatMap((text, i) => {
    if (text.trim() === "") return [];
    const cells: Record<string, string> = Object.fromEntries(columns.map(({ name }) => [name, ""]));
    for (const match of text.matchAll(/\S+(?: \S+)*/g)) {
      const column = columns.findLast(({ start }) => start <= match.index);
      if (column === undefined || cells[column.name] !== "")
        throw new Error(`line ${section!.line + 1 + i}: cell "${match[0]}" has no column`);
      cells[column.name] = match[0];
    }
    return [{ cells, line: section!.line + 1 + i, text: text.trim() }];
  });
}

function parseEndpoint({ cells, line }: Row): CaseEndpoint {
  const { name = "", labels = "", ip = "", identity = "", account = "", ports = "", nslabels = "" } = cells;
  const namespace = cells.namespace || "default";
  const podLabels: Record<string, string> = {};
  const own = labels
    .split(",")
    .filter(Boolean)
    .map((text) => {
      const label = parseLabel(text);
      if (label.source !== "unspec") return label;
      podLabels[label.key] = label.value;
      return { ...label, source: "k8s" };
    });
  const k8s = (key: string, value: string) => ({ source: "k8s", key, value });
  // An endpoint in the state of init is not yet known to be a pod.
  const isReserved = own.some((label) => label.source === "reserved");
  const pod = isReserved ? [] : [k8s(podLabelKeys.namespace, namespace), k8s(podLabelKeys.cluster, "default")];
  const named = ports
    .split(",")
    .filter(Boolean)
    .map((text) => {
      const [portName = "", rest = ""] = text.split("=");
      const { protocol, port } = parseTransport(rest, line);
      return { name: portName, protocol, port };
    });
  const ofNamespace = nslabels.split(",").filter(Boolean).map(parseLabel);
  const ips = ip.split(",").map((text) => parseAddress(text));
  if (name === "" || !/^\d+$/.test(identity) || ips.includes(undefined))
    throw new Error(`line ${line}: an endpoint needs name, ip and identity`);
  return {
    name,
    namespace,
    ...(account === "" ? {} : { account }),
    podLabels,
    namespaceLabels: Object.fromEntries(ofNamespace.map(({ key, value }) => [key, value])),
    namedPorts: named,
    labels: createLabels([
      ...own,
      ...pod,
      ...(account === "" ? [] : [k8s(podLabelKeys.serviceAccount, account)]),
      ...ofNamespace.map(({ key, value }) => k8s(`${podLabelKeys.namespaceLabels}.${key}`, value)),
      ...namedPortLabels(named),
    ]),
    ips: ips.filter((address) => address !== undefined),
    identity: Number(identity) as NumericIdentity,
  };
}

function checkIdentities(endpoints: readonly CaseEndpoint[]): void {
  const byLabels = new Map<string, NumericIdentity>();
  const byIdentity = new Map<NumericIdentity, string>();
  for (const { labels, identity, name } of endpoints) {
    const key = labelsKey(labels);
    if ((byLabels.get(key) ?? identity) !== identity || (byIdentity.get(identity) ?? key) !== key)
      throw new Error(`endpoint ${name}: equal labels need equal identities, different ones different identities`);
    byLabels.set(key, identity);
    byIdentity.set(identity, key);
  }
}

const protocols: Readonly<Record<string, number>> = {
  tcp: protocolNumbers.TCP,
  udp: protocolNumbers.UDP,
  sctp: protocolNumbers.SCTP,
  icmp: protocolNumbers.ICMP,
  icmpv6: protocolNumbers.ICMPV6,
};

function parseTransport(text: string, line: number): { protocol: number; port: number } {
  const [name = "", port = ""] = text.split("/");
  const protocol = protocols[name];
  if (protocol === undefined || !/^\d+$/.test(port)) throw new Error(`line ${line}: "${text}" is not protocol/port`);
  return { protocol, port: Number(port) };
}

/** `[v6] tcp/80 [SYN | METHOD TARGET [Header:value...]]`. The family follows from addresses; between endpoints it is IPv4 unless said. */
function parseFlow({ cells, line, text }: Row, endpoints: readonly CaseEndpoint[]): CaseFlow {
  const from = parseParty(cells.from ?? "", endpoints, line);
  const to = parseParty(cells.to ?? "", endpoints, line);
  const words = (cells.request ?? "").split(" ");
  const v6 = words[0] === "v6";
  if (v6) words.shift();
  const { protocol, port } = parseTransport(words[0] ?? "", line);
  const verdict = cells.verdict as CaseFlow["verdict"];
  if (!["FORWARDED", "DROPPED", "REDIRECTED", "AUDIT"].includes(verdict))
    throw new Error(`line ${line}: no verdict is called "${verdict}"`);
  const address = [from, to].find((party) => party.kind === "address");
  const family =
    v6 || protocol === protocolNumbers.ICMPV6 ? 6 : address?.kind === "address" ? address.address.family : 4;
  const reason = cells.reason ?? "";
  return {
    from,
    to,
    family,
    protocol,
    port,
    request: parseRequest(words.slice(1)),
    verdict,
    reason: reason.startsWith("(") ? "" : reason,
    ...(cells.rule ? { rule: cells.rule } : {}),
    line,
    text,
  };
}

function parseRequest([method, target = "/", ...headers]: readonly string[]): CaseRequest {
  if (method === undefined || method === "SYN") return { kind: "packet" };
  const fields = new Map<string, string>();
  for (const text of headers) {
    const colon = text.indexOf(":");
    fields.set(text.slice(0, colon).toLowerCase(), text.slice(colon + 1));
  }
  return { kind: "http", method, target, host: fields.get("host") ?? "server", headers: fields };
}

function parseParty(text: string, endpoints: readonly CaseEndpoint[], line: number): CaseParty {
  if (text === "host") return { kind: "host" };
  if (endpoints.some((endpoint) => endpoint.name === text)) return { kind: "endpoint", name: text };
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`line ${line}: "${text}" is neither an endpoint, host nor an address`);
  return { kind: "address", address };
}
