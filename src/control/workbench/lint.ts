/** What is valid, and yet does less than its author thinks: found by asking a world, where one is needed. */
import type { Problem } from "#contracts/manifest";
import {
  compareSelector,
  decide,
  formatRuleRef,
  ignoredLabels,
  type Rule,
  type Statement,
  unenforcedPolicy,
} from "#control/policy";
import { type Identity, protocolName } from "#core/model";
import { judgeConnection, judgeDirection } from "./connection.ts";
import { requestsOf } from "./diff.ts";
import { decidingRules, type MatrixParty, matrixParties } from "./matrix.ts";
import { classifyPorts, type PortClass } from "./ports.ts";
import { createStatementIndex, type StatementIndex } from "./statement-index.ts";
import type { WorkloadGroup, World, WorldPolicy } from "./world.ts";

/** A finding; `path` is relative to the policy's object. */
export type Finding = Problem;

const finding = (path: string, code: string, message: string, hint: string): Finding => ({
  path,
  code,
  severity: "warning",
  message,
  hint,
});

type Selector = Rule["subject"];

/** Lints one policy of a world. Without workloads nothing can be said. */
export function lintPolicy(world: World, policy: WorldPolicy): Finding[] {
  if (world.groups.length === 0) return [];
  let linter = linters.get(world);
  if (linter === undefined) {
    linter = new Linter(world);
    linters.set(world, linter);
  }
  return [...linter.subjects(policy), ...linter.statements(policy), ...linter.effect(policy)];
}

const linters = new WeakMap<World, Linter>();

class Linter {
  readonly #world: World;
  readonly #parties: readonly MatrixParty[];
  readonly #ports: readonly PortClass[];
  readonly #index: StatementIndex;
  readonly #selected = new Map<string, WorkloadGroup[]>();

  constructor(world: World) {
    this.#world = world;
    this.#parties = matrixParties(world);
    this.#ports = classifyPorts([world]);
    this.#index = createStatementIndex(world, this.#parties, this.#ports);
  }

  /** Rules that are about nobody. */
  subjects({ rules }: WorldPolicy): Finding[] {
    return rules
      .filter(({ subject }) => this.#select(subject).length === 0 && ignoredLabels(subject).length === 0)
      .map(({ subject, path }) => {
        const place = subject.requirements.find((one) => one.path !== undefined)?.path ?? path;
        return finding(place, "selects-no-workload", "the policy selects no workload", this.#nearest(subject));
      });
  }

  statements({ rules }: WorldPolicy): Finding[] {
    return rules.flatMap((rule) => {
      const subjects = this.#select(rule.subject);
      return rule.statements.flatMap((statement) => [
        ...this.#peers(statement),
        ...this.#exposed(statement, subjects),
        ...this.#shadowed(statement, subjects),
        ...this.#oneSided(statement, subjects),
      ]);
    });
  }

  /** Whether anything at all would be judged otherwise without the policy. */
  effect({ key, rules, ref }: WorldPolicy): Finding[] {
    const { engine } = this.#world;
    const subjects = rules.flatMap(({ subject }) => this.#select(subject));
    if (subjects.length === 0) return [];
    const ids = [...new Set(subjects.map(({ identity }) => identity))];
    const before = new Map(ids.map((id) => [id, engine.policyOf(id) ?? unenforcedPolicy]));
    engine.removeRules(key);
    engine.flush();
    const differs = ids.some((id) => {
      const [was, is] = [before.get(id)!, engine.policyOf(id) ?? unenforcedPolicy];
      return (["ingress", "egress"] as const).some((direction) =>
        this.#parties.some(({ identity }) =>
          this.#ports.some(({ protocol, first }) => {
            const texts = [was, is].map((set) => {
              const judged = judgeDirection(set, direction, identity, protocol, first);
              return `${judged.outcome} ${requestsOf({ directions: [judged] })}`;
            });
            return texts[0] !== texts[1];
          }),
        ),
      );
    });
    engine.upsertRules(key, rules);
    engine.flush();
    if (differs) return [];
    const title = `${ref.kind} ${ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`}`;
    return [
      finding(
        "metadata.name",
        "no-effect",
        `${title} changes nothing: without it every connection would be judged the same`,
        "other policies say all of it already; remove it, or look at whom it was to select and what it was to forbid",
      ),
    ];
  }

  #select(selector: Selector): WorkloadGroup[] {
    let found = this.#selected.get(selector.key);
    if (found === undefined) {
      found = this.#world.groups.filter((group) => compareSelector(selector, identityOf(group)).length === 0);
      this.#selected.set(selector.key, found);
    }
    return found;
  }

  /** What keeps the nearest workload from being selected. */
  #nearest(selector: Selector): string {
    let best: { readonly name: string; readonly text: string; readonly count: number } | undefined;
    for (const group of this.#world.groups) {
      const mismatches = compareSelector(selector, identityOf(group));
      const text = mismatches.map(({ expected, found }) => `expected ${expected}, found ${found}`).join("; ");
      if (best === undefined || mismatches.length < best.count)
        best = { name: group.name, text, count: mismatches.length };
    }
    return best === undefined ? "" : `nearest is ${best.name}: ${best.text}`;
  }

  #peers({ peers }: Statement): Finding[] {
    return (peers === "any" ? [] : peers).flatMap((peer) => {
      if (peer.kind !== "labels" || ignoredLabels(peer.selector).length > 0) return [];
      if (peer.selector.requirements.some(({ source }) => source === "reserved")) return [];
      if (this.#select(peer.selector).length > 0) return [];
      return [
        finding(
          peer.path,
          "peer-selects-no-workload",
          "the selector matches no workload",
          this.#nearest(peer.selector),
        ),
      ];
    });
  }

  /** Ports on which nobody listens who is meant. Only where all of them say on which ports they do. */
  #exposed(statement: Statement, subjects: readonly WorkloadGroup[]): Finding[] {
    const { direction, ports, peers, action } = statement;
    if (ports === "any" || action !== "allow") return [];
    const onlyLabels = peers !== "any" && peers.every(({ kind }) => kind === "labels");
    if (direction === "egress" && !onlyLabels) return [];
    const owners =
      direction === "ingress"
        ? subjects
        : this.#world.groups.filter((group) => this.#index.means(statement, group.identity));
    if (owners.length === 0) return [];
    const declared = owners.every(({ workloads }) => workloads.every(({ declaresPorts }) => declaresPorts));
    const exposed = owners.flatMap((group) => group.ports);
    const listed = [...new Set(exposed.map(({ port, protocol }) => `${port}/${protocolName(protocol)}`))].join(", ");
    return ports
      .flatMap(({ matches }) => matches)
      .flatMap((match) => {
        const who = names(owners);
        if (match.kind === "named") {
          if (exposed.some(({ name, protocol }) => name === match.name && protocol === match.protocol)) return [];
          return [
            finding(
              match.path,
              "port-not-exposed",
              `${who} gives no port the name "${match.name}"`,
              listed === ""
                ? "name the port in the container, or write its number"
                : `known: ${exposed.flatMap(({ name }) => name ?? []).join(", ") || listed}`,
            ),
          ];
        }
        if (match.kind !== "ports" || !declared) return [];
        const found = exposed.some(
          ({ protocol, port }) => protocol === match.protocol && port >= match.first && port <= match.last,
        );
        if (found) return [];
        const range = match.first === match.last ? String(match.first) : `${match.first}-${match.last}`;
        return [
          finding(
            match.path,
            "port-not-exposed",
            `${who} exposes no port ${range}/${protocolName(match.protocol)}`,
            `exposed: ${listed}`,
          ),
        ];
      });
  }

  /** An allow of which nothing remains, because denies beat all of it. */
  #shadowed(statement: Statement, subjects: readonly WorkloadGroup[]): Finding[] {
    if (statement.action !== "allow") return [];
    const denies = new Set<string>();
    let any = false;
    for (const { subject, peer, port } of this.#index.flows(statement, subjects)) {
      any = true;
      const set = this.#world.engine.policyOf(subject.identity) ?? unenforcedPolicy;
      const decision = decide(set, statement.direction, peer.identity, port.protocol, port.first);
      if (decision.reason !== "POLICY_DENY") return [];
      for (const ref of decidingRules({ decision, set }))
        denies.add(`${formatRuleRef(ref)}${placed(this.#world.place(ref))}`);
    }
    if (!any) return [];
    return [
      finding(
        statement.ref.path,
        "shadowed-by-deny",
        "nothing of this is allowed: a deny beats all of it",
        `denied by ${[...denies].join(", ")}; a deny always beats an allow`,
      ),
    ];
  }

