/** Orders -> what the proxy judges by. Complete for TCP and UDP: the proxy judges both sides of a connection, also the one without L7 rules. */
import type { PolicyFilter } from "#contracts/proxy";
import { type Direction, protocolNumbers } from "#core/model";
import type { Cell } from "./cells.ts";
import { listenerOf } from "./entries.ts";
import type { DirectionGrants, Grant } from "./grants.ts";
import { levels, precedenceOf } from "./policy-set.ts";
import { toL7Filter, toPolicyRef } from "./proxy-form.ts";

/** Makes the filters of one direction; `cells` are those of its orders when it was resolved. With `audit` nothing is refused. */
export function makeFilters(
  direction: Direction,
  { enforced, grants }: DirectionGrants,
  cells: readonly Cell[],
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
  const peersOf = peersByOrder(grants, cells);
  return grants.flatMap((grant, i) => {
    const protocol = transports.get(grant.protocol);
    return protocol === undefined ? [] : [toFilter(grant, peersOf(i), protocol)];
  });
}

/** The peers of an order, ascending, as the cells hold them; orders with one set share one list. */
function peersByOrder(grants: readonly Grant[], cells: readonly Cell[]): (order: number) => PolicyFilter["peers"] {
  const cellsOf = new Map<number, Cell[]>();
  for (const cell of cells)
    for (const order of cell.orders) {
      const others = cellsOf.get(order);
      if (others === undefined) cellsOf.set(order, [cell]);
      else others.push(cell);
    }
  const lists = new Map<Grant["peers"], PolicyFilter["peers"]>([["any", "any"]]);
  return (order) => {
    const { peers } = grants[order]!;
    let list = lists.get(peers);
    if (list === undefined) {
      list = (cellsOf.get(order) ?? []).flatMap(({ identities }) => identities).sort((a, b) => a - b);
      lists.set(peers, list);
    }
    return list;
  };
}

const transports: ReadonlyMap<number, PolicyFilter["protocol"]> = new Map([
  [0, "any"],
  [protocolNumbers.TCP, "TCP"],
  [protocolNumbers.UDP, "UDP"],
]);

function toFilter(grant: Grant, peers: PolicyFilter["peers"], protocol: PolicyFilter["protocol"]): PolicyFilter {
  const { direction, level, first, last, ref, l7, tls } = grant;
  const kind = grant.kind === "default-deny" ? "deny" : grant.kind;
  const all = first === 0;
  return {
    direction,
    peers,
    protocol,
    port: all ? 0 : first,
    ...(all || last === first ? {} : { endPort: last }),
    kind,
    precedence:
      kind === "l7"
        ? precedenceOf("redirect", level, listenerOf(grant), grant.listener?.priority)
        : precedenceOf(kind, level),
    ...(l7 === undefined || ref === undefined ? {} : { l7: toL7Filter(l7, ref) }),
    ...(tls === undefined ? {} : { tls }),
    refs: ref === undefined ? [] : [toPolicyRef(ref)],
  };
}
