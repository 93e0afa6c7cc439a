/** Who reaches whom: every pair of parties, on every class of ports. */
import type { RuleRef } from "#control/policy";
import { labelsKey, type NumericIdentity, protocolName, Reserved, type ReservedName } from "#core/model";
import { combine, type JudgedDirection, judgeConnection, type Outcome } from "./connection.ts";
import { classifyPorts, createPortFilter, type PortClass } from "./ports.ts";
import type { World } from "./world.ts";

/** A row and column. */
export interface MatrixParty {
  /** Equal for the same party in two worlds. */
  readonly key: string;
  readonly kind: "workload" | "entity" | "prefix";
  readonly name: string;
  readonly identity: NumericIdentity;
  /** Only of workloads, whose sides of connections policies judge. */
  readonly namespace?: string;
  /** Workloads behind it: `Deployment shop/web`. */
  readonly members: readonly string[];
}

/** What holds on one class of ports. */
export interface Reach {
  readonly port: PortClass;
  readonly outcome: Outcome;
  readonly directions: readonly JudgedDirection[];
}

/** One pair; undefined where no policy judges it, because neither is a workload. */
export type Cell = readonly Reach[] | undefined;

/** The reachability of a world. */
export interface Matrix {
  readonly parties: readonly MatrixParty[];
  readonly ports: readonly PortClass[];
  /** By source, then destination, in the order of `parties`. */
  readonly cells: readonly (readonly Cell[])[];
}

/** The parties of a world: its workloads, the host, the world, and the other entities and prefixes that its policies name. */
export function matrixParties(world: World): MatrixParty[] {
  const workloads = world.groups.map(
    ({ labels, name, identity, namespace, workloads: members }): MatrixParty => ({
      key: labelsKey(labels),
      kind: "workload",
      name,
      identity,
      namespace,
      members: members.map((one) => `${one.kind} ${one.namespace}/${one.name}`),
    }),
  );
  const named = new Set<string>(["host"]);
  for (const { rules } of world.policies)
    for (const { statements } of rules)
      for (const { peers } of statements)
        for (const peer of peers === "any" ? [] : peers) if (peer.kind === "entity") named.add(peer.entity);
  const entities = (Object.keys(Reserved) as ReservedName[])
    .filter((name) => name === "world-ipv4" || name === "world-ipv6" || (name !== "world" && named.has(name)))
    .map((name): MatrixParty => ({ key: name, kind: "entity", name, identity: Reserved[name], members: [] }));
  const prefixes = world.prefixes.map(({ id, prefix = "" }): MatrixParty => {
    return { key: prefix, kind: "prefix", name: prefix, identity: id, members: [] };
  });
  return [...workloads, ...entities, ...prefixes.sort((a, b) => (a.name < b.name ? -1 : 1))];
}

/** Judges every pair. `parties` and `ports` are those of the world unless given; a party that the world lacks has no cells. */
export function createMatrix(
  world: World,
  parties: readonly (MatrixParty | undefined)[] = matrixParties(world),
  ports: readonly PortClass[] = classifyPorts([world]),
  isAsked = createPortFilter(world, subjectsOf(world)),
): Matrix {
  const cells = parties.map((from) =>
    parties.map((to): Cell => {
      if (from === undefined || to === undefined) return undefined;
      if (from.namespace === undefined && to.namespace === undefined) return undefined;
      return ports
        .filter((port) => isAsked(to.identity, port))
        .map((port): Reach => {
          const directions = judgeConnection(world, from, to, port.protocol, port.first);
          return { port, outcome: combine(directions), directions };
        });
    }),
  );
  const known = parties.map((party) => party ?? nobody);
  return { parties: known, ports, cells };
}

const nobody: MatrixParty = { key: "", kind: "entity", name: "", identity: Reserved.unknown, members: [] };

/** Identities that rules can have as subjects. */
export function subjectsOf(world: World): NumericIdentity[] {
  return world.groups.map(({ identity }) => identity);
}

/** The rules that made a direction's verdict. */
export function decidingRules({ decision, set }: Pick<JudgedDirection, "decision" | "set">): readonly RuleRef[] {
  return decision.entry === undefined ? [] : (set.provenance[decision.entry.cookie] ?? []);
}

/** Shows the two families of the world as one, where no policy of any of the matrices tells them apart. */
export function joinWorlds(matrices: readonly Matrix[]): Matrix[] {
  const [first] = matrices;
  const v4 = first?.parties.findIndex(({ key }) => key === "world-ipv4") ?? -1;
  const v6 = first?.parties.findIndex(({ key }) => key === "world-ipv6") ?? -1;
  if (v4 < 0 || v6 < 0) return [...matrices];
  const same = matrices.every(({ cells }) =>
    cells.every(
      (row, i) => summary(row[v4]) === summary(row[v6]) && summary(cells[v4]?.[i]) === summary(cells[v6]?.[i]),
    ),
  );
  if (!same) return [...matrices];
  const drop = <T>(list: readonly T[]): T[] => list.filter((_, i) => i !== v6);
  return matrices.map(({ parties, ports, cells }) => ({
    ports,
    parties: drop(parties).map((party) => (party.key === "world-ipv4" ? { ...party, name: "world" } : party)),
    cells: drop(cells).map(drop),
  }));
}

/** Equal for cells that let the same through. */
export function summary(cell: Cell): string {
  return JSON.stringify(
    cell?.map(({ port, outcome, directions }) => [port, outcome, directions.map(({ http }) => http)]),
  );
}

/** What a cell lets through, ports of one protocol together: `all`, `80, 443/TCP`, `9000/TCP (HTTP)`; empty: nothing. */
export function describeCell(cell: readonly Reach[]): string {
  const open = cell.filter(({ outcome }) => outcome !== "denied");
  if (open.length === cell.length && open.every(({ outcome }) => outcome === "allowed")) return "all";
  const parts: string[] = [];
  const grouped = new Map<string, string[]>();
  for (const { port, outcome } of open) {
    const [text = "", protocol = ""] = describePort(port);
    const key = `${outcome === "http" ? " HTTP" : ""}|${protocol}`;
    grouped.set(key, [...(grouped.get(key) ?? []), text]);
  }
  for (const [key, texts] of grouped) {
    const [http, protocol] = key.split("|");
    const whole = cell.filter(({ port }) => describePort(port)[1] === protocol).length === texts.length && http === "";
    if (whole && texts.includes("other")) parts.push(`all ${protocol}`);
    else parts.push(`${texts.join(",")}/${protocol}${http === "" ? "" : " (HTTP)"}`);
  }
  return parts.join(" ");
}

function describePort({ protocol, first, last, others }: PortClass): [text: string, protocol: string] {
  return [others ? "other" : first === last ? String(first) : `${first}-${last}`, protocolName(protocol)];
}
