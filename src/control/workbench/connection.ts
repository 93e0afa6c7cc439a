/** One connection, judged as the node judges it: egress of its source, ingress of its destination, requests by the proxy. */
import type { HttpRule } from "#contracts/proxy";
import {
  type ComparedStatement,
  compareStatements,
  type Decision,
  decide,
  type ExplainedFlow,
  type Explanation,
  explainFlow,
  type PolicySet,
  type Remedy,
  smallestPolicy,
  unenforcedPolicy,
} from "#control/policy";
import { type Direction, type NumericIdentity, protocolNumbers } from "#core/model";
import { type JudgePlace, placeOf } from "./judge-place.ts";
import type { Party } from "./party.ts";
import type { World } from "./world.ts";

/** What becomes of a connection. `http`: it is made, and each request is judged by rules. */
export type Outcome = "allowed" | "http" | "denied";

/** One direction of a connection, without its reasons. */
export interface JudgedDirection {
  readonly direction: Direction;
  readonly outcome: Outcome;
  readonly decision: Decision;
  readonly set: PolicySet;
  /** With `http`: the requests that pass. */
  readonly http?: readonly HttpRule[];
}

/** An HTTP request as a client sends it. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly host: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** The proxy's answer to a request. */
export interface RequestVerdict {
  readonly allowed: boolean;
  /** Fields of rules that allow it (`spec.ingress[0].toPorts[0].rules.http[0]`), or of the one that came nearest. */
  readonly rules: readonly {
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
    readonly path: string;
  }[];
  /** Of a denial, in words. */
  readonly reason?: string;
}

/** Judges requests; wired to the proxy's own judge, so that both always agree. */
export type RequestJudge = (
  set: PolicySet,
  direction: Direction,
  peer: NumericIdentity,
  port: number,
  request: HttpRequest,
) => RequestVerdict;

/** What is asked. */
export interface Question {
  readonly from: Party;
  readonly to: Party;
  readonly protocol: number;
  /** Destination port; ICMP: type. */
  readonly port: number;
  readonly request?: HttpRequest;
}

/** One direction with its reasons. */
export interface ExplainedDirection {
  readonly direction: Direction;
  readonly subject: Party;
  readonly outcome: Outcome;
  readonly explanation: Explanation;
  /** What every rule about the subject says on this connection. */
  readonly statements: readonly ComparedStatement[];
  /** Of the request, where HTTP rules decide. */
  readonly request?: RequestVerdict;
  /** Who judges requests, where HTTP rules decide. */
  readonly place?: JudgePlace;
  /** What would allow it, where nothing forbids it. */
  readonly remedy?: Remedy;
}

/** The answer. A side that is no workload is judged by no policy, so there may be one direction, or none. */
export interface ExplainedConnection {
  readonly question: Question;
  readonly outcome: Outcome;
  readonly directions: readonly ExplainedDirection[];
}

/** Judges a connection; an empty list: neither side is a workload. */
export function judgeConnection(
  world: World,
  from: Pick<Party, "identity" | "namespace">,
  to: Pick<Party, "identity" | "namespace">,
  protocol: number,
  port: number,
): JudgedDirection[] {
  const out: JudgedDirection[] = [];
  const setOf = (id: NumericIdentity) => world.engine.policyOf(id) ?? unenforcedPolicy;
  if (from.namespace !== undefined)
    out.push(judgeDirection(setOf(from.identity), "egress", to.identity, protocol, port));
  if (to.namespace !== undefined)
    out.push(judgeDirection(setOf(to.identity), "ingress", from.identity, protocol, port));
  return out;
}

/** Judges one direction by the policy of its subject. */
export function judgeDirection(
  set: PolicySet,
  direction: Direction,
  peer: NumericIdentity,
  protocol: number,
  port: number,
): JudgedDirection {
  const decision = decide(set, direction, peer, protocol, port);
  const base = { direction, decision, set };
  switch (decision.verdict) {
    case "FORWARDED":
    case "AUDIT":
      return { ...base, outcome: "allowed" };
    case "REDIRECTED": {
      const http = requestsOf(set, direction, peer, port);
      return http === "any" ? { ...base, outcome: "allowed" } : { ...base, outcome: "http", http };
    }
    default:
      return { ...base, outcome: "denied" };
  }
}

/** The requests that the proxy lets pass: of the filters in the highest tier that match, any allow admits all. */
function requestsOf(
  set: PolicySet,
  direction: Direction,
  peer: NumericIdentity,
  port: number,
): "any" | readonly HttpRule[] {
  const matching = set.filters.filter(
    (filter) =>
      filter.direction === direction &&
      filter.protocol !== "UDP" &&
      (filter.peers === "any" || filter.peers.includes(peer)) &&
      (filter.port === 0 || (port >= filter.port && port <= (filter.endPort ?? filter.port))),
  );
  const tier = Math.max(...matching.map(({ precedence }) => precedence >>> 8));
  const top = matching.filter(({ precedence }) => precedence >>> 8 === tier);
  if (top.some(({ kind }) => kind === "allow")) return "any";
  return top.flatMap(({ l7 }) => (l7?.protocol === "http" ? l7.rules : []));
}

/** The outcome of both directions together. */
export function combine(directions: readonly { readonly outcome: Outcome }[]): Outcome {
  if (directions.some(({ outcome }) => outcome === "denied")) return "denied";
  return directions.some(({ outcome }) => outcome === "http") ? "http" : "allowed";
}

/** Explains a connection, and the request on it if one is given. */
export function explainConnection(world: World, question: Question, judge: RequestJudge): ExplainedConnection {
  const { from, to, protocol, port } = question;
  const both = judgeConnection(world, from, to, protocol, port);
  const directions = both.map((judged): ExplainedDirection => {
    const [subject, peer] = judged.direction === "egress" ? [from, to] : [to, from];
    const request = protocol === protocolNumbers.TCP ? question.request : undefined;
    const flow: ExplainedFlow = {
      subject: subject.identity,
      direction: judged.direction,
      peer: peer.identity,
      protocol,
      port,
      ...(peer.address === undefined ? {} : { peerAddress: peer.address }),
      ...(request === undefined ? {} : { request }),
    };
    const explanation = explainFlow(world.engine, flow);
    const verdict =
      request === undefined || judged.decision.verdict !== "REDIRECTED"
        ? undefined
        : judge(judged.set, judged.direction, peer.identity, port, request);
    const place = placeOf(judged.decision, judged.set, both.find((one) => one !== judged)?.decision);
    const outcome = verdict === undefined ? judged.outcome : verdict.allowed ? "allowed" : "denied";
    const remedy =
      explanation.kind === "default-deny"
        ? explanation.remedy
        : verdict?.allowed === false
          ? smallestPolicy(world.engine, flow)
          : undefined;
    return {
      direction: judged.direction,
      subject,
      outcome,
      explanation,
      statements: compareStatements(world.engine, flow),
      ...(verdict === undefined ? {} : { request: verdict }),
      ...(place === undefined ? {} : { place }),
      ...(remedy === undefined ? {} : { remedy }),
    };
  });
  return { question, outcome: combine(directions), directions };
}
