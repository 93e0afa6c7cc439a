/** From the kernel's ring buffer and the proxy's log to the observer; names for numbers from the agent's tables. */
import type { AccessLogRecord } from "#contracts/proxy";
import type { Endpoint } from "#control/endpoint";
import { explainFlow, formatExplanation, formatRuleRef, type RuleRef } from "#control/policy";
import { type EndpointId, formatAddress, formatLabels, type NumericIdentity, type PolicySetId } from "#core/model";
import { createWallClockOffset, type DenialQuestion, type EndpointInfo, type Explanation } from "#observer/flow";
import { createObserver, type Observer } from "#observer/server";
import { createHttpReasons } from "./http-reasons.ts";
import { originOf } from "./kernel-policy.ts";
import type { NodeAgent } from "./node-agent.ts";

/** The observer and what feeds it. */
export interface Observation {
  readonly observer: Observer;
  onAccessLog(records: readonly AccessLogRecord[], lost: number): void;
  close(): Promise<void>;
}

/** Ring-buffer polling: the kernel wakes nobody for a single event, so that verdicts cost the datapath nothing. */
const busyPollMs = 10;
const idlePollMs = 100;
/** Records taken in one go; what is left comes in the next turn of the event loop. */
const drainLimit = 4096;
/** Policy sets whose reasons are remembered after the kernel has forgotten them: their last events are still on the way. */
const rememberedSets = 512;

/** Starts to watch; serving Hubble's API is begun by the caller. */
export function startObservation(agent: NodeAgent, version: string): Observation {
  const { datapath, store, engine } = agent;
  const infos = new Map<EndpointId, { readonly of: Endpoint; readonly info: EndpointInfo }>();
  const byAddress = new Map<string, EndpointId>();
  const reasons = new Map<PolicySetId, readonly (readonly RuleRef[])[]>();
  const wallOffsetNs = createWallClockOffset();

  const endpointById = (id: EndpointId): EndpointInfo | undefined => {
    const endpoint = store.table.get(id);
    if (!endpoint) return infos.get(id)?.info;
    const known = infos.get(id);
    if (known?.of === endpoint) return known.info;
    const info: EndpointInfo = {
      id,
      identity: endpoint.state.kind === "ready" ? endpoint.state.identity : (0 as NumericIdentity),
      podName: endpoint.pod.name,
      namespace: endpoint.pod.namespace,
      labels: formatLabels(endpoint.labels ?? []),
      workloads: [],
    };
    infos.set(id, { of: endpoint, info });
    for (const address of [endpoint.ipv4, endpoint.ipv6]) if (address) byAddress.set(formatAddress(address), id);
    return info;
  };
  store.table.watch((changes) => {
    for (const { key } of changes) endpointById(key);
  });
  datapath.endpointTarget.realised.watch((changes) => {
    for (const { current } of changes) {
      const origin = current && originOf(current.policy);
      if (!current || !origin) continue;
      reasons.delete(current.policySet);
      reasons.set(current.policySet, origin.provenance);
      if (reasons.size > rememberedSets) reasons.delete(reasons.keys().next().value!);
    }
  });

  const explain = (question: DenialQuestion): Explanation | undefined => {
    const [subject, peer] =
      question.direction === "ingress"
        ? [question.destination, question.source]
        : [question.source, question.destination];
    const explained = explainFlow(engine, {
      subject: subject.identity,
      direction: question.direction,
      peer: peer.identity,
      protocol: question.protocol,
      port: question.port,
      peerAddress: peer.address,
    });
    // The policy has changed since: today's reasons would be wrong for that packet.
    if (explained.kind !== "default-deny" || question.kind !== "default-deny") return undefined;
    const { nearest, enforcedBy, remedy } = explained;
    const mismatch = nearest?.mismatches[0];
    const who = enforcedBy.map(formatRuleRef).join(", ");
    const near =
      nearest && mismatch
        ? `; nearest is ${formatRuleRef(nearest.ref)}: ${mismatch.path} expects ${mismatch.expected}, found ${mismatch.found}`
        : "";
    return {
      sentence: who === "" ? formatExplanation(explained)[0]! : `no rule allows it, and ${who} denies the rest${near}`,
      ...(nearest &&
        mismatch && {
          nearest: { ref: nearest.ref, field: mismatch.path, expected: mismatch.expected, found: mismatch.found },
        }),
      hint: `to allow it, apply:\n${remedy.yaml.trimEnd()}`,
    };
  };

  const observer = createObserver({
    nodeName: agent.options.nodeName,
    version,
    explain,
    lookups: {
      endpointById,
      endpointByAddress: (address) => {
        const id = byAddress.get(address);
        const endpoint = id === undefined ? undefined : store.table.get(id);
        const current = [endpoint?.ipv4, endpoint?.ipv6].some((one) => one && formatAddress(one) === address);
        return id !== undefined && current ? endpointById(id) : undefined;
      },
      identityLabels: (id) => {
        const identity = engine.identity(id);
        return identity && formatLabels(identity.labels);
      },
      provenance: (set, cookie) => reasons.get(set)?.[cookie] ?? [],
      httpReasons: createHttpReasons(datapath, agent.judges),
      wallOffsetNs,
    },
  });

  const ring = datapath.kernel.bpf.openRingBuffer(datapath.loaded.rawMaps.events!);
  const { events_lost } = datapath.loaded.maps;
  let lost = events_lost.get(0) ?? 0n;
  let timer: NodeJS.Timeout;
  let closed = false;
  const ingest = (view: DataView, offset: number, length: number) => observer.ingestEvent(view, offset, length);
  function poll(): void {
    const count = ring.drain(ingest, drainLimit);
    if (count === drainLimit) {
      setImmediate(() => {
        if (!closed) poll();
      });
      return;
    }
    const lostNow = events_lost.get(0) ?? 0n;
    if (lostNow > lost) observer.ingestLost("ring-buffer", Number(lostNow - lost));
    lost = lostNow;
    timer = setTimeout(poll, count > 0 ? busyPollMs : idlePollMs);
    timer.unref();
  }
  poll();

  return {
    observer,
    onAccessLog(records, lostRecords) {
      // What the kernel said of these requests' connections came before them, and stands before them in what people read.
      if (!closed) ring.drain(ingest, drainLimit);
      for (const record of records) observer.ingestAccessLog(record);
      observer.ingestLost("proxy", lostRecords);
    },
    async close() {
      if (closed) return;
      closed = true;
      clearTimeout(timer);
      ring.close();
      await observer.close();
    },
  };
}