  /** An allow on one side of a connection that the other side's policy denies on every port. */
  #oneSided(statement: Statement, subjects: readonly WorkloadGroup[]): Finding[] {
    const { direction, action, peers } = statement;
    if (action !== "allow" || peers === "any") return [];
    const open = new Map<MatrixParty, boolean>();
    const mine = new Map<MatrixParty, boolean>();
    for (const { subject, peer, port } of this.#index.flows(statement, subjects)) {
      if (peer.namespace === undefined) continue;
      const [from, to] = direction === "egress" ? [subject, peer] : [peer, subject];
      const judged = judgeConnection(this.#world, from, to, port.protocol, port.first);
      const own = judged.find((one) => one.direction === direction);
      const other = judged.find((one) => one.direction !== direction);
      if (own?.outcome === "denied") continue;
      mine.set(peer, true);
      if (other?.outcome !== "denied") open.set(peer, true);
    }
    const closed = [...mine.keys()].filter((peer) => open.get(peer) !== true);
    if (closed.length === 0) return [];
    const who = names(closed);
    const selector = peers.find((peer) => peer.kind === "labels")?.path ?? statement.ref.path;
    return [
      direction === "egress"
        ? finding(
            selector,
            "egress-not-accepted",
            `${who} accepts none of this: its ingress policy denies it`,
            `let ${who} accept it, or see why with \`tsilium policy explain\``,
          )
        : finding(
            selector,
            "ingress-not-sent",
            `${who} can send none of this: its egress policy denies it`,
            `let ${who} send it, or see why with \`tsilium policy explain\``,
          ),
    ];
  }
}

const placed = (place: string | undefined) => (place === undefined ? "" : ` (${place})`);
const identityOf = ({ identity, labels }: WorkloadGroup): Identity => ({ id: identity, labels });

function names(groups: readonly { readonly name: string }[]): string {
  const all = groups.map(({ name }) => name);
  return all.length <= 3 ? all.join(" and ") : `${all.slice(0, 2).join(", ")} and ${all.length - 2} others`;
}
