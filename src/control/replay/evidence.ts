/** What a recording shows of who talks to whom: allowed flows, summed up by workload, peer and port. */
import { filterLabels } from "#control/identity";
import type { World } from "#control/workbench";
import { formatAddress, type Labels, labelsKey, parseAddress, type ReservedName } from "#core/model";
import { classifyEnd } from "./ends.ts";
import { type RecordedEnd, type RecordedFlow, readFlowLine, type Unjudged } from "./flow.ts";
import { type LabelMap, selectableLabels } from "./separate.ts";

/** Pods that count as one: of one owner, or with labels that no policy tells apart. */
export interface SeenWorkload {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** The label sets that its pods have. */
  readonly identities: Map<string, LabelMap>;
}

/** Who is at the other end. */
export type SeenPeer =
  | { readonly kind: "workload"; readonly workload: SeenWorkload }
  | { readonly kind: "entity"; readonly name: ReservedName }
  | { readonly kind: "outside"; readonly address: string; readonly names: ReadonlySet<string> };

/** How well something is attested. */
export interface Attested {
  flows: number;
  /** Pods or addresses at the other end; stops at 1000. */
  readonly peers: Set<string>;
  firstMs: number | undefined;
  lastMs: number | undefined;
}

/** Flows of one workload with one peer in one direction on one port. */
export interface Edge extends Attested {
  readonly workload: SeenWorkload;
  readonly direction: "ingress" | "egress";
  readonly peer: SeenPeer;
  readonly peerKey: string;
  readonly protocol: number;
  readonly port: number;
  /** `METHOD target` -> how often; undefined: more than 5000 different ones. */
  requests: Map<string, number> | undefined;
  readonly services: Set<string>;
  readonly connection: Connection;
}

/** A connection, both sides together: it came through only if no side always denied it. */
interface Connection {
  readonly passed: Set<RecordedFlow["direction"]>;
  readonly denied: Set<RecordedFlow["direction"]>;
  /** Flows recorded as allowed. */
  flows: number;
}

/** Everything that was seen. */
export interface Evidence {
  readonly workloads: readonly SeenWorkload[];
  readonly edges: readonly Edge[];
  readonly flows: number;
  /** Flows behind the edges. */
  readonly used: number;
  readonly denied: number;
  readonly left: ReadonlyMap<Unjudged | "no-room", number>;
  readonly firstMs: number | undefined;
  readonly lastMs: number | undefined;
}

const [maxPeers, maxRequests, maxConnections] = [1000, 5000, 200_000];

