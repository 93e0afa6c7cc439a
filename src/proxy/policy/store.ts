/** The state that requests are judged by, and how it changes: staged, checked, then applied at once. */

import type { MessageProblem, ProxyEndpoint, StateChange } from "#contracts/proxy";
import {
  formatAddress,
  type IpAddress,
  type NumericIdentity,
  type PolicySetId,
  parseAddress,
  parsePrefix,
} from "#core/model";
import { errorMessage } from "#core/runtime";
import { Ipcache } from "./ipcache.ts";
import { CompiledPolicySet } from "./policy-set.ts";

interface Tables {
  readonly sets: Map<PolicySetId, CompiledPolicySet>;
  readonly endpoints: Map<number, ProxyEndpoint>;
  /** By canonical text of the address. */
  readonly byAddress: Map<string, ProxyEndpoint>;
  readonly ipcache: Ipcache;
}

const emptyTables = (): Tables => ({
  sets: new Map(),
  endpoints: new Map(),
  byAddress: new Map(),
  ipcache: new Ipcache(),
});

/** Counts for status reports. */
export interface PolicySizes {
  readonly sets: number;
  readonly endpoints: number;
  readonly ipcacheEntries: number;
}

/** The state in force. Requests read it, one session at a time writes it. */
export class PolicyStore {
  #tables = emptyTables();
  #revision: number | undefined;
  /** Changes whenever anything does: cached decisions are good as long as it hasn't. */
  #version = 0;

  /** Revision of the last commit; undefined before the first: everything is denied. */
  get revision(): number | undefined {
    return this.#revision;
  }

  /** Compare with an earlier value to learn whether the state is still the same. */
  get version(): number {
    return this.#version;
  }

  get sizes(): PolicySizes {
    const { sets, endpoints, ipcache } = this.#tables;
    return { sets: sets.size, endpoints: endpoints.size, ipcacheEntries: ipcache.size };
  }

  set(id: PolicySetId): CompiledPolicySet | undefined {
    return this.#tables.sets.get(id);
  }

  /** The endpoint of this node that has the address. */
  endpoint(address: IpAddress): ProxyEndpoint | undefined {
    return this.#tables.byAddress.get(formatAddress(address));
  }

  identity(address: IpAddress): NumericIdentity {
    return this.#tables.ipcache.lookup(address);
  }

  /** Begins a session: its first commit replaces everything, the later ones change it. */
  session(): PolicySession {
    let first = true;
    let staged: StateChange[] = [];
    return {
      stage: (change) => {
        staged.push(change);
      },
      commit: (revision) => {
        const changes = staged;
        staged = [];
        const problems: MessageProblem[] = [];
        const steps = changes.map((change) => prepareChecked(change, problems));
        if (problems.length > 0) return problems;
        const tables = first ? emptyTables() : this.#tables;
        first = false;
        for (const step of steps) step(tables);
        this.#tables = tables;
        this.#revision = revision;
        this.#version++;
        return [];
      },
    };
  }
}

/** One writer's changes. */
export interface PolicySession {
  /** Takes note of a change; nothing happens before the commit. */
  stage(change: StateChange): void;
  /** Applies all staged changes at once, or none: then all problems are returned, and the changes are forgotten. */
  commit(revision: number): readonly MessageProblem[];
}

/** As `prepare`, for a change whose form nobody has checked in depth: what it trips over is a problem of the change. */
function prepareChecked(change: StateChange, problems: MessageProblem[]): (tables: Tables) => void {
  try {
    return prepare(change, problems);
  } catch (error) {
    problems.push({ path: change.kind, message: `not of the expected form: ${errorMessage(error)}` });
    return () => undefined;
  }
}

/** Does everything of a change that can fail, and returns the step that can't. */
function prepare(change: StateChange, problems: MessageProblem[]): (tables: Tables) => void {
  switch (change.kind) {
    case "put-set": {
      const compiled = CompiledPolicySet.compile(change.set, problems);
      return ({ sets }) => sets.set(change.set.id, compiled);
    }
    case "delete-set":
      return ({ sets }) => sets.delete(change.id);
    case "put-endpoint": {
      const addresses = change.endpoint.ips.map((ip) => parseAddress(ip));
      for (const [i, address] of addresses.entries()) {
        if (address === undefined)
          problems.push({
            path: `endpoints[${change.endpoint.id}].ips[${i}]`,
            message: `not an address: ${change.endpoint.ips[i]}`,
          });
      }
      return (tables) => {
        removeEndpoint(tables, change.endpoint.id);
        tables.endpoints.set(change.endpoint.id, change.endpoint);
        for (const address of addresses) tables.byAddress.set(formatAddress(address!), change.endpoint);
      };
    }
    case "delete-endpoint":
      return (tables) => removeEndpoint(tables, change.id);
    case "put-ipcache": {
      const entries = change.entries.map(({ prefix, identity }) => ({
        prefix: checkedPrefix(prefix, problems),
        identity,
      }));
      return ({ ipcache }) => {
        for (const { prefix, identity } of entries) ipcache.put(prefix!, identity);
      };
    }
    case "delete-ipcache": {
      const prefixes = change.prefixes.map((prefix) => checkedPrefix(prefix, problems));
      return ({ ipcache }) => {
        for (const prefix of prefixes) ipcache.delete(prefix!);
      };
    }
  }
}

function checkedPrefix(text: string, problems: MessageProblem[]) {
  const prefix = parsePrefix(text);
  if (prefix === undefined) problems.push({ path: `ipcache[${text}]`, message: "not a prefix" });
  return prefix;
}

function removeEndpoint({ endpoints, byAddress }: Tables, id: number): void {
  const old = endpoints.get(id);
  if (old === undefined) return;
  endpoints.delete(id);
  // An address may have gone to another endpoint meanwhile; that one keeps it.
  for (const [address, endpoint] of byAddress) if (endpoint === old) byAddress.delete(address);
}
