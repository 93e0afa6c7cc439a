/** Judges an HTTP request by the code that judges it on a node: the proxy's. */
import type { RequestJudge } from "#control/workbench";
import { type EndpointId, type NumericIdentity, type PolicySetId, parseAddress } from "#core/model";
import { ConnectionPolicy, PolicyStore } from "#proxy/policy";

// Of RFC 5737: the proxy knows endpoints and peers by their addresses, and here there are none.
const subjectAddress = "192.0.2.1";
const peerAddress = "192.0.2.2";

/** One direction at a time: the other side is no endpoint here. */
export const judgeRequest: RequestJudge = (set, direction, peer, port, request) => {
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
  const policy =
    direction === "egress"
      ? new ConnectionPolicy(store, own, other, port)
      : new ConnectionPolicy(store, other, own, port);
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
