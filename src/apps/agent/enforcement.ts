/**
 * Desired state -> what is in force, in the one order in which no packet gets a verdict that neither the old nor the new
 * state would give it:
 * 1. identities of prefixes that new rules name join the sets of the old rules, then the ipcache;
 * 2. the new rules' sets are switched on;
 * 3. prefixes that no rule names any more leave the ipcache, then the sets.
 * A round works off everything that changed up to its start; rounds never overlap.
 */

import { type Endpoint, endpointPrefixes } from "#control/endpoint";
import type { IpcachePlanRow, PrefixIdentities } from "#control/identity";
import { planIpcache } from "#control/identity";
import { type CidrGroup, type PolicyEngine, type PolicySet, type Rule, unenforcedPolicy } from "#control/policy";
import {
  type EndpointId,
  formatAddress,
  formatLabels,
  formatPrefix,
  hostPrefix,
  type Identity,
  type IpAddress,
  type NumericIdentity,
  type Prefix,
} from "#core/model";
import { errorMessage, type Logger, type ReadableTable, type Reconciler, Table } from "#core/runtime";
import type { EndpointRow, IpcacheRow } from "#datapath/reconcile";
import { kernelPolicy, needsProxy } from "./kernel-policy.ts";
import type { ProxyLink } from "./proxy-link.ts";
import type { RequestJudges } from "./request-judges.ts";
import { createWaitQueue, type WaitQueue } from "./wait-queue.ts";

/** One change of what policy computes from. */
type PolicyInput =
  | { readonly kind: "rules"; readonly key: string; readonly rules: readonly Rule[] | undefined }
  | { readonly kind: "group"; readonly name: string; readonly group: CidrGroup | undefined }
  | { readonly kind: "identity"; readonly identity: Identity }
  | { readonly kind: "identity-gone"; readonly id: NumericIdentity };

/** How the rows get into the kernel; given once everything was seen, so that the first round prunes the right things. */
export interface RowTargets {
  readonly endpoints: Reconciler<EndpointId>;
  readonly ipcache: Reconciler<string>;
}

/** The enforcement of policy on this node. */
export interface Enforcement {
  readonly endpointRows: ReadableTable<EndpointId, EndpointRow>;
  readonly ipcacheRows: ReadableTable<string, IpcacheRow>;
  /** Counts changes; `realised` follows `computed`. */
  readonly computed: number;
  readonly realised: number;
  readonly waiting: WaitQueue;
  /** Something that rows are made of changed: endpoints, the node's addresses, the proxy's port. */
  touch(): void;
  /** Takes changes; they are worked off in the next round. */
  tell(inputs: readonly PolicyInput[]): void;
  /** Begins with the first round; `start` makes the reconcilers when the tables are filled. */
  begin(start: () => RowTargets): void;
  /** The policy of an endpoint as computed last. */
  policyOf(endpoint: Endpoint): PolicySet | undefined;
  /** Identities of prefixes that rules name. */
  prefixIdentities(): readonly Identity[];
  /** Resolves when everything told up to now is in force, or was tried. */
  settled(timeoutMs: number): Promise<boolean>;
  /** Whether everything of an endpoint was carried to the kernel, or refused by it. */
  isCarried(endpoint: Endpoint): boolean;
}

/** What the enforcement reads. */
export interface EnforcementSources {
  readonly engine: PolicyEngine;
  readonly prefixes: PrefixIdentities;
  readonly endpoints: ReadableTable<EndpointId, Endpoint>;
  readonly nodeAddresses: () => readonly IpAddress[];
  readonly proxy: ProxyLink;
  readonly judges: RequestJudges;
  /** Called at the start of a round: the place to bring endpoints' labels and identities up to date. */
  readonly refresh: () => void;
  /** Called after each round. */
  readonly onRound: () => void;
  readonly log: Logger;
}

const proxyStartMs = 3000;

