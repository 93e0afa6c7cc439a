/** All connections of a proxy: takes accepted sockets, sweeps time-outs, counts, drains. */
import type { Socket } from "node:net";
import { parseAddress } from "#core/model";
import { systemClock, type Timer } from "#core/runtime";
import { ConnectionPolicy } from "#proxy/policy";
import { ConnectionLog } from "./access-log.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import type { ConnectionEnds, SocketAddress } from "./ends.ts";
import { defaultLimits, type ListenerLimits, type ListenerOptions } from "./options.ts";

/** Numbers of a listener. */
export interface ListenerStatus {
  readonly connections: number;
  readonly acceptedTotal: number;
  readonly permittedTotal: number;
  readonly deniedTotal: number;
  readonly malformedTotal: number;
  /** How many connections are in which state, as `requests/server`. */
  readonly states: Readonly<Record<string, number>>;
}

/** Takes connections and lets pass what policy allows. */
export interface Listener {
  /** Takes over an accepted socket (half-open allowed). Resets it if nobody redirected it here, or there are too many. */
  accept(socket: Socket): void;
  status(): ListenerStatus;
  /** Ends each connection when nothing is under way on it, and after `graceMs` those that are left; resolves when none is. */
  drain(graceMs: number): Promise<void>;
}

/** How often time-outs are looked at. */
const sweepMs = 250;

/** Makes a listener; it runs until `drain`. */
export function createListener(options: ListenerOptions): Listener {
  return new ConnectionTable(options);
}

class ConnectionTable implements Listener, ConnectionHost {
  readonly limits: ListenerLimits;
  readonly counters = { permittedTotal: 0, deniedTotal: 0, malformedTotal: 0 };
  readonly connectUpstream: ListenerOptions["connectUpstream"];
  nowMs: number;
  readonly #options: ListenerOptions;
  readonly #connections = new Set<Connection>();
  #acceptedTotal = 0;
  #sweep: Timer | undefined;
  #drained: (() => void) | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.limits = { ...defaultLimits, ...options.limits };
    this.connectUpstream = options.connectUpstream;
    this.nowMs = this.#clock.monotonicMs();
  }

  get #clock() {
    return this.#options.clock ?? systemClock;
  }

  accept(socket: Socket): void {
    const destination = this.#options.originalDestination(socket);
    const ends = destination && endsOf(socket, destination);
    if (ends === undefined || this.#drained !== undefined || this.#connections.size >= this.limits.connections) {
      // A peer that has gone already needs no answer, and its errors interest nobody.
      socket.on("error", () => socket.destroy());
      socket.resetAndDestroy();
      return;
    }
    if (this.#connections.size === 0) this.#startSweep();
    const id = ++this.#acceptedTotal;
    const { policy: store, log } = this.#options;
    const source = parseAddress(ends.source.address)!;
    const policy = new ConnectionPolicy(store, source, parseAddress(ends.destination.address)!, ends.destination.port);
    this.#connections.add(new Connection(this, socket, ends, policy, new ConnectionLog(log, policy, ends, id)));
  }

  status(): ListenerStatus {
    const states: Record<string, number> = {};
    for (const connection of this.#connections) states[connection.stateName] = (states[connection.stateName] ?? 0) + 1;
    return { connections: this.#connections.size, acceptedTotal: this.#acceptedTotal, ...this.counters, states };
  }

  drain(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      for (const connection of this.#connections) connection.closeWhenIdle();
      if (this.#connections.size === 0) resolve();
      else
        this.#clock.after(graceMs, () => {
          for (const connection of this.#connections) connection.abort();
        });
    });
  }

  onClosed = (connection: Connection): void => {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    this.#sweep?.cancel();
    this.#drained?.();
  };

  #startSweep(): void {
    this.nowMs = this.#clock.monotonicMs();
    this.#sweep = this.#clock.after(sweepMs, () => {
      if (this.#connections.size === 0) return;
      this.nowMs = this.#clock.monotonicMs();
      for (const connection of this.#connections) connection.check();
      this.#startSweep();
    });
  }
}

/** The ends of a connection in canonical text; undefined if the client has gone already. */
function endsOf(socket: Socket, destination: SocketAddress): ConnectionEnds | undefined {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  const source = { address: unmapped(remoteAddress), port: remotePort };
  if (!parseAddress(source.address) || !parseAddress(unmapped(destination.address))) return undefined;
  return { source, destination: { address: unmapped(destination.address), port: destination.port } };
}

/** A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d; policy knows them by their IPv4 address. */
const unmapped = (address: string): string =>
  address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
