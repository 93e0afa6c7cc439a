/** Changes in words: `frontend loses db:5432/TCP`. */
import type { Matrix, MatrixParty } from "./matrix.ts";
import { formatPortClass, type PortClass } from "./ports.ts";

/** What changes for one pair on one class of ports. */
export interface ReachChange {
  readonly kind: "gain" | "loss";
  readonly from: string;
  readonly to: string;
  readonly port: PortClass;
  /** Where only HTTP requests come or go: which, e.g. `GET /orders`. */
  readonly requests?: readonly string[];
}

/** One line about changes of one kind. */
export interface Sentence {
  readonly kind: ReachChange["kind"];
  readonly text: string;
}

/** Losses before gains; by destination; what several sources share is said once. */
export function describeChanges(changes: readonly ReachChange[], old: Matrix, now: Matrix): Sentence[] {
  const out: Sentence[] = [];
  for (const kind of ["loss", "gain"] as const)
    for (const [j, to] of now.parties.entries()) {
      // Those who are judged with this destination in both worlds: if all of them change, it is anyone.
      const possible = now.parties.filter((_, i) => old.cells[i]?.[j] !== undefined && now.cells[i]?.[j] !== undefined);
      const sharing = new Map<string, MatrixParty[]>();
      for (const from of possible) {
        const own = changes.filter((one) => one.kind === kind && one.to === to.name && one.from === from.name);
        if (own.length === 0) continue;
        const cell = now.cells[now.parties.indexOf(from)]![j]!;
        const what = describeObject(to.name, own, own.length === cell.length);
        sharing.set(what, [...(sharing.get(what) ?? []), from]);
      }
      for (const [what, sources] of sharing)
        out.push({ kind, text: `${describeSubject(sources, possible, kind)} ${what}` });
    }
  return out;
}

/** `db:5432/TCP, db on any other TCP port`. */
function describeObject(to: string, changes: readonly ReachChange[], isEveryPort: boolean): string {
  if (isEveryPort && changes.every(({ requests }) => requests === undefined)) return `${to} on every port`;
  return changes
    .map(({ port, requests }) => {
      const name = formatPortClass(port);
      const where = port.others
        ? `${to} on any ${name} port`
        : /^[0-9]/.test(name)
          ? `${to}:${name}`
          : `${to} by ${name}`;
      return requests === undefined ? where : `${where} for ${requests.join(", ")}`;
    })
    .join(", ");
}

/** Who, and the verb that goes with it. */
function describeSubject(
  sources: readonly MatrixParty[],
  possible: readonly MatrixParty[],
  kind: ReachChange["kind"],
): string {
  const one = kind === "gain" ? "gains" : "loses";
  const many = kind === "gain" ? "gain" : "lose";
  if (sources.length > 1 && sources.length === possible.length) return `anyone ${one}`;
  const workloads = possible.filter((party) => party.kind === "workload");
  if (
    workloads.length > 1 &&
    sources.length === workloads.length &&
    sources.every((party) => party.kind === "workload")
  )
    return `every workload ${one}`;
  const missing = possible.filter((party) => !sources.includes(party)).map(({ name }) => name);
  if (missing.length * 2 < sources.length) return `everyone but ${missing.join(" and ")} ${one}`;
  const names = sources.map(({ name }) => name);
  if (names.length === 1) return `${names[0]} ${one}`;
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)} ${many}`;
}
