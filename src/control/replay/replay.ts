/**
 * Recorded flows against the policies of a world: which verdicts would change. Each record is one direction of a connection, and
 * is judged as such. Where nothing was recorded of a connection's other direction, that is taken to have been allowed, and a
 * policy that would deny it is a change, too. Memory is bounded however long the recording is: what repeats is counted.
 */
import { explainFlow, formatRuleRef, formatTransport, type RuleRef } from "#control/policy";
import {
  decidingRules,
  type HttpRequest,
  type JudgedDirection,
  judgeDirection,
  type RequestJudge,
  type World,
} from "#control/workbench";
import type { Direction, NumericIdentity } from "#core/model";
import { createEnds, type KnownEnd } from "./ends.ts";
import { type RecordedFlow, readFlowLine, type Unjudged, unjudgedTexts } from "./flow.ts";

/** One kind of flow whose verdict would change. */
export interface FlowChange {
  readonly kind: "gain" | "loss";
  readonly from: string;
  readonly to: string;
  /** `tcp/5432`, `icmp/8`. */
  readonly port: string;
  /** Of a request: `GET /orders`; of a DNS query: the name. */
  readonly request?: string;
  /** The side that changes its mind. */
  readonly direction: Direction;
  readonly count: number;
  /** Of the first and the last of them, in ms since 1970. */
  readonly firstMs?: number;
  readonly lastMs?: number;
  readonly before: { readonly verdict: "allowed" | "denied"; readonly rules: readonly string[] };
  readonly after: {
    readonly verdict: "allowed" | "denied";
    readonly rules: readonly PlacedRule[];
    /** What makes the verdict, for people: one thought a line. */
    readonly reasons: readonly string[];
  };
}

/** A rule with the place where it is written. */
export interface PlacedRule extends RuleRef {
  readonly place?: string;
}

/** What came of a recording. */
export interface ReplayResult {
  /** All flows, judged or not. */
  readonly flows: number;
  readonly judged: number;
  /** Judged flows whose verdict would change. */
  readonly changed: number;
  /** Losses before gains, the most frequent first. */
  readonly changes: readonly FlowChange[];
  /** Changed flows of kinds for which there was no room: counted in `changed`, not listed. */
  readonly unlisted: number;
  /** What could not be judged, or need not be. */
  readonly unjudged: readonly { readonly reason: Unjudged; readonly text: string; readonly count: number }[];
}

/** Takes flows one by one; `result` may be asked at any time. */
export interface Replay {
  /** A line of a recording; empty ones are passed over. */
  addLine(line: string): void;
  add(flow: RecordedFlow): void;
  result(): ReplayResult;
}

/** How much is kept. */
export interface ReplayOptions {
  readonly judge: RequestJudge;
  /** Kinds of changes that are listed; 10,000. */
  readonly maxChanges?: number;
  /** Connections (from, to, port) whose two directions are compared, and verdicts that are kept; 100,000. */
  readonly maxConnections?: number;
}

interface Kind {
  readonly flow: RecordedFlow;
  readonly from: KnownEnd;
  readonly to: KnownEnd;
  readonly direction: Direction;
  readonly kind: "gain" | "loss";
  readonly request?: string;
  readonly judged: Judged;
  readonly rules: Set<string>;
  count: number;
  firstMs: number | undefined;
  lastMs: number | undefined;
}

interface Judged {
  readonly outcome: "allowed" | "http" | "denied";
  readonly direction: JudgedDirection;
  /** Of a request: the rules, and what was wrong. */
  readonly reasons?: readonly string[];
}

/** What was recorded of one connection, both directions together. */
interface Connection {
  readonly flow: RecordedFlow;
  readonly from: KnownEnd;
  readonly to: KnownEnd;
  readonly seen: Set<Direction>;
  /** Flows recorded as allowed, by direction: all, and connections whose requests were not judged. */
  readonly passed: Record<Direction, number>;
  readonly plain: Record<Direction, number>;
  requests: boolean;
  firstMs: number | undefined;
  lastMs: number | undefined;
}