/** Nothing happens before `begin`. */
export function createEnforcement(sources: EnforcementSources): Enforcement {
  const { engine, prefixes, proxy, log } = sources;
  const endpointRows = new Table<EndpointId, EndpointRow>("endpoints", sameEndpointRow);
  const ipcacheRows = new Table<string, IpcacheRow>(
    "ipcache",
    (a, b) => a.identity === b.identity && a.endpointId === b.endpointId,
  );
  const waiting = createWaitQueue();
  const subjects = new Set<NumericIdentity>();
  let inputs: PolicyInput[] = [];
  let computed = 1;
  let realised = 0;
  let running = false;
  let expiry: NodeJS.Timeout | undefined;
  let begun = false;
  let targets: RowTargets | undefined;
  let start: (() => RowTargets) | undefined;

  const ready = (): (Endpoint & { identity: NumericIdentity; ifindex: number })[] => {
    const out = [];
    for (const endpoint of sources.endpoints.values()) {
      const { state, ifindex } = endpoint;
      if (state.kind === "ready" && ifindex !== undefined) out.push({ ...endpoint, ifindex, identity: state.identity });
    }
    return out;
  };

  /** Brings the engine's subjects in line with the endpoints. */
  function subscribe(): void {
    const wanted = new Set(ready().map((endpoint) => endpoint.identity));
    for (const id of subjects)
      if (!wanted.has(id)) {
        engine.removeSubject(id);
        subjects.delete(id);
      }
    for (const id of wanted) {
      if (subjects.has(id)) continue;
      engine.addSubject(id);
      subjects.add(id);
    }
  }

  const policyOf = (id: NumericIdentity): PolicySet => engine.policyOf(id) ?? unenforcedPolicy;

  function ipcachePlan(): Map<string, IpcachePlanRow> {
    return planIpcache({
      nodeAddresses: sources.nodeAddresses(),
      endpoints: ready().flatMap(({ ipv4, ipv6, identity, id }) =>
        [ipv4, ipv6]
          .filter((address) => address !== undefined)
          .map((address) => ({ prefix: hostPrefix(address), identity, endpointId: id })),
      ),
      prefixes: prefixes.list(),
    });
  }

  /** Computes what changed and writes sets: to the proxy first, so that it never gets a connection it knows no policy for. */
  async function writeSets(plan: ReadonlyMap<string, IpcachePlanRow>): Promise<void> {
    awaitExpiry(engine.setTime(Date.now()));
    engine.flush();
    const endpoints = ready();
    if (endpoints.some(({ identity }) => needsProxy(policyOf(identity))))
      await Promise.all([sources.judges.ready(), proxy.ensure(proxyStartMs)]);
    await proxy.publish({
      endpoints: endpoints.map(({ id, ipv4, ipv6, identity, labels, pod }) => ({
        id,
        ips: [ipv4, ipv6].filter((address) => address !== undefined).map(formatAddress),
        identity,
        labels: formatLabels(labels ?? []),
        podName: pod.name,
        namespace: pod.namespace,
        policy: policyOf(identity),
      })),
      ipcache: new Map([...plan].map(([prefix, row]) => [prefix, row.identity])),
    });
    const rows = new Map<EndpointId, EndpointRow>();
    for (const { id, ifindex, identity, mac, hostMac, ipv4, ipv6 } of endpoints) {
      const policy = kernelPolicy(policyOf(identity), proxy.port, sources.judges);
      rows.set(id, { ifindex, identity, mac, hostMac, ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }), policy });
    }
    endpointRows.replace(rows);
    await targets?.endpoints.settled();
  }

  /** Staged policies come in force by themselves when their time is up. */
  function awaitExpiry(atMs: number | undefined): void {
    clearTimeout(expiry);
    if (atMs === undefined) return;
    // A timer can't wait longer than 24 days: then it looks again.
    expiry = setTimeout(touch, Math.min(Math.max(1, atMs - Date.now()), 2 ** 31 - 1)).unref();
  }

  async function addToIpcache(plan: ReadonlyMap<string, IpcachePlanRow>): Promise<void> {
    for (const [prefix, row] of plan) ipcacheRows.set(prefix, row);
    await targets?.ipcache.settled();
  }

  async function removeFromIpcache(plan: ReadonlyMap<string, IpcachePlanRow>): Promise<void> {
    let removed = false;
    for (const prefix of [...ipcacheRows.entries()].map(([text]) => text)) {
      if (plan.has(prefix)) continue;
      ipcacheRows.delete(prefix);
      removed = true;
    }
    if (removed) await targets?.ipcache.settled();
  }

  function makePrefixesKnown(wanted: Iterable<Prefix>): { added: boolean; removed: readonly Identity[] } {
    const { added, removed } = prefixes.update(wanted);
    for (const identity of added) engine.upsertIdentity(identity);
    return { added: added.length > 0, removed };
  }

  async function round(): Promise<void> {
    const batch = inputs;
    inputs = [];
    for (const input of batch) {
      if (input.kind === "identity") engine.upsertIdentity(input.identity);
      if (input.kind === "identity-gone") engine.removeIdentity(input.id);
    }
    const ruleInputs = batch.filter((input) => input.kind === "rules");
    const groupInputs = batch.filter((input) => input.kind === "group");
    const newPrefixes = [
      ...ruleInputs.flatMap((input) => engine.prefixesOf(input.rules ?? [])),
      ...groupInputs.flatMap((input) => input.group?.prefixes ?? []),
    ];
    // Numbers taken over from an earlier agent.
    if (!targets) for (const identity of prefixes.list()) engine.upsertIdentity(identity);
    subscribe();
    if (targets && newPrefixes.length > 0) {
      const current = new Set(prefixes.list().map((identity) => identity.prefix));
      if (newPrefixes.some((prefix) => prefix.length > 0 && !current.has(formatPrefix(prefix)))) {
        makePrefixesKnown([...engine.neededPrefixes(), ...newPrefixes]);
        const plan = ipcachePlan();
        await writeSets(plan);
        await addToIpcache(plan);
      }
    }
    for (const { name, group } of groupInputs) {
      if (group) engine.upsertGroup(group);
      else engine.removeGroup(name);
    }
    for (const { key, rules } of ruleInputs) {
      if (rules) engine.upsertRules(key, rules);
      else engine.removeRules(key);
    }
    let gone: readonly Identity[] = [];
    if (ruleInputs.length + groupInputs.length > 0 || !targets) {
      const needed = engine.neededPrefixes();
      gone = makePrefixesKnown(needed).removed;
    }
    const plan = ipcachePlan();
    await writeSets(plan);
    await addToIpcache(plan);
    await removeFromIpcache(plan);
    if (gone.length > 0) {
      for (const { id } of gone) engine.removeIdentity(id);
      await writeSets(plan);
    }
    if (!targets && start) {
      targets = start();
      await Promise.all([targets.endpoints.settled(), targets.ipcache.settled()]);
    }
  }

  async function run(): Promise<void> {
    if (running || !begun) return;
    running = true;
    try {
      while (realised < computed) {
        // Writers of this turn are let finish: their changes go in one round.
        await Promise.resolve();
        sources.refresh();
        const target = computed;
        await round();
        realised = target;
        sources.onRound();
        waiting.notify();
      }
    } catch (error) {
      // A bug, not a refusal of the kernel (those are in the rows' status): going on would enforce something unknown.
      log.error({ error: errorMessage(error) }, "enforcement failed");
      queueMicrotask(() => {
        throw error;
      });
    } finally {
      running = false;
    }
  }

  const touch = () => {
    computed++;
    queueMicrotask(() => void run());
  };

  return {
    endpointRows,
    ipcacheRows,
    waiting,
    get computed() {
      return computed;
    },
    get realised() {
      return realised;
    },
    touch,
    tell(more) {
      inputs.push(...more);
      touch();
    },
    begin(startTargets) {
      start = startTargets;
      begun = true;
      touch();
    },
    policyOf: (endpoint) => (endpoint.state.kind === "ready" ? engine.policyOf(endpoint.state.identity) : undefined),
    prefixIdentities: () => prefixes.list(),
    isCarried(endpoint) {
      const tried = (status: { readonly kind: string } | undefined) =>
        status !== undefined && status.kind !== "pending";
      return (
        targets !== undefined &&
        tried(targets.endpoints.status.get(endpoint.id)) &&
        endpointPrefixes(endpoint).every((prefix) => tried(targets?.ipcache.status.get(prefix)))
      );
    },
    settled(timeoutMs) {
      const target = computed;
      return waiting.until(() => realised >= target, timeoutMs);
    },
  };
}

function sameEndpointRow(a: EndpointRow, b: EndpointRow): boolean {
  return (
    a.policy === b.policy &&
    a.identity === b.identity &&
    a.ifindex === b.ifindex &&
    a.mac === b.mac &&
    a.hostMac === b.hostMac &&
    a.ipv4 === b.ipv4 &&
    a.ipv6 === b.ipv6
  );
}
