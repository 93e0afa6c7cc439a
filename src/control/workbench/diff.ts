/** Two worlds compared: who gains what, who loses what, in words that name workloads and ports. */
import type { HttpRule } from "#contracts/proxy";
import { parsePrefix } from "#core/model";
import { describeChanges, type ReachChange, type Sentence } from "./diff-words.ts";
import {
  createMatrix,
  joinWorlds,
  type Matrix,
  type MatrixParty,
  matrixParties,
  type Reach,
  subjectsOf,
} from "./matrix.ts";
import { classifyPorts, createPortFilter, formatPortClass, type PortClass } from "./ports.ts";
import { createWorld, type World, type WorldObject, type WorldOptions } from "./world.ts";

/** The difference of two worlds. */
export interface WorldDiff {
  readonly before: World;
  readonly after: World;
  /** Both over the same parties and ports; a party that one world lacks has empty cells there. */
  readonly old: Matrix;
  readonly new: Matrix;
  /** Between parties that both worlds have. */
  readonly changes: readonly ReachChange[];
  /** Workloads that only one world has. */
  readonly appeared: readonly string[];
  readonly vanished: readonly string[];
  /** The changes for people, one sentence a line. */
  readonly sentences: readonly Sentence[];
}

/** Compares the worlds of two sets of objects. The later of two objects of one name counts, in each. */
export function diffWorlds(
  before: readonly WorldObject[],
  after: readonly WorldObject[],
  make: (objects: readonly WorldObject[], options: WorldOptions) => World = createWorld,
): WorldDiff {
  // Each must know the prefixes of the other, or its world would hide them.
  const prefixes = prefixesOf([createWorld(before), createWorld(after)]);
  const was = make(before, { prefixes });
  const is = make(after, { prefixes });
  const ports = classifyPorts([was, is]);
  const wasParties = new Map(matrixParties(was).map((party) => [party.key, party]));
  const isParties = new Map(matrixParties(is).map((party) => [party.key, party]));
  const keys = [...new Set([...isParties.keys(), ...wasParties.keys()])];
  const order = { workload: 0, entity: 1, prefix: 2 };
  const union = keys
    .map((key) => isParties.get(key) ?? wasParties.get(key)!)
    .sort((a, b) => order[a.kind] - order[b.kind]);
  // An entity is there even if only the other world's policies name it.
  const here = (own: ReadonlyMap<string, MatrixParty>) =>
    union.map((party) => own.get(party.key) ?? (party.kind === "entity" ? party : undefined));
  const inWas = createPortFilter(was, subjectsOf(was));
  const inIs = createPortFilter(is, subjectsOf(is));
  const [wasHere, isHere] = [here(wasParties), here(isParties)];
  const asked = (of: readonly (MatrixParty | undefined)[]) => {
    const places = new Map(of.flatMap((party, i) => (party === undefined ? [] : [[party.identity, i] as const])));
    return (identity: MatrixParty["identity"], port: PortClass) => {
      const i = places.get(identity) ?? -1;
      const [a, b] = [wasHere[i], isHere[i]];
      return (a !== undefined && inWas(a.identity, port)) || (b !== undefined && inIs(b.identity, port));
    };
  };
  const named = (matrix: Matrix): Matrix => ({ ...matrix, parties: union });
  const [old, now] = joinWorlds([
    named(createMatrix(was, wasHere, ports, asked(wasHere))),
    named(createMatrix(is, isHere, ports, asked(isHere))),
  ]) as [Matrix, Matrix];
  const changes = compare(old, now);
  const only = (own: ReadonlyMap<string, MatrixParty>, other: ReadonlyMap<string, MatrixParty>) =>
    [...own.values()].filter(({ kind, key }) => kind === "workload" && !other.has(key)).map(({ name }) => name);
  return {
    before: was,
    after: is,
    old,
    new: now,
    changes,
    appeared: only(isParties, wasParties),
    vanished: only(wasParties, isParties),
    sentences: describeChanges(changes, old, now),
  };
}

function prefixesOf(worlds: readonly World[]) {
  return worlds.flatMap(({ prefixes }) => prefixes.map(({ prefix }) => parsePrefix(prefix ?? "")!));
}

function compare(old: Matrix, now: Matrix): ReachChange[] {
  const out: ReachChange[] = [];
  for (const [j, to] of now.parties.entries())
    for (const [i, from] of now.parties.entries()) {
      const [a, b] = [old.cells[i]![j], now.cells[i]![j]];
      if (a === undefined || b === undefined) continue;
      const byPort = new Map(a.map((reach) => [formatPortClass(reach.port), reach]));
      for (const reach of b) {
        const before = byPort.get(formatPortClass(reach.port));
        if (before === undefined) continue;
        const base = { from: from.name, to: to.name, port: reach.port };
        for (const change of compareReach(before, reach)) out.push({ ...base, ...change });
      }
    }
  return out;
}

const rank = { denied: 0, http: 1, allowed: 2 } as const;

function compareReach(before: Reach, after: Reach): Pick<ReachChange, "kind" | "requests">[] {
  if (before.outcome === after.outcome && before.outcome !== "http") return [];
  if (before.outcome !== "http" || after.outcome !== "http") {
    const kind = rank[after.outcome] > rank[before.outcome] ? "gain" : "loss";
    // From nothing to some requests, or back: these are what changes. From all to some: all others go.
    const some = before.outcome === "denied" ? after : after.outcome === "denied" ? before : undefined;
    const requests = some?.outcome === "http" ? requestsOf(some) : undefined;
    if (requests === undefined && (before.outcome === "http" || after.outcome === "http"))
      return [{ kind, requests: [`all but ${requestsOf(before.outcome === "http" ? before : after).join(", ")}`] }];
    return [{ kind, ...(requests === undefined ? {} : { requests }) }];
  }
  const [was, is] = [requestsOf(before), requestsOf(after)];
  const gained = is.filter((one) => !was.includes(one));
  const lost = was.filter((one) => !is.includes(one));
  return [
    ...(gained.length > 0 ? [{ kind: "gain", requests: gained } as const] : []),
    ...(lost.length > 0 ? [{ kind: "loss", requests: lost } as const] : []),
  ];
}

/** The requests that pass a connection, as texts. Where both sides list some, a request must be on both lists. */
export function requestsOf({ directions }: Pick<Reach, "directions">): string[] {
  const lists = directions.flatMap(({ http }) =>
    http === undefined ? [] : [[...new Set(http.map(formatRequestRule))].sort()],
  );
  const [first = [], second] = lists;
  if (second === undefined || JSON.stringify(first) === JSON.stringify(second)) return first;
  return first.flatMap((a) => second.map((b) => (a === b ? a : `${a} and ${b}`)));
}

/** `GET /items/[0-9]+ host=shop.example X-Token`. */
function formatRequestRule({ method, path, host, headers }: HttpRule): string {
  const parts = [method ?? "any method", path ?? "any path"];
  if (host !== undefined) parts.push(`host=${host}`);
  for (const { name, value } of headers ?? []) parts.push(value === undefined ? name : `${name}: ${value}`);
  return parts.join(" ");
}