/** Judges flows by a world. */
export function createReplay(world: World, options: ReplayOptions): Replay {
  return new Replayer(world, options);
}

class Replayer implements Replay {
  readonly #world: World;
  readonly #judge: RequestJudge;
  readonly #ends: ReturnType<typeof createEnds>;
  readonly #maxChanges: number;
  readonly #maxConnections: number;
  readonly #verdicts = new Map<string, Judged | Unjudged>();
  readonly #kinds = new Map<string, Kind>();
  readonly #connections = new Map<string, Connection>();
  readonly #unjudged = new Map<Unjudged, number>();
  #flows = 0;
  #judged = 0;
  #changed = 0;
  #unlisted = 0;

  constructor(world: World, { judge, maxChanges = 10_000, maxConnections = 100_000 }: ReplayOptions) {
    this.#world = world;
    this.#judge = judge;
    this.#ends = createEnds(world);
    this.#maxChanges = maxChanges;
    this.#maxConnections = maxConnections;
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
    const from = this.#ends.find(flow.source);
    const to = this.#ends.find(flow.destination);
    if (typeof from === "string") return void this.#leave(from);
    if (typeof to === "string") return void this.#leave(to);
    const subject = flow.direction === "egress" ? from : to;
    if (subject.namespace === undefined) return void this.#leave("no-subject");
    this.#remember(flow, from, to);
    const judged = this.#verdictOf(flow, flow.direction, from, to);
    if (typeof judged === "string") return void this.#leave(judged);
    this.#judged++;
    const was = flow.verdict === "denied" ? "denied" : "allowed";
    const is = judged.outcome === "denied" ? "denied" : "allowed";
    if (was === is) return;
    // Let through on one side, it may still fail on the other: then it goes on being denied.
    if (is === "allowed" && this.#otherSide(flow, from, to)?.outcome === "denied") return;
    this.#change(flow, from, to, flow.direction, judged, is === "allowed" ? "gain" : "loss", 1);
  }

  result(): ReplayResult {
    let [changed, judged] = [this.#changed, this.#judged];
    const kinds = [...this.#kinds.values()].filter((kind) => {
      const known = this.#connections.get(connectionKey(kind.flow, kind.from, kind.to));
      const side = other(kind.direction);
      // What never came past the other side is denied as before, if for another reason.
      const passedNever = kind.kind === "loss" && known?.seen.has(side) && known.passed[side] === 0;
      if (passedNever) changed -= kind.count;
      return !passedNever;
    });
    const unjudged = new Map(this.#unjudged);
    const lost = new Set(
      kinds.filter(({ kind }) => kind === "loss").map(({ flow, from, to }) => connectionKey(flow, from, to)),
    );
    for (const [key, connection] of this.#connections) {
      for (const direction of ["egress", "ingress"] as const) {
        const outcome = this.#judgeKept(connection, direction);
        const { flow, from, to, seen, plain, passed, requests, firstMs, lastMs } = connection;
        if (outcome?.outcome === "http" && seen.has(direction) && !requests) {
          // The connection would be made; what would become of its requests nobody can tell.
          judged -= plain[direction];
          unjudged.set("no-requests", (unjudged.get("no-requests") ?? 0) + plain[direction]);
        }
        // Flows that their own direction loses are lost already.
        const count = passed[other(direction)];
        if (outcome?.outcome !== "denied" || seen.has(direction) || count === 0 || lost.has(key)) continue;
        changed += count;
        const base = { flow, from, to, direction, kind: "loss", judged: outcome, count, firstMs, lastMs } as const;
        kinds.push({ ...base, rules: new Set() });
      }
    }
    const order = { loss: 0, gain: 1 };
    return {
      flows: this.#flows,
      judged,
      changed,
      changes: kinds
        .sort((a, b) => order[a.kind] - order[b.kind] || b.count - a.count || (nameOf(a) < nameOf(b) ? -1 : 1))
        .map((kind) => this.#describe(kind)),
      unlisted: this.#unlisted,
      unjudged: [...unjudged]
        .filter(([, count]) => count > 0)
        .sort(([, a], [, b]) => b - a)
        .map(([reason, count]) => ({ reason, text: unjudgedTexts[reason], count })),
    };
  }

  #leave(reason: Unjudged, count = 1): void {
    this.#unjudged.set(reason, (this.#unjudged.get(reason) ?? 0) + count);
  }

  #remember(flow: RecordedFlow, from: KnownEnd, to: KnownEnd): void {
    const key = connectionKey(flow, from, to);
    let known = this.#connections.get(key);
    if (known === undefined) {
      if (this.#connections.size >= this.#maxConnections) return;
      const [passed, plain] = [
        { ingress: 0, egress: 0 },
        { ingress: 0, egress: 0 },
      ];
      const { timeMs } = flow;
      known = { flow, from, to, seen: new Set(), passed, plain, requests: false, firstMs: timeMs, lastMs: timeMs };
      this.#connections.set(key, known);
    }
    known.seen.add(flow.direction);
    if (flow.verdict !== "denied") known.passed[flow.direction]++;
    if (flow.http !== undefined || flow.dns !== undefined) known.requests = true;
    else if (flow.verdict === "allowed") known.plain[flow.direction]++;
    stretch(known, flow.timeMs);
  }

  /** The verdict on a connection's direction without requests, as in the kernel. */
  #judgeKept({ flow, from, to }: Connection, direction: Direction): Judged | undefined {
    const { http: _http, dns: _dns, ...plain } = flow;
    const judged = this.#verdictOf(plain, direction, from, to);
    return typeof judged === "string" ? undefined : judged;
  }

  #otherSide(flow: RecordedFlow, from: KnownEnd, to: KnownEnd): Judged | undefined {
    const judged = this.#verdictOf(flow, other(flow.direction), from, to);
    return typeof judged === "string" ? undefined : judged;
  }