/** Gathers evidence flow by flow. Memory is bounded; what finds no room is counted as `no-room`. */
export class EvidenceCollector {
  readonly #workloads = new Map<string, SeenWorkload>();
  readonly #byIdentity = new Map<string, SeenWorkload>();
  readonly #connections = new Map<string, Connection>();
  readonly #edges = new Map<string, Edge>();
  readonly #left = new Map<Unjudged | "no-room", number>();
  readonly #span: { firstMs: number | undefined; lastMs: number | undefined } = {
    firstMs: undefined,
    lastMs: undefined,
  };
  #flows = 0;
  #used = 0;
  #denied = 0;

  /** `world`: workloads that are there besides those that flows name; suggestions then tell them apart, too. */
  constructor(world?: World) {
    for (const group of world?.groups ?? [])
      for (const { kind, name, namespace } of group.workloads)
        this.#workload(namespace, name, `${kind}/${name}`, group.labels);
  }

  addLine(line: string): void {
    const read = readFlowLine(line);
    if (read === undefined) return;
    if (read.kind === "flow") return void this.add(read.flow);
    this.#flows += read.count;
    this.#leave(read.reason, read.count);
  }

  add(flow: RecordedFlow): void {
    this.#flows++;
    const source = this.#peer(flow.source);
    const destination = this.#peer(flow.destination);
    if (typeof source === "string") return void this.#leave(source);
    if (typeof destination === "string") return void this.#leave(destination);
    if (source.kind !== "workload" && destination.kind !== "workload") return void this.#leave("no-subject");
    const connection = this.#connection(`${keyOfPeer(source)}|${keyOfPeer(destination)}|${flow.protocol}|${flow.port}`);
    if (connection === undefined) return void this.#leave("no-room");
    if (flow.verdict === "denied") {
      this.#denied++;
      // A refused request says nothing about its connection.
      if (flow.http === undefined && flow.dns === undefined) connection.denied.add(flow.direction);
      return;
    }
    connection.passed.add(flow.direction);
    connection.flows++;
    this.#used++;
    stretch(this.#span, flow.timeMs);
    // A connection has to pass on both sides, whichever of them was recorded.
    if (source.kind === "workload")
      this.#add(source.workload, "egress", destination, flow, flow.destination, connection);
    if (destination.kind === "workload")
      this.#add(destination.workload, "ingress", source, flow, flow.source, connection);
  }

  result(): Evidence {
    const cameThrough = ({ passed, denied }: Connection) => [...denied].every((side) => passed.has(side));
    let stopped = 0;
    for (const connection of this.#connections.values()) if (!cameThrough(connection)) stopped += connection.flows;
    return {
      workloads: [...this.#workloads.values()],
      edges: [...this.#edges.values()].filter(({ connection }) => cameThrough(connection)),
      flows: this.#flows,
      used: this.#used - stopped,
      denied: this.#denied + stopped,
      left: this.#left,
      ...this.#span,
    };
  }

  #leave(reason: Unjudged | "no-room", count = 1): void {
    this.#left.set(reason, (this.#left.get(reason) ?? 0) + count);
  }

  #peer(end: RecordedEnd): SeenPeer | Unjudged {
    const is = classifyEnd(end);
    if (typeof is === "string") return is;
    switch (is.kind) {
      case "outside": {
        const address = parseAddress(end.address);
        return address === undefined
          ? "no-address"
          : { kind: "outside", address: formatAddress(address), names: new Set(end.names) };
      }
      case "entity":
        return is;
      case "workload": {
        const { workload, pod } = end;
        const labels = filterLabels(is.labels);
        const owner = workload === undefined ? labelsKey(labels) : `${workload.kind}/${workload.name}`;
        const name = is.name.slice(is.namespace.length + 1) || pod || "workload";
        return { kind: "workload", workload: this.#workload(is.namespace, name, owner, labels) };
      }
    }
  }

  #workload(namespace: string, name: string, owner: string, all: Labels): SeenWorkload {
    const labels = selectableLabels(all);
    const identity = `${namespace}/${[...labels].map((pair) => pair.join("=")).join(";")}`;
    const known = this.#byIdentity.get(identity);
    if (known !== undefined) return known;
    const key = `${namespace}/${owner}`;
    let workload = this.#workloads.get(key);
    if (workload === undefined) {
      workload = { key, namespace, name, identities: new Map() };
      this.#workloads.set(key, workload);
    }
    workload.identities.set(identity, labels);
    this.#byIdentity.set(identity, workload);
    return workload;
  }

  #connection(key: string): Connection | undefined {
    let known = this.#connections.get(key);
    if (known === undefined) {
      if (this.#connections.size >= maxConnections) return undefined;
      known = { passed: new Set(), denied: new Set(), flows: 0 };
      this.#connections.set(key, known);
    }
    return known;
  }

  #add(
    workload: SeenWorkload,
    direction: Edge["direction"],
    peer: SeenPeer,
    flow: RecordedFlow,
    end: RecordedEnd,
    connection: Connection,
  ): void {
    const { protocol, port, http, service } = flow;
    const peerKey = keyOfPeer(peer);
    const key = `${workload.key}|${direction}|${peerKey}|${protocol}|${port}`;
    let edge = this.#edges.get(key);
    if (edge === undefined) {
      const attested = { flows: 0, peers: new Set<string>(), firstMs: undefined, lastMs: undefined };
      const about = { workload, direction, peer, peerKey, protocol, port, connection };
      edge = { ...about, ...attested, requests: new Map(), services: new Set() };
      this.#edges.set(key, edge);
    }
    edge.flows++;
    stretch(edge, flow.timeMs);
    if (edge.peers.size < maxPeers) edge.peers.add(end.pod || end.address || peerKey);
    if (service !== undefined) edge.services.add(service);
    if (peer.kind === "outside" && edge.peer.kind === "outside" && edge.peer.names !== peer.names)
      for (const name of peer.names) (edge.peer.names as Set<string>).add(name);
    // Requests are rules of the side that judged them.
    if (http !== undefined && flow.direction === direction && edge.requests !== undefined) {
      const request = `${http.method} ${http.target}`;
      const count = edge.requests.get(request);
      if (count === undefined && edge.requests.size >= maxRequests) edge.requests = undefined;
      else edge.requests.set(request, (count ?? 0) + 1);
    }
  }
}

function keyOfPeer(peer: SeenPeer): string {
  switch (peer.kind) {
    case "workload":
      return peer.workload.key;
    case "entity":
      return `entity ${peer.name}`;
    case "outside":
      return peer.address;
  }
}

function stretch(span: { firstMs: number | undefined; lastMs: number | undefined }, timeMs: number | undefined): void {
  if (timeMs === undefined) return;
  if (span.firstMs === undefined || timeMs < span.firstMs) span.firstMs = timeMs;
  if (span.lastMs === undefined || timeMs > span.lastMs) span.lastMs = timeMs;
}
