/** Rules x identities -> a policy set per subject, kept up to date change by change. */
import {
  type Direction,
  formatPrefix,
  type Identity,
  type NumericIdentity,
  type Prefix,
  Reserved,
  type ReservedName,
  reservedLabels,
} from "#core/model";
import { type Cell, cellsOf } from "./cells.ts";
import {
  bindGroups,
  type CidrGroup,
  cloudGroups,
  mentionsGroup,
  mentionsGroups,
  unresolvedGroups,
} from "./cidr-group.ts";
import { type DraftGroup, draftGroups, finishGroups, Provenance, regroup, ungroup } from "./entries.ts";
import { makeFilters } from "./filters.ts";
import {
  type DirectionGrants,
  type Enforcement,
  type GrantContext,
  type ResolvedStatement,
  resolveDirection,
} from "./grants.ts";
import type { MergeConflict } from "./merge.ts";
import type { KnownIdentity } from "./peers.ts";
import { createPolicySet, type PolicySet, samePolicy } from "./policy-set.ts";
import type { CloudGroup, GroupPeer, Peer, Rule, RuleRef, ServicePeer, Statement } from "./rule.ts";
import { type CachedSelector, SelectorCache } from "./selector-cache.ts";
import {
  bindServices,
  mentionsService,
  mentionsServices,
  type PolicyService,
  serviceKey,
  unresolvedServices,
} from "./service-peer.ts";
import { overlay } from "./staged.ts";

/** How an engine is set up. */
export interface EngineOptions {
  /** This cluster's name; "default". */
  readonly clusterName?: string;
  readonly enforcement?: Enforcement;
  /** Let through and report what would be denied. */
  readonly audit?: boolean;
}

/** What changed since the last call of `flush`. */
export interface PolicyChanges {
  /** Subjects whose policy is another one now, or new. Subjects under the same rules share one object. */
  readonly changed: ReadonlyMap<NumericIdentity, PolicySet>;
  readonly removed: readonly NumericIdentity[];
}

/**
 * The policy engine. Tell it of rules, identities and subjects in any order; `flush` computes what that changed, and only
 * that. Knows the reserved identities from the start. Not reentrant; holds no clock, does no I/O.
 */
export interface PolicyEngine {
  /** Adds or replaces the rules of one object; `key` names it (e.g. `CiliumNetworkPolicy/default/web`). */
  upsertRules(key: string, rules: readonly Rule[]): void;
  removeRules(key: string): void;
  /** Adds or replaces a CIDR group; rules that name it, and only these, are resolved anew. */
  upsertGroup(group: CidrGroup): void;
  /** Forgets a CIDR group: from now on it selects nothing. */
  removeGroup(name: string): void;
  /** Adds or replaces a Service; rules that name it, and only these, are resolved anew. */
  upsertService(service: PolicyService): void;
  /** Forgets a Service: from now on it selects nothing. */
  removeService(key: Pick<PolicyService, "namespace" | "name">): void;
  /** Adds or replaces an identity: of pods anywhere, or of a prefix. */
  upsertIdentity(identity: Identity): void;
  /** Forgets an identity; as a subject it is removed, too. */
  removeIdentity(id: NumericIdentity): void;
  /** Wants the policy of this identity: an endpoint here has it. It need not be known yet. */
  addSubject(id: NumericIdentity): void;
  removeSubject(id: NumericIdentity): void;
  /**
   * Tells the time, in ms since 1970: staged rules whose time is up are in force from the next `flush` on. Returns when the next
   * one is. Before the first call no time is up.
   */
  setTime(nowMs: number): number | undefined;
  /** Whether the rule only reports what it would deny. */
  isStaged(rule: Rule): boolean;
  /** Computes the policies of all subjects that a change has touched. */
  flush(): PolicyChanges;
  /** The policy of a subject as of the last `flush`. */
  policyOf(id: NumericIdentity): PolicySet | undefined;
  /** Rules that select an identity, in a stable order. */
  rulesFor(id: NumericIdentity): readonly Rule[];
  /** A known identity. */
  identity(id: NumericIdentity): Identity | undefined;
  /** Prefixes that rules name: each needs an identity (see `createPrefixIdentities` of #control/identity). */
  neededPrefixes(): readonly Prefix[];
  /** Prefixes that these rules would name with the groups as they are. */
  prefixesOf(rules: readonly Rule[]): readonly Prefix[];
  /** Peers of these rules that name a CIDR group which is not there. */
  unresolvedGroups(rules: readonly Rule[]): readonly GroupPeer[];
  /** The same for Services. */
  unresolvedServices(rules: readonly Rule[]): readonly ServicePeer[];
  /** Groups of cloud providers that rules name: who can resolve one puts it with {@link PolicyEngine.upsertGroup} under its name. */
  cloudGroups(): ReadonlyMap<string, CloudGroup>;
  /** Items of rules that are left out because they can't be joined with others, as of the last `flush`. */
  conflicts(): readonly MergeConflict[];
  /** Cluster name and enforcement, as explanations need them. */
  readonly options: Required<EngineOptions>;
}

