/** The second oracle: the programs in the kernel, on maps filled from the engine's entries by the agent's own conversion. */
import assert from "node:assert/strict";
import { createRequestJudges, kernelPolicy } from "#apps/agent/testing";
import {
  Direction,
  DropReason,
  EventFlags,
  EventType,
  PolicyMatch,
  SkbMark,
  Verdict,
  type VerdictEvent,
} from "#contracts/bpf";
import { type Decision, type PolicyMatch as MatchName, unenforcedPolicy } from "#control/policy";
import { type EndpointId, formatAddress, protocolNumbers } from "#core/model";
import { type PacketLayers, packet } from "../packet/index.ts";
import { type DatapathRig, type Outcome, type RigDevice, TcAction } from "../packet/rig.ts";
import type { CaseFile, CaseFlow, CaseParty } from "./case-file.ts";
import { addressOfParty, identityOfParty, judgementsOf, type LoadedCase } from "./run-case.ts";

/** Ranges of the pods in all case files. */
export const casePods = ["10.0.1.0/24", "fd00:1::/64"] as const;

/**
 * A test run is not at the ingress hook of a device, so the kernel refuses `bpf_sk_assign`. That it was tried proves that the
 * packet was on its way to the proxy's listener.
 */
const assignRefusedInTestRun = DropReason.PROXY_ASSIGN_FAILED;

const matchCodes: Readonly<Record<MatchName, number>> = {
  none: PolicyMatch.NONE,
  "l3-only": PolicyMatch.L3,
  "l3-l4": PolicyMatch.L3_L4,
  "l4-only": PolicyMatch.L4,
  all: PolicyMatch.ALL,
  "l3-proto": PolicyMatch.L3_PROTO,
  "proto-only": PolicyMatch.PROTO,
};

/** Here connections are judged, not requests: those are the proxy's. */
const judges = createRequestJudges(() => "packets only");

/** Brings the maps to a case. Connections live on. `proxyPort`: where redirects lead; the rig's listener by default. */
export async function loadIntoKernel(
  rig: DatapathRig,
  file: CaseFile,
  loaded: LoadedCase,
  proxyPort = rig.proxyPort,
): Promise<void> {
  const endpoints = file.endpoints.map(({ identity, ips }) => ({
    identity,
    ips,
    policy: kernelPolicy(loaded.engine.policyOf(identity) ?? unenforcedPolicy, proxyPort, judges),
  }));
  await rig.reconcile({ endpoints, prefixes: loaded.prefixes });
}

/** Where a packet meets a program. */
interface Place {
  readonly hook: "from_endpoint" | "to_endpoint" | "from_network";
  readonly device: RigDevice;
  /** For packets that the host forwards. */
  readonly from?: RigDevice;
}

/** A flow in a case in the kernel. */
interface Scene {
  readonly rig: DatapathRig;
  readonly loaded: LoadedCase;
  readonly file: CaseFile;
  readonly flow: CaseFlow;
}

let lastPort = 40_000;

/**
 * Sends the first packet of a flow, the same once more, and an answer; throws an assertion error where the kernel does not do
 * what the case says, or what the engine decides at each of the two steps.
 */
export function checkFlow(rig: DatapathRig, loaded: LoadedCase, file: CaseFile, flow: CaseFlow): void {
  const scene = { rig, loaded, file, flow };
  for (const place of placesOf(scene, flow.from, flow.to)) {
    lastPort = lastPort === 60_000 ? 40_000 : lastPort + 1;
    checkConnection(scene, place, lastPort);
  }
}

/** Endpoints are numbered from 1 in the order of the case. */
function endpointIdOf(file: CaseFile, party: CaseParty): EndpointId {
  const index = party.kind === "endpoint" ? file.endpoints.findIndex(({ name }) => name === party.name) : -1;
  return (index + 1) as EndpointId;
}