  #verdictOf(flow: RecordedFlow, direction: Direction, from: KnownEnd, to: KnownEnd): Judged | Unjudged {
    const [subject, peer] = direction === "egress" ? [from, to] : [to, from];
    if (subject.namespace === undefined) return "no-subject";
    const { http } = flow;
    const headers = http?.headers === undefined ? "" : [...http.headers].map((pair) => pair.join(":")).join("\n");
    const request = http === undefined ? "" : `${http.method} ${http.host} ${http.target} ${headers}`;
    const key = `${direction} ${subject.identity} ${peer.identity} ${flow.protocol} ${flow.port} ${request} ${flow.dns?.query ?? ""}`;
    let known = this.#verdicts.get(key);
    if (known === undefined) {
      if (this.#verdicts.size >= this.#maxConnections) this.#verdicts.clear();
      known = this.#judgeAnew(flow, direction, subject.identity, peer.identity);
      this.#verdicts.set(key, known);
    }
    return known;
  }

  #judgeAnew(
    { protocol, port, http, dns }: RecordedFlow,
    side: Direction,
    subject: NumericIdentity,
    peer: NumericIdentity,
  ): Judged | Unjudged {
    const set = this.#world.engine.policyOf(subject);
    if (set === undefined) return "no-labels";
    const direction = judgeDirection(set, side, peer, protocol, port);
    const { outcome } = direction;
    const { entry, verdict } = direction.decision;
    if (verdict !== "REDIRECTED" || outcome === "allowed") return { outcome, direction };
    if (entry?.proxy !== "http" || dns !== undefined) return "no-judge";
    if (http === undefined) return { outcome, direction };
    const request: HttpRequest = { ...http, headers: http.headers ?? new Map() };
    const judged = this.#judge(set, side, peer, port, request);
    const asksHeaders = direction.http?.some(({ headers }) => (headers ?? []).length > 0) ?? false;
    if (!judged.allowed && asksHeaders && http.headers === undefined) return "no-headers";
    const refs = judged.rules.map(({ kind, namespace, name, path }) =>
      [kind, namespace === "" ? name : `${namespace}/${name}`, path].join(" "),
    );
    const reasons = judged.allowed
      ? refs.map((ref) => `the request is allowed by ${ref}`)
      : [
          `the request is refused: ${(judged.reason ?? "").replace(/^nearest rule: .*?: /, "")}`,
          ...refs.map((ref) => `nearest: ${ref}`),
        ];
    return { outcome: judged.allowed ? "allowed" : "denied", direction, reasons };
  }

  #change(
    flow: RecordedFlow,
    from: KnownEnd,
    to: KnownEnd,
    direction: Direction,
    judged: Judged,
    kind: "gain" | "loss",
    count: number,
  ): void {
    this.#changed += count;
    const request = flow.http === undefined ? flow.dns?.query : `${flow.http.method} ${flow.http.target}`;
    const key = `${kind} ${direction} ${connectionKey(flow, from, to)} ${request ?? ""}`;
    let known = this.#kinds.get(key);
    if (known === undefined) {
      if (this.#kinds.size >= this.#maxChanges) {
        this.#unlisted += count;
        return;
      }
      const base = { flow, from, to, direction, kind, judged, rules: new Set<string>(), count: 0 };
      known = { ...base, firstMs: undefined, lastMs: undefined, ...(request === undefined ? {} : { request }) };
      this.#kinds.set(key, known);
    }
    known.count += count;
    for (const rule of flow.rules) known.rules.add(rule);
    stretch(known, flow.timeMs);
  }

  #describe({ flow, from, to, direction, kind, judged, request, rules, count, firstMs, lastMs }: Kind): FlowChange {
    const [subject, peer] = direction === "egress" ? [from, to] : [to, from];
    const explanation = explainFlow(this.#world.engine, {
      subject: subject.identity,
      direction,
      peer: peer.identity,
      protocol: flow.protocol,
      port: flow.port,
    });
    const refs = decidingRules(judged.direction);
    const placed = (ref: RuleRef, path?: string): string => {
      const place = this.#world.place(ref, path);
      return place === undefined ? "" : ` (${place})`;
    };
    const reasons: string[] = [...(judged.reasons ?? [])];
    if (reasons.length === 0)
      switch (explanation.kind) {
        case "unenforced":
          reasons.push(`no policy selects ${subject.name} for ${direction}`);
          break;
        case "decided":
          for (const ref of refs)
            reasons.push(`${kind === "gain" ? "allowed" : "denied"} by ${formatRuleRef(ref)}${placed(ref)}`);
          break;
        case "default-deny": {
          for (const ref of explanation.enforcedBy)
            reasons.push(`no rule allows it; default deny because of ${formatRuleRef(ref)}${placed(ref)}`);
          const { nearest } = explanation;
          for (const { path, expected, found } of nearest?.mismatches ?? [])
            reasons.push(`nearest: ${path}${placed(nearest!.ref, path)}: expected ${expected}, found ${found}`);
        }
      }
    const was = kind === "gain" ? "denied" : "allowed";
    return {
      kind,
      from: from.name,
      to: to.name,
      port: formatTransport(flow),
      ...(request === undefined ? {} : { request }),
      direction,
      count,
      ...(firstMs === undefined ? {} : { firstMs }),
      ...(lastMs === undefined ? {} : { lastMs }),
      before: { verdict: was, rules: [...rules].sort() },
      after: {
        verdict: was === "denied" ? "allowed" : "denied",
        rules: refs.map((ref) => {
          const place = this.#world.place(ref);
          return place === undefined ? ref : { ...ref, place };
        }),
        reasons,
      },
    };
  }
}

const other = (direction: Direction): Direction => (direction === "egress" ? "ingress" : "egress");
const nameOf = ({ from, to, flow }: Kind) => `${to.name} ${flow.port} ${from.name}`;

function connectionKey({ protocol, port }: RecordedFlow, from: KnownEnd, to: KnownEnd): string {
  return `${from.identity} ${to.identity} ${protocol} ${port}`;
}

function stretch(span: { firstMs: number | undefined; lastMs: number | undefined }, timeMs: number | undefined): void {
  if (timeMs === undefined) return;
  if (span.firstMs === undefined || timeMs < span.firstMs) span.firstMs = timeMs;
  if (span.lastMs === undefined || timeMs > span.lastMs) span.lastMs = timeMs;
}
