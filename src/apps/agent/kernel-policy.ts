/** The engine's policy sets in the kernel's terms. */
import { createHash } from "node:crypto";
import { PolicyFlags } from "#contracts/bpf";
import { type Entry, l4Prefix, type PolicySet } from "#control/policy";
import type { PolicySetId } from "#core/model";
import { policyKey } from "#datapath/maps";
import type { DesiredPolicySet, HttpProgram, PolicySetEntry } from "#datapath/reconcile";
import type { RequestJudges } from "./request-judges.ts";

const origins = new WeakMap<DesiredPolicySet, PolicySet>();
const cache = new WeakMap<
  PolicySet,
  { readonly proxyPort: number; readonly judges: RequestJudges; readonly desired: DesiredPolicySet }
>();

/**
 * The entries of a set, with the programs that judge requests in the kernel. What these can't judge leads to `proxyPort`, and with
 * 0 to nowhere: such connections are dropped until a proxy listens.
 */
export function kernelPolicy(set: PolicySet, proxyPort: number, judges: RequestJudges): DesiredPolicySet {
  const port = needsProxy(set) ? proxyPort : 0;
  const known = cache.get(set);
  if (known?.proxyPort === port && known.judges === judges) return known.desired;
  const desired = {
    entries: set.entries.map((entry) => kernelEntry(entry, port, programOf(entry, set, judges))),
    reasons: createHash("sha256").update(JSON.stringify(set.provenance)).digest("base64"),
  };
  cache.set(set, { proxyPort: port, judges, desired });
  origins.set(desired, set);
  return desired;
}

/** The engine's set that a kernel set was made of. */
export function originOf(desired: DesiredPolicySet): PolicySet | undefined {
  return origins.get(desired);
}

/** Whether some entry hands connections to the proxy. */
export function needsProxy(set: PolicySet): boolean {
  return set.entries.some((entry) => entry.proxy !== undefined);
}

const actionFlags = { allow: 0, deny: PolicyFlags.DENY, redirect: 0, audit: PolicyFlags.AUDIT };

function programOf({ requests }: Entry, set: PolicySet, judges: RequestJudges): HttpProgram | undefined {
  const judge = requests === undefined ? undefined : judges.of(set.requests[requests]!);
  return judge?.kind === "kernel" ? judge.program : undefined;
}

function kernelEntry(entry: Entry, proxyPort: number, http: HttpProgram | undefined): PolicySetEntry {
  const { set: _, ...key } = policyKey({
    set: 0 as PolicySetId,
    identity: entry.identity,
    direction: entry.direction,
    protocol: entry.protocol,
    port: entry.port,
    portBits: entry.portPrefix,
  });
  return {
    key,
    ...(http && { http }),
    value: {
      precedence: entry.precedence,
      cookie: entry.cookie,
      httpProgram: 0,
      proxyPort: entry.proxy === undefined ? 0 : proxyPort,
      l4Prefix: l4Prefix(entry),
      flags:
        actionFlags[entry.action] |
        (entry.proxy === undefined ? 0 : PolicyFlags.REDIRECT) |
        (entry.unenforced ? PolicyFlags.UNENFORCED : 0),
    },
  };
}