/** Where a packet from one party to another is judged. What comes from outside meets either of two hooks. */
function placesOf({ rig, file }: Scene, from: CaseParty, to: CaseParty): readonly Place[] {
  const device = (party: CaseParty) => rig.endpoints[endpointIdOf(file, party) - 1]!;
  if (from.kind === "endpoint") return [{ hook: "from_endpoint", device: device(from) }];
  if (to.kind !== "endpoint") throw new Error("a flow needs an endpoint");
  if (from.kind === "host") return [{ hook: "to_endpoint", device: device(to) }];
  return [
    { hook: "to_endpoint", device: device(to), from: rig.world },
    { hook: "from_network", device: rig.world },
  ];
}

function checkConnection(scene: Scene, place: Place, port: number): void {
  const { rig, flow } = scene;
  const run = (at: Place, layers: PacketLayers) =>
    rig.run(at.hook, at.device, packet({ ethernet: frameAt(at), ...layers }), at.from && { from: at.from });
  const say = (what: string) => `line ${flow.line}: ${flow.text}: ${what} at ${place.hook}`;

  const expected = expectEvents(scene);
  const last = expected.at(-1);
  checkAgainstCase(scene, last, say("the engine's decision"));
  const first = run(place, layersOf(scene, port, false));
  const verdicts = first.events.filter(({ type }) => type === EventType.VERDICT);
  assert.deepEqual(verdicts.map(picked), expected.map(picked), say("events of the first packet"));
  const isProxied =
    judgementsOf(scene.loaded, scene.file, flow).some(({ decision }) => decision.entry?.proxy !== undefined) &&
    last?.verdict !== Verdict.DROPPED;
  checkPassage(scene, place, first, last, isProxied, say("the first packet"));
  if (!opensConnection(flow)) return;

  const second = run(place, layersOf(scene, port, false));
  const repeated = second.events.filter(({ type }) => type === EventType.VERDICT).map(picked);
  assert.deepEqual(
    repeated,
    last?.verdict === Verdict.DROPPED ? expected.map(picked) : [],
    say("events of the second"),
  );
  checkPassage(scene, place, second, last, isProxied, say("the second packet"));
  if (last?.verdict === Verdict.DROPPED) return;

  for (const back of placesOf(scene, flow.to, flow.from)) {
    const reply = run(back, layersOf(scene, port, true));
    // Whoever is not the proxy has no business on a connection that ends there.
    const refused = isProxied && !(flow.to.kind === "host");
    assert.deepEqual(
      reply.events.map(({ reason }) => reason),
      refused ? [DropReason.INVALID_SOURCE_IP] : [],
      say(`events of the reply at ${back.hook}`),
    );
    const onward = flow.from.kind === "endpoint" && back.hook !== "to_endpoint" ? TcAction.REDIRECT : TcAction.OK;
    assert.equal(reply.action, refused ? TcAction.SHOT : onward, say(`the reply at ${back.hook}`));
  }
}

/** The part of an event that a case determines. */
function picked(event: Expected) {
  const { subject, verdict, reason, direction, match, srcIdentity, dstIdentity, protocol, policyCookie, flags } = event;
  return { subject, verdict, reason, direction, match, srcIdentity, dstIdentity, protocol, policyCookie, flags };
}

type Expected = Pick<
  VerdictEvent,
  | "subject"
  | "verdict"
  | "reason"
  | "direction"
  | "match"
  | "srcIdentity"
  | "dstIdentity"
  | "protocol"
  | "policyCookie"
  | "flags"
>;

/** One event for each judgement. */
function expectEvents({ loaded, file, flow }: Scene): Expected[] {
  return judgementsOf(loaded, file, flow).map(({ direction, decision }) => ({
    subject: endpointIdOf(file, direction === "ingress" ? flow.to : flow.from),
    verdict: Verdict[decision.verdict],
    reason: reasonOf(decision),
    direction: direction === "ingress" ? Direction.INGRESS : Direction.EGRESS,
    match: matchCodes[decision.match],
    srcIdentity: identityOfParty(flow.from, flow, loaded, file),
    dstIdentity: identityOfParty(flow.to, flow, loaded, file),
    protocol: flow.protocol,
    policyCookie: decision.entry?.cookie ?? 0,
    flags: decision.entry?.unenforced ? EventFlags.UNENFORCED : 0,
  }));
}

