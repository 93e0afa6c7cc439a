/** The agent's side of the L7 proxy: started when the first rule wants it, told every change, found again after either restarts. */
import { existsSync } from "node:fs";
import type { ProxyStatus } from "#contracts/agent";
import {
  type AccessLogRecord,
  connectProxy,
  type IpcacheEntry,
  type ProxyClient,
  type ProxyEndpoint,
  type PolicySet as ProxyPolicySet,
  type StateChange,
} from "#contracts/proxy";
import type { PolicySet } from "#control/policy";
import type { PolicySetId } from "#core/model";
import { type Logger, TsiliumError } from "#core/runtime";

/** An endpoint as the proxy shall know it, with the engine's own set. */
interface ProxyEndpointWanted extends Omit<ProxyEndpoint, "policySet"> {
  readonly policy: PolicySet;
}

/** What the proxy shall judge by. */
interface ProxyWanted {
  readonly endpoints: readonly ProxyEndpointWanted[];
  /** Prefix -> identity. */
  readonly ipcache: ReadonlyMap<string, IpcacheEntry["identity"]>;
}

/** The link. */
export interface ProxyLink {
  /** Port of its listeners; 0 while none is known. */
  readonly port: number;
  readonly status: ProxyStatus;
  /** Sees to it that a proxy runs; resolves when it is connected, or after `withinMs`. */
  ensure(withinMs: number): Promise<void>;
  /** Tells the proxy what changed; resolves when that is in force there, or at once if it is away (then it gets all of it when it is back). */
  publish(wanted: ProxyWanted): Promise<void>;
  close(): void;
}

/** How long a connected proxy may take to confirm before the kernel's side goes on without it. */
const commitMs = 2000;