/** One rule in use. */
interface RuleUse {
  readonly rule: Rule;
  /** Orders rules independently of when they came. */
  readonly order: string;
  readonly number: number;
  subject: CachedSelector;
  statements: readonly (ResolvedStatement & { readonly selectors: readonly CachedSelector[] })[];
  /** Subjects that the rule selects. */
  readonly subjects: Set<NumericIdentity>;
}

/** Subjects that the same rules select: what is computed for one of them holds for all. Immutable. */
interface SubjectClass {
  readonly number: number;
  /** In order. */
  readonly rules: readonly RuleUse[];
}

interface Subject {
  class: SubjectClass;
  /** Rules that came or went since the class was determined; a rule that did both is in neither. */
  readonly toggled: Set<RuleUse>;
  set: PolicySet | undefined;
}

/** Makes an engine without rules. */
export function createPolicyEngine(options: EngineOptions = {}): PolicyEngine {
  return new Engine(options);
}

class Engine implements PolicyEngine {
  readonly options: Required<EngineOptions>;
  readonly #objects = new Map<string, readonly RuleUse[]>();
  /** Rules that name CIDR groups or services, as they were given. */
  readonly #written = new Map<string, readonly Rule[]>();
  readonly #groups = new Map<string, CidrGroup>();
  readonly #services = new Map<string, PolicyService>();
  readonly #rules = new Set<RuleUse>();
  readonly #subjects = new Map<NumericIdentity, Subject>();
  readonly #dirtySubjects = new Set<NumericIdentity>();
  /** Rules whose peers are others than at the last flush. */
  readonly #dirtyRules = new Set<RuleUse>();
  #removed: NumericIdentity[] = [];
  readonly #cache: SelectorCache<RuleUse>;
  #count = 0;
  #nowMs = Number.NEGATIVE_INFINITY;