function reasonOf({ verdict, reason }: Decision): number {
  return verdict === "DROPPED" && reason !== undefined ? DropReason[reason] : DropReason.NONE;
}

/** The kernel knows nothing of requests: to it they are connections for the proxy. */
function checkAgainstCase({ flow }: Scene, last: Expected | undefined, message: string): void {
  if (flow.request.kind === "http" && last?.verdict === Verdict.REDIRECTED) {
    assert.match(`${flow.verdict} ${flow.reason}`, /^(FORWARDED |DROPPED http 403)$/, message);
    return;
  }
  if (flow.reason === "http 403" || (flow.request.kind === "http" && flow.verdict === "FORWARDED")) return;
  const reason = flow.reason === "" ? DropReason.NONE : DropReason[flow.reason as keyof typeof DropReason];
  if (flow.verdict !== "REDIRECTED")
    assert.deepEqual(
      { verdict: last?.verdict, reason: last?.reason },
      { verdict: Verdict[flow.verdict], reason },
      message,
    );
}

function checkPassage(
  { flow }: Scene,
  place: Place,
  outcome: Outcome,
  last: Expected | undefined,
  isProxied: boolean,
  message: string,
): void {
  const drops = outcome.events.filter(({ type }) => type === EventType.DROP).map(({ reason }) => reason);
  if (isProxied && place.hook === "to_endpoint") {
    assert.deepEqual([outcome.action, outcome.mark, drops], [TcAction.REDIRECT, SkbMark.HAIRPIN, []], message);
  } else if (isProxied) {
    assert.deepEqual([outcome.action, drops], [TcAction.SHOT, [assignRefusedInTestRun]], message);
  } else {
    const passed = flow.to.kind === "endpoint" && place.hook !== "to_endpoint" ? TcAction.REDIRECT : TcAction.OK;
    assert.equal(outcome.action, last?.verdict === Verdict.DROPPED ? TcAction.SHOT : passed, message);
    assert.deepEqual(drops, [], message);
  }
}

/** Link addresses of a packet at that place. */
function frameAt({ hook, device }: Place) {
  return hook === "to_endpoint"
    ? { source: device.hostMac, destination: device.mac }
    : { source: device.mac, destination: device.hostMac };
}

/** Whether the flow's first packet leaves an entry behind that its answer finds. */
function opensConnection({ protocol, port }: CaseFlow): boolean {
  if (protocol === protocolNumbers.ICMP) return port === 8;
  return protocol !== protocolNumbers.ICMPV6 || port === 128;
}

/** The first packet of a flow, or the answer to it; `port`: the initiator's, or the echo's id. */
function layersOf({ file, flow }: Scene, port: number, reply: boolean): PacketLayers {
  const [from, to] = [flow.from, flow.to].map((party) => formatAddress(addressOfParty(party, flow, file))) as [
    string,
    string,
  ];
  const ip = reply ? { source: to, destination: from } : { source: from, destination: to };
  const network: PacketLayers = flow.family === 4 ? { ipv4: ip } : { ipv6: ip };
  const ports = reply ? { source: flow.port, destination: port } : { source: port, destination: flow.port };
  switch (flow.protocol) {
    case protocolNumbers.TCP:
      return { ...network, tcp: { ...ports, flags: reply ? "SA" : "S" } };
    case protocolNumbers.UDP:
      return { ...network, udp: ports };
    case protocolNumbers.SCTP:
      return { ...network, sctp: ports };
    case protocolNumbers.ICMP:
      return { ...network, icmp: { type: reply ? 0 : flow.port, id: port } };
    case protocolNumbers.ICMPV6:
      return { ...network, icmp: { type: reply ? 129 : flow.port, id: port } };
    default:
      throw new Error(`line ${flow.line}: no packet for protocol ${flow.protocol}`);
  }
}
