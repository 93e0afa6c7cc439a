/** Identities of prefixes that rules name: local to the node, each with the world's label, so that `world` selects them too. */
import {
  createLabels,
  formatPrefix,
  type Identity,
  identityRanges,
  type Label,
  type Labels,
  type NumericIdentity,
  type Prefix,
} from "#core/model";

/** Hands out numbers to prefixes. The same prefix keeps its number as long as it is wanted without a break. */
export interface PrefixIdentities {
  /** Makes exactly these prefixes known. Returns what came and what went; 0.0.0.0/0 and ::/0 are the world and get no number. */
  update(wanted: Iterable<Prefix>): { readonly added: readonly Identity[]; readonly removed: readonly Identity[] };
  /** All of them. */
  list(): Identity[];
  /** The identity of exactly this prefix. */
  find(prefix: Prefix): Identity | undefined;
}

/** `existing` takes over numbers from an earlier run (read back from the kernel's ipcache), so that a restart changes no verdict. */
export function createPrefixIdentities(
  existing: Iterable<readonly [prefix: Prefix, id: NumericIdentity]> = [],
): PrefixIdentities {
  const byPrefix = new Map<string, Identity>();
  const used = new Set<NumericIdentity>();
  let cursor: number = identityRanges.localMin;
  const keep = (prefix: Prefix, id: NumericIdentity): Identity => {
    const identity = { id, labels: prefixLabels(prefix), prefix: formatPrefix(prefix) };
    byPrefix.set(identity.prefix, identity);
    used.add(id);
    return identity;
  };
  for (const [prefix, id] of existing) {
    if (id < identityRanges.localMin || id >= identityRanges.namesMin || used.has(id)) continue;
    keep(prefix, id);
    cursor = Math.max(cursor, id + 1);
  }
  // The cursor only moves on, so a number comes back only after all others were used.
  const take = (): NumericIdentity | undefined => {
    const size = identityRanges.namesMin - identityRanges.localMin;
    for (let i = 0; i < size; i++) {
      if (cursor >= identityRanges.namesMin) cursor = identityRanges.localMin;
      const id = cursor++ as NumericIdentity;
      if (!used.has(id)) return id;
    }
    return undefined;
  };
  return {
    update(wanted) {
      const texts = new Map<string, Prefix>();
      for (const prefix of wanted) if (prefix.length > 0) texts.set(formatPrefix(prefix), prefix);
      const removed = [...byPrefix.values()].filter((identity) => !texts.has(identity.prefix!));
      for (const identity of removed) byPrefix.delete(identity.prefix!);
      const added: Identity[] = [];
      for (const [text, prefix] of texts) {
        if (byPrefix.has(text)) continue;
        const id = take();
        if (id !== undefined) added.push(keep(prefix, id));
      }
      // Given back only now: a number must not change hands within one update.
      for (const identity of removed) used.delete(identity.id);
      return { added, removed };
    },
    list: () => [...byPrefix.values()],
    find: (prefix) => byPrefix.get(formatPrefix(prefix)),
  };
}

/** `cidr:PREFIX` and the world's label of its family. Colons of IPv6 become dashes, as in Cilium. */
export function prefixLabels(prefix: Prefix): Labels {
  const world: Label = { source: "reserved", key: prefix.family === 4 ? "world-ipv4" : "world-ipv6", value: "" };
  if (prefix.length === 0) return createLabels([world]);
  const [address, length] = formatPrefix(prefix).split("/") as [string, string];
  let text = address.replaceAll(":", "-");
  if (text.startsWith("-")) text = `0${text}`;
  if (text.endsWith("-")) text = `${text}0`;
  return createLabels([world, { source: "cidr", key: `${text}/${length}`, value: "" }]);
}
