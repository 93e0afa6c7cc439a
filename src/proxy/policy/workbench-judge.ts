/** The proxy's judge of requests, for questions instead of connections. */

import type { PolicySet } from "#control/policy";
import type { RequestJudge } from "#control/workbench";
import { type Direction, type EndpointId, type NumericIdentity, type PolicySetId, parseAddress } from "#core/model";
import { ConnectionPolicy } from "./judge.ts";
import { PolicyStore } from "./store.ts";

// Of RFC 5737: the proxy knows endpoints and peers by their addresses, and here there are none.
const subjectAddress = "192.0.2.1";
const peerAddress = "192.0.2.2";

/** Policies of connections that were asked about, by set: recordings ask the same again and again. */
const asked = new WeakMap<PolicySet, Map<string, ConnectionPolicy>>();

/** Judges a request by the code that judges it on a node. One direction at a time: the other side is no endpoint here. */
export const judgeRequest: RequestJudge = (set, direction, peer, port, request) => {
  let known = asked.get(set);
  if (known === undefined) {
    known = new Map();
    asked.set(set, known);
  }
  const key = `${direction} ${peer} ${port}`;
  let policy = known.get(key);
  if (policy === undefined) {
    policy = connectionPolicy(set, direction, peer, port);
    known.set(key, policy);
  }
  const { headers, ...line } = request;
  const verdict = policy.judge({
    ...line,
    minorVersion: 1,
    framing: { kind: "none" },
    keepAlive: true,
    expectsContinue: false,
    upgrade: headers.get("upgrade"),
    header: (name) => headers.get(name),
  });
  if (verdict.kind === "permit") return { allowed: true, rules: verdict.rules };
  return {
    allowed: false,
    rules: verdict.nearest === undefined ? verdict.rules : [verdict.nearest.ref],
    reason: verdict.reason,
  };
};

function connectionPolicy(set: PolicySet, direction: Direction, peer: NumericIdentity, port: number): ConnectionPolicy {
  const store = new PolicyStore();
  const session = store.session();
  const id = 1 as PolicySetId;
  session.stage({ kind: "put-set", set: { id, filters: set.filters } });
  const subject = { labels: [], podName: "", namespace: "" };
  session.stage({
    kind: "put-endpoint",
    endpoint: { id: 1 as EndpointId, ips: [subjectAddress], identity: 1 as NumericIdentity, policySet: id, ...subject },
  });
  session.stage({ kind: "put-ipcache", entries: [{ prefix: `${peerAddress}/32`, identity: peer }] });
  session.commit(1);
  const own = parseAddress(subjectAddress)!;
  const other = parseAddress(peerAddress)!;
  return direction === "egress"
    ? new ConnectionPolicy(store, own, other, port)
    : new ConnectionPolicy(store, other, own, port);
}