  constructor(options: EngineOptions) {
    this.options = {
      clusterName: options.clusterName ?? "default",
      enforcement: options.enforcement ?? "default",
      audit: options.audit ?? false,
    };
    this.#cache = new SelectorCache(this.options.clusterName, (use, selector, id) =>
      this.#onSelection(use, selector, id),
    );
    for (const [name, id] of Object.entries(Reserved))
      if (id !== Reserved.unknown) this.#cache.upsertIdentity({ id, labels: reservedLabels(name as ReservedName) });
  }

  upsertRules(key: string, rules: readonly Rule[]): void {
    // First the new, then the old go: selectors that both use stay, with what they select.
    const uses = this.#bind(rules).map((rule, i) => this.#use(rule, `${key} ${String(i).padStart(6, "0")}`));
    this.removeRules(key);
    this.#objects.set(key, uses);
    if (mentionsGroups(rules) || mentionsServices(rules)) this.#written.set(key, rules);
  }

  removeRules(key: string): void {
    for (const use of this.#objects.get(key) ?? []) {
      for (const id of use.subjects) {
        toggle(this.#subjects.get(id)?.toggled, use);
        this.#dirtySubjects.add(id);
      }
      use.subjects.clear();
      this.#cache.release(use.subject, use);
      for (const { selectors } of use.statements) for (const selector of selectors) this.#cache.release(selector, use);
      this.#rules.delete(use);
      this.#dirtyRules.delete(use);
    }
    this.#objects.delete(key);
    this.#written.delete(key);
  }

  upsertGroup(group: CidrGroup): void {
    const before = this.#groups.get(group.name);
    this.#groups.set(group.name, group);
    this.#rebind((rules) => [before, group].some((one) => one !== undefined && mentionsGroup(rules, one)));
  }

  removeGroup(name: string): void {
    const before = this.#groups.get(name);
    if (before === undefined) return;
    this.#groups.delete(name);
    this.#rebind((rules) => mentionsGroup(rules, before));
  }

  upsertService(service: PolicyService): void {
    const before = this.#services.get(serviceKey(service));
    this.#services.set(serviceKey(service), service);
    this.#rebind((rules) => [before, service].some((one) => one !== undefined && mentionsService(rules, one)));
  }

  removeService(key: Pick<PolicyService, "namespace" | "name">): void {
    const before = this.#services.get(serviceKey(key));
    if (before === undefined) return;
    this.#services.delete(serviceKey(key));
    this.#rebind((rules) => mentionsService(rules, before));
  }

  upsertIdentity(identity: Identity): void {
    const isSubject = this.#subjects.has(identity.id);
    this.#cache.upsertIdentity(identity);
    // Its own labels may decide: named ports, or being in the state of init.
    if (isSubject) this.#dirtySubjects.add(identity.id);
  }

  removeIdentity(id: NumericIdentity): void {
    this.removeSubject(id);
    this.#cache.removeIdentity(id);
  }

  addSubject(id: NumericIdentity): void {
    if (this.#subjects.has(id)) return;
    const subject: Subject = { class: noRules, toggled: new Set(), set: undefined };
    this.#subjects.set(id, subject);
    this.#dirtySubjects.add(id);
    for (const use of this.#rules)
      if (isSubject(use, id)) {
        use.subjects.add(id);
        toggle(subject.toggled, use);
      }
  }

  removeSubject(id: NumericIdentity): void {
    const subject = this.#subjects.get(id);
    if (subject === undefined) return;
    for (const use of subject.class.rules) use.subjects.delete(id);
    for (const use of subject.toggled) use.subjects.delete(id);
    this.#subjects.delete(id);
    this.#dirtySubjects.delete(id);
    if (subject.set !== undefined) this.#removed.push(id);
  }

  flush(): PolicyChanges {
    for (const use of this.#dirtyRules) for (const id of use.subjects) this.#dirtySubjects.add(id);
    this.#dirtyRules.clear();
    const changed = new Map<NumericIdentity, PolicySet>();
    const classes = new Map<string, SubjectClass>();
    const computed = new Map<string, PolicySet>();
    const same = createComparison();
    for (const id of this.#dirtySubjects) {
      const subject = this.#subjects.get(id);
      const known = this.#cache.identity(id);
      if (subject === undefined || known === undefined) continue;
      this.#classify(subject, classes);
      const key = sharingKey(subject.class, known);
      let set = computed.get(key);
      if (set === undefined) {
        set = this.#compute(subject.class.rules, known);
        computed.set(key, set);
      }
      if (subject.set !== undefined && same(subject.set, set)) continue;
      subject.set = set;
      changed.set(id, set);
    }
    this.#dirtySubjects.clear();
    const removed = this.#removed.filter((id) => !this.#subjects.has(id));
    this.#removed = [];
    return { changed, removed };
  }

  setTime(nowMs: number): number | undefined {
    const before = this.#nowMs;
    this.#nowMs = nowMs;
    let next: number | undefined;
    for (const use of this.#rules) {
      const untilMs = use.rule.audit?.untilMs;
      if (untilMs === undefined) continue;
      if (untilMs > before !== untilMs > nowMs) this.#dirtyRules.add(use);
      if (untilMs > nowMs) next = Math.min(next ?? untilMs, untilMs);
    }
    return next;
  }

  isStaged({ audit }: Rule): boolean {
    return audit !== undefined && (audit.untilMs === undefined || audit.untilMs > this.#nowMs);
  }

  policyOf(id: NumericIdentity): PolicySet | undefined {
    return this.#subjects.get(id)?.set;
  }

  rulesFor(id: NumericIdentity): readonly Rule[] {
    const subject = this.#subjects.get(id);
    if (subject !== undefined && subject.toggled.size === 0) return subject.class.rules.map((use) => use.rule);
    return sorted([...this.#rules].filter((use) => isSubject(use, id))).map((use) => use.rule);
  }

  identity(id: NumericIdentity): Identity | undefined {
    return this.#cache.identity(id)?.identity;
  }

  neededPrefixes(): readonly Prefix[] {
    return collectPrefixes([...this.#rules].map(({ rule }) => rule));
  }

  prefixesOf(rules: readonly Rule[]): readonly Prefix[] {
    return collectPrefixes(this.#bind(rules));
  }

  unresolvedGroups(rules: readonly Rule[]): readonly GroupPeer[] {
    return unresolvedGroups(rules, this.#groups);
  }

  unresolvedServices(rules: readonly Rule[]): readonly ServicePeer[] {
    return unresolvedServices(rules, this.#services);
  }

  cloudGroups(): ReadonlyMap<string, CloudGroup> {
    return cloudGroups([...this.#written.values()].flat());
  }

  conflicts(): readonly MergeConflict[] {
    const sets = new Set([...this.#subjects.values()].flatMap(({ set }) => (set === undefined ? [] : [set])));
    const byPlace = [...sets].flatMap(({ conflicts }) =>
      conflicts.map((conflict) => [`${JSON.stringify(conflict.ref)} ${conflict.path}`, conflict] as const),
    );
    return [...new Map(byPlace).values()];
  }

  /** Rules with what groups and services stand for now. */
  #bind(rules: readonly Rule[]): readonly Rule[] {
    return bindServices(bindGroups(rules, this.#groups), this.#services, this.options.clusterName);
  }

  /** Resolves the rules anew that name what has changed. */
  #rebind(mention: (rules: readonly Rule[]) => boolean): void {
    for (const [key, rules] of [...this.#written]) if (mention(rules)) this.upsertRules(key, rules);
  }

  #use(rule: Rule, order: string): RuleUse {
    const use: RuleUse = { rule, order, number: this.#count++, subject: nobody, statements: [], subjects: new Set() };
    use.subject = this.#cache.acquireSubject(rule.subject, use);
    use.statements = rule.statements.map((statement) => this.#resolve(statement, use));
    this.#rules.add(use);
    this.#selectSubjects(use);
    return use;
  }

  #resolve(statement: Statement, use: RuleUse): RuleUse["statements"][number] {
    const { peers } = statement;
    const named = statement.direction === "egress" && statement.ports !== "any" && statement.ports.some(hasName);
    const extra = named ? [this.#cache.acquireNamed(use)] : [];
    if (peers === "any" || peers.some(isAnyone)) return { statement, peers: "any", selectors: extra };
    const selectors = peers.map((peer) => this.#cache.acquirePeer(peer, use));
    return { statement, peers: selectors, selectors: named ? [...selectors, ...extra] : selectors };
  }

  #onSelection(use: RuleUse, selector: CachedSelector, id: NumericIdentity): void {
    if (use.statements.some(({ selectors }) => selectors.includes(selector))) this.#dirtyRules.add(use);
    const subject = use.subject === selector ? this.#subjects.get(id) : undefined;
    if (subject === undefined || isOfNode(id) !== isOfNodes(use)) return;
    if (!use.subjects.delete(id)) use.subjects.add(id);
    toggle(subject.toggled, use);
    this.#dirtySubjects.add(id);
  }

  #selectSubjects(use: RuleUse): void {
    const smaller = use.subject.matches.size < this.#subjects.size ? use.subject.matches : this.#subjects.keys();
    for (const id of smaller) {
      const subject = this.#subjects.get(id);
      if (subject === undefined || !isSubject(use, id)) continue;
      use.subjects.add(id);
      toggle(subject.toggled, use);
      this.#dirtySubjects.add(id);
    }
  }

  /** Moves the subject to the class of its rules. Subjects that came from one class by the same changes end in one class. */
  #classify(subject: Subject, classes: Map<string, SubjectClass>): void {
    if (subject.toggled.size === 0) return;
    const numbers = [...subject.toggled].map((use) => use.number).sort((a, b) => a - b);
    const key = `${subject.class.number}: ${numbers.join(",")}`;
    let found = classes.get(key);
    if (found === undefined) {
      const rules = new Set(subject.class.rules);
      for (const use of subject.toggled) toggle(rules, use);
      found = rules.size === 0 ? noRules : { number: ++this.#count, rules: sorted(rules) };
      classes.set(key, found);
    }
    subject.class = found;
    subject.toggled.clear();
  }

  #compute(rules: readonly RuleUse[], subject: KnownIdentity): PolicySet {
    const context: GrantContext = {
      enforcement: this.options.enforcement,
      subject,
      identity: (id) => this.#cache.identity(id),
      named: () =>
        [...this.#cache.identities()].filter((known) => known.namedPorts.length > 0).map((known) => known.identity.id),
    };
    const resolve = (of: readonly RuleUse[]) => (direction: Direction) => resolveDirection(direction, of, context);
    // Where everything is only audited, staged policies are no exception.
    const staged = this.options.audit ? [] : rules.filter(({ rule }) => this.isStaged(rule));
    if (staged.length === 0) return makePolicySet(resolve(rules), this.options.audit);
    return makeStagedSet(resolve(rules.filter((use) => !staged.includes(use))), resolve(rules), staged);
  }
}

type Resolve = (direction: Direction) => DirectionGrants;

/** Entries, filters and provenance of both directions. */
function makePolicySet(resolve: Resolve, audit: boolean): PolicySet {
  return assemble(resolve, audit, (_, grants, cells) => draftGroups(grants, cells, audit));
}

/** The same with staged policies; the proxy judges requests by what is in force. */
function makeStagedSet(enforced: Resolve, all: Resolve, staged: readonly RuleUse[]): PolicySet {
  const draft = (grants: DirectionGrants, cells: readonly Cell[] = cellsOf(grants.grants)) =>
    ungroup(draftGroups(grants, cells, false));
  return assemble(enforced, false, (direction, grants, cells) =>
    regroup(
      overlay({
        enforced: draft(grants, cells),
        all: draft(all(direction)),
        staged: staged.filter(({ rule }) => speaksOf(rule, direction)).map(({ rule }) => refOf(rule)),
      }),
    ),
  );
}

function assemble(
  resolve: Resolve,
  audit: boolean,
  draft: (direction: Direction, grants: DirectionGrants, cells: readonly Cell[]) => readonly DraftGroup[],
): PolicySet {
  const provenance = new Provenance();
  const parts = (["ingress", "egress"] as const).map((direction) => {
    const grants = resolve(direction);
    const cells = cellsOf(grants.grants);
    return {
      enforced: grants.enforced,
      conflicts: grants.conflicts,
      groups: finishGroups(direction, draft(direction, grants, cells), provenance),
      filters: () => makeFilters(direction, grants, cells, audit),
    };
  });
  return createPolicySet({
    groups: parts.flatMap(({ groups }) => groups),
    provenance: provenance.lists,
    requests: provenance.requests,
    filters: () => parts.flatMap(({ filters }) => filters()),
    conflicts: parts.flatMap(({ conflicts }) => conflicts),
    enforced: { ingress: parts[0]!.enforced, egress: parts[1]!.enforced },
  });
}

function speaksOf(rule: Rule, direction: Direction): boolean {
  return rule.defaultDeny[direction] || rule.statements.some((statement) => statement.direction === direction);
}

function refOf({ kind, name, namespace, uid, path }: Rule): RuleRef {
  return { kind, name, path, ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }) };
}

/** The policy of a subject that no rule selects: everything is let through. */
export const unenforcedPolicy: PolicySet = makePolicySet(() => ({ enforced: false, grants: [], conflicts: [] }), false);

/** A policy that lets nothing through: default deny both ways, and no rule that allows. */
export const closedPolicy: PolicySet = makePolicySet(() => ({ enforced: true, grants: [], conflicts: [] }), false);

function sorted(rules: Iterable<RuleUse>): RuleUse[] {
  return [...rules].sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
}

const nobody: CachedSelector = { key: "", matches: new Set() };
const noRules: SubjectClass = { number: 0, rules: [] };

const isOfNode = (id: NumericIdentity): boolean => id === Reserved.host;
const isOfNodes = ({ rule }: RuleUse): boolean => rule.ofNodes === true;

/** The node itself is the subject of host policies, and of these alone. */
function isSubject(use: RuleUse, id: NumericIdentity): boolean {
  return isOfNode(id) === isOfNodes(use) && use.subject.matches.has(id);
}

function toggle(rules: Set<RuleUse> | undefined, use: RuleUse): void {
  if (rules !== undefined && !rules.delete(use)) rules.add(use);
}

/** Subjects with equal keys have the same policy: besides the rules only names of their own ports and init matter. */
function sharingKey(of: SubjectClass, subject: KnownIdentity): string {
  const own = subject.identity.labels.filter((label) => label.source === "gen" || label.source === "reserved");
  return `${of.number} ${own.map((label) => `${label.source}:${label.key}=${label.value}`).join(",")}`;
}

/** Compares sets; of a pair that many subjects share the answer is kept. */
function createComparison(): (a: PolicySet, b: PolicySet) => boolean {
  const known = new Map<PolicySet, Map<PolicySet, boolean>>();
  return (a, b) => {
    const answers = known.get(a) ?? new Map<PolicySet, boolean>();
    known.set(a, answers);
    const answer = answers.get(b) ?? samePolicy(a, b);
    answers.set(b, answer);
    return answer;
  };
}

function collectPrefixes(rules: readonly Rule[]): Prefix[] {
  const byText = new Map<string, Prefix>();
  for (const { statements } of rules)
    for (const { peers } of statements)
      for (const peer of peers === "any" ? [] : peers)
        if (peer.kind === "cidr")
          for (const prefix of [peer.prefix, ...peer.except]) byText.set(formatPrefix(prefix), prefix);
  return [...byText.values()];
}

function isAnyone(peer: Peer): boolean {
  return peer.kind === "entity" && peer.entity === "all";
}

function hasName(list: Exclude<Statement["ports"], "any">[number]): boolean {
  return list.matches.some((match) => match.kind === "named");
}