/** Makes the link; a proxy of an earlier agent is connected to at once. */
export function createProxyLink(options: {
  readonly socketPath: string;
  readonly enabled: boolean;
  /** Starts a proxy; returns its pid. */
  readonly start: () => number | undefined;
  readonly onRecords: (records: readonly AccessLogRecord[], lost: number) => void;
  /** The port may have changed: redirects must be written anew. */
  readonly onConnected: () => void;
  readonly log: Logger;
}): ProxyLink {
  const { log } = options;
  let client: ProxyClient | undefined;
  let port = 0;
  let pid: number | undefined;
  let message: string | undefined;
  let waiting: (() => void)[] = [];
  let wanted = false;
  /** Whether somebody has waited for the connection in vain: the next ones don't. */
  let waitedInVain = false;
  let restart: NodeJS.Timeout | undefined;
  let restartMs = 100;
  let closed = false;

  // What was told last, and under which numbers the proxy knows the sets.
  const numbers = new Map<PolicySet, PolicySetId>();
  let lastNumber = 0;
  const endpoints = new Map<number, ProxyEndpointWanted>();
  const ipcache = new Map<string, IpcacheEntry["identity"]>();

  function connect(): void {
    client ??= connectProxy({
      path: options.socketPath,
      retryMs: 20,
      onRecords: options.onRecords,
      onIncompatible(other, reason) {
        // Its connections end with it; they would end anyway once their policy can't be told any more.
        log.warn({ pid: other, reason }, "proxy of another version replaced");
        message = reason;
        process.kill(other, "SIGTERM");
        pid = undefined;
        scheduleRestart();
      },
      onSession(welcome, reason) {
        if (welcome) {
          pid = welcome.pid;
          port = welcome.listeners[0]?.port ?? 0;
          message = undefined;
          restartMs = 100;
          waitedInVain = false;
          log.info({ pid, port }, "proxy connected");
          for (const done of waiting.splice(0)) done();
          options.onConnected();
        } else if (!closed) {
          message = reason ?? "the connection ended";
          log.warn({ pid, reason }, "proxy connection lost");
          scheduleRestart();
        }
      },
    });
  }

  /** A proxy that is only restarting its connection comes back by itself; one that is gone is started again. */
  function scheduleRestart(): void {
    if (!wanted || closed) return;
    clearTimeout(restart);
    restart = setTimeout(() => {
      if (client?.connected()) return;
      start();
      restartMs = Math.min(10_000, restartMs * 2);
      scheduleRestart();
    }, restartMs).unref();
  }

  function start(): void {
    if (isAlive(pid)) return;
    pid = options.start();
    if (pid === undefined) message = "the proxy could not be started";
    else log.info({ pid }, "proxy started");
  }

  /** Numbers for the sets in use now; forgets the others. */
  function renumber(now: ProxyWanted, changes: StateChange[]): void {
    const used = new Set(now.endpoints.map((endpoint) => endpoint.policy));
    for (const set of used) {
      if (numbers.has(set)) continue;
      const id = ++lastNumber as PolicySetId;
      numbers.set(set, id);
      const put: ProxyPolicySet = { id, filters: set.filters };
      changes.push({ kind: "put-set", set: put });
    }
  }

  function differences(now: ProxyWanted): StateChange[] {
    const changes: StateChange[] = [];
    renumber(now, changes);
    const entries: IpcacheEntry[] = [];
    for (const [prefix, identity] of now.ipcache) {
      if (ipcache.get(prefix) === identity) continue;
      ipcache.set(prefix, identity);
      entries.push({ prefix, identity });
    }
    if (entries.length > 0) changes.push({ kind: "put-ipcache", entries });
    const present = new Set<number>();
    for (const endpoint of now.endpoints) {
      present.add(endpoint.id);
      const before = endpoints.get(endpoint.id);
      if (before && before.policy === endpoint.policy && before.identity === endpoint.identity) continue;
      endpoints.set(endpoint.id, endpoint);
      const { policy, ...rest } = endpoint;
      changes.push({ kind: "put-endpoint", endpoint: { ...rest, policySet: numbers.get(policy)! } });
    }
    for (const { id } of [...endpoints.values()])
      if (!present.has(id)) {
        endpoints.delete(id);
        changes.push({ kind: "delete-endpoint", id });
      }
    const gone = [...ipcache.keys()].filter((prefix) => !now.ipcache.has(prefix));
    for (const prefix of gone) ipcache.delete(prefix);
    if (gone.length > 0) changes.push({ kind: "delete-ipcache", prefixes: gone });
    const used = new Set(now.endpoints.map((endpoint) => endpoint.policy));
    for (const [set, id] of numbers)
      if (!used.has(set)) {
        numbers.delete(set);
        changes.push({ kind: "delete-set", id });
      }
    return changes;
  }

  if (options.enabled && existsSync(options.socketPath)) connect();

  return {
    get port() {
      return port;
    },
    get status(): ProxyStatus {
      const facts = { ...(pid !== undefined && { pid }), ...(message !== undefined && { message }) };
      if (!options.enabled) return { state: "off", message: "switched off by --no-proxy" };
      if (client?.connected()) return { state: "connected", ...facts };
      if (!wanted) return { state: "off" };
      return { state: pid === undefined ? "failed" : port === 0 ? "starting" : "disconnected", ...facts };
    },
    async ensure(withinMs) {
      if (!options.enabled) return;
      wanted = true;
      if (client?.connected() || waitedInVain) return;
      connect();
      const connected = new Promise<void>((resolve) => waiting.push(resolve));
      // One that lives already needs a moment to greet; only then a new one is started.
      const soon = new Promise<void>((resolve) =>
        setTimeout(resolve, existsSync(options.socketPath) ? 200 : 0).unref(),
      );
      await Promise.race([connected, soon]);
      if (client?.connected()) return;
      start();
      scheduleRestart();
      const late = new Promise<void>((resolve) => setTimeout(resolve, withinMs).unref());
      await Promise.race([connected, late]);
      waitedInVain = !client?.connected();
    },
    async publish(now) {
      if (!client) return;
      const changes = differences(now);
      if (changes.length === 0) return;
      const commit = client.commit(changes).then(
        (result) => {
          if (result.kind === "applied") return;
          message = `the proxy refused a change: ${result.problems.map((p) => `${p.path}: ${p.message}`).join("; ")}`;
          log.error({ problems: result.problems }, "proxy refused a change; it keeps its former state");
        },
        (error: unknown) => {
          if (!(error instanceof TsiliumError && error.code === "PROXY_CLIENT_CLOSED")) throw error;
        },
      );
      if (!client.connected()) return;
      await Promise.race([commit, new Promise<void>((resolve) => setTimeout(resolve, commitMs).unref())]);
    },
    close() {
      closed = true;
      clearTimeout(restart);
      waiting = [];
      client?.close();
    },
  };
}

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ESRCH: it has ended
  }
}
