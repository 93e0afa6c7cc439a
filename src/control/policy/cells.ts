/**
 * Peers for whom the same orders hold, found once instead of peer by peer: what an order costs depends on how often orders differ,
 * not on how many peers they name. Every identity that some order names is in exactly one cell.
 */
import type { NumericIdentity } from "#core/model";
import type { Grant } from "./grants.ts";

/** Peers that are named by the same orders. Immutable, though the sets in the orders go on changing. */
export interface Cell {
  /** Ascending; never empty. */
  readonly identities: readonly NumericIdentity[];
  /** Orders that name them, not those for anyone; as indices in ascending order. */
  readonly orders: readonly number[];
}

/** A cell while sets are gone through: it is reached from `parent` by being in the set with these orders. */
interface Node {
  readonly parent: Node | undefined;
  readonly orders: readonly number[];
  /** Where its members go that are in the set of this step, too. */
  next: Node | undefined;
  step: number;
  readonly identities: NumericIdentity[];
}

/** The cells of orders, by their first identity. */
export function cellsOf(grants: readonly Pick<Grant, "peers">[]): Cell[] {
  const bySet = new Map<ReadonlySet<NumericIdentity>, number[]>();
  for (const [i, { peers }] of grants.entries()) {
    if (peers === "any") continue;
    const orders = bySet.get(peers);
    if (orders === undefined) bySet.set(peers, [i]);
    else orders.push(i);
  }
  const root: Node = { parent: undefined, orders: [], next: undefined, step: 0, identities: [] };
  const nodeOf = new Map<NumericIdentity, Node>();
  let step = 0;
  for (const [peers, orders] of bySet) {
    step++;
    for (const id of peers) {
      const from = nodeOf.get(id) ?? root;
      if (from.step !== step || from.next === undefined) {
        from.next = { parent: from, orders, next: undefined, step: 0, identities: [] };
        from.step = step;
      }
      nodeOf.set(id, from.next);
    }
  }
  const found = new Set<Node>();
  for (const [id, node] of nodeOf) {
    node.identities.push(id);
    found.add(node);
  }
  return [...found]
    .map((node) => ({ identities: node.identities.sort(ascending), orders: ordersOf(node) }))
    .sort((a, b) => a.identities[0]! - b.identities[0]!);
}

function ordersOf(node: Node): readonly number[] {
  if (node.parent?.parent === undefined) return node.orders;
  const all: number[] = [];
  for (let at: Node | undefined = node; at !== undefined; at = at.parent) all.push(...at.orders);
  return all.sort(ascending);
}

function ascending(a: number, b: number): number {
  return a - b;
}
