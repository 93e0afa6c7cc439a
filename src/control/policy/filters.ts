/** Orders -> what the proxy judges by. Complete for TCP and UDP: the proxy judges both sides of a connection, also the one without L7 rules. */
import type { PolicyFilter } from "#contracts/proxy";
import { type Direction, protocolNumbers } from "#core/model";
import { listenerOf } from "./entries.ts";
import type { DirectionGrants, Grant } from "./grants.ts";
import { levels, precedenceOf } from "./policy-set.ts";
import { toL7Filter, toPolicyRef } from "./proxy-form.ts";

/** Makes the filters of one direction. With `audit` nothing is refused. */
export function makeFilters(
  direction: Direction,
  { enforced, grants }: DirectionGrants,
  audit: boolean,
): PolicyFilter[] {
  const everything = { direction, peers: "any", protocol: "any", port: 0 } as const;
  if (!enforced || audit)
    return [
      {
        ...everything,
        kind: "allow",
        precedence: precedenceOf("allow", enforced ? levels.rules : levels.implicit),
        refs: [],
      },
    ];
  return grants.flatMap((grant) => {
    const protocol = transports.get(grant.protocol);
    return protocol === undefined ? [] : [toFilter(grant, protocol)];
  });
}

const transports: ReadonlyMap<number, PolicyFilter["protocol"]> = new Map([
  [0, "any"],
  [protocolNumbers.TCP, "TCP"],
  [protocolNumbers.UDP, "UDP"],
]);

function toFilter(grant: Grant, protocol: PolicyFilter["protocol"]): PolicyFilter {
  const { direction, level, first, last, ref, l7, tls } = grant;
  const kind = grant.kind === "default-deny" ? "deny" : grant.kind;
  const all = first === 0;
  return {
    direction,
    peers: grant.peers === "any" ? "any" : [...grant.peers].sort((a, b) => a - b),
    protocol,
    port: all ? 0 : first,
    ...(all || last === first ? {} : { endPort: last }),
    kind,
    precedence: kind === "l7" ? precedenceOf("redirect", level, listenerOf(grant)) : precedenceOf(kind, level),
    ...(l7 === undefined || ref === undefined ? {} : { l7: toL7Filter(l7, ref) }),
    ...(tls === undefined ? {} : { tls }),
    refs: ref === undefined ? [] : [toPolicyRef(ref)],
  };
}
