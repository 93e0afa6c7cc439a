/** Policy sets in the kernel's one trie: written whole under a fresh number, shared by content, deleted when nothing names them. */
import { createHash } from "node:crypto";
import { type PolicyEntry, type PolicyKey, policyEntryCodec, policyKeyCodec } from "#contracts/bpf";
import type { PolicySetId } from "#core/model";
import { TsiliumError } from "#core/runtime";
import type { MapDoor } from "./doors.ts";
import type { HttpProgram, HttpPrograms } from "./http-programs.ts";

/** One entry of a set, without the set's number. */
export interface PolicySetEntry {
  readonly key: Omit<PolicyKey, "set">;
  /** Its program is that of `http`. */
  readonly value: PolicyEntry;
  /** Judges the requests in the kernel, if that has room for it; absent: the proxy does. */
  readonly http?: HttpProgram;
}

/** A complete set of entries. Treat as immutable: its content is computed once per object. */
export interface DesiredPolicySet {
  readonly entries: readonly PolicySetEntry[];
  /** What the entries' cookies refer to: sets with equal entries for other reasons get numbers of their own, so that events explain themselves. */
  readonly reasons?: string;
}

/** The sets that the kernel holds. */
export interface PolicySets {
  /** Number of a set with this content, writing it first if there is none. Throws POLICY_TOO_LARGE, and has written nothing then. */
  acquire(set: DesiredPolicySet): PolicySetId;
  /** Deletes every set whose number is not in use. */
  collect(inUse: ReadonlySet<PolicySetId>): void;
  /** Entries of all sets. */
  readonly used: number;
  readonly capacity: number;
  readonly count: number;
}

interface HeldSet {
  readonly content: string;
  readonly keys: readonly PolicyKey[];
  readonly programs: ReadonlySet<number>;
  /** Undefined for a set of an earlier agent that nobody has claimed yet. */
  reasons: string | undefined;
}

/**
 * Takes over the sets that the kernel holds already. `named`: numbers that something still names, whether or not the map holds
 * them. The programs that entries name are written before them, and let go of after them.
 */
export function createPolicySets(
  map: MapDoor<PolicyKey, PolicyEntry>,
  programs: Pick<HttpPrograms, "acquire" | "use">,
  named: readonly PolicySetId[] = [],
): PolicySets {
  const held = new Map<PolicySetId, HeldSet>();
  const byContent = new Map<string, Set<PolicySetId>>();
  let used = 0;
  let last = named.reduce((highest, id) => Math.max(highest, id), 0);

  const keep = (
    id: PolicySetId,
    content: string,
    entries: readonly PolicySetEntry[],
    reasons: string | undefined,
  ): void => {
    const keys = entries.map(({ key }) => ({ ...key, set: id }));
    held.set(id, { content, keys, programs: new Set(entries.map(({ value }) => value.httpProgram)), reasons });
    const equal = byContent.get(content);
    if (equal) equal.add(id);
    else byContent.set(content, new Set([id]));
    used += keys.length;
    last = Math.max(last, id);
  };

  const found = new Map<PolicySetId, PolicySetEntry[]>();
  for (const [{ set, ...key }, value] of map.entries()) {
    const entries = found.get(set);
    if (entries) entries.push({ key, value });
    else found.set(set, [{ key, value }]);
  }
  const useHeldPrograms = () => programs.use(new Set([...held.values()].flatMap((set) => [...set.programs])));
  for (const [id, entries] of found) keep(id, contentOf(entries), entries, undefined);
  useHeldPrograms();

  /** Entries with the numbers of their programs. */
  const resolved = ({ entries }: DesiredPolicySet): readonly PolicySetEntry[] => {
    if (!entries.some(({ http }) => http !== undefined)) return entries;
    const numbers = new Map<HttpProgram, number>();
    const numberOf = (program: HttpProgram): number => {
      const number = numbers.get(program) ?? programs.acquire(program) ?? 0;
      numbers.set(program, number);
      return number;
    };
    return entries.map(({ key, value, http }) => ({
      key,
      value: http === undefined ? value : { ...value, httpProgram: numberOf(http) },
    }));
  };

  /** A held set with equal entries for the same reasons; one whose reasons are not known yet is claimed. */
  const find = (content: string, reasons: string): PolicySetId | undefined => {
    const equal = [...(byContent.get(content) ?? [])];
    const known = equal.find((id) => held.get(id)?.reasons === reasons);
    if (known !== undefined) return known;
    const unclaimed = equal.find((id) => held.get(id)?.reasons === undefined);
    if (unclaimed !== undefined) held.get(unclaimed)!.reasons = reasons;
    return unclaimed;
  };

  return {
    acquire(set) {
      const entries = resolved(set);
      const content = contentOf(entries);
      const reasons = set.reasons ?? "";
      const known = find(content, reasons);
      if (known !== undefined) return known;
      const free = map.capacity - used;
      if (set.entries.length > free) {
        throw new TsiliumError(
          "POLICY_TOO_LARGE",
          `the policy needs ${set.entries.length} entries, but only ${free} of the policy map's ${map.capacity} are free; the previous policy stays in force. Select fewer peers or ports, or fewer subjects with policies of their own, or start the agent with a larger --policy-map-max`,
          { details: { needed: set.entries.length, free, capacity: map.capacity } },
        );
      }
      const id = nextNumber();
      const rows = entries.map(({ key, value }) => [{ ...key, set: id }, value] as const);
      const keys = rows.map(([key]) => key);
      try {
        map.setAll(rows);
      } catch (error) {
        // Nothing names the number yet, so a half-written set harms nobody; but its room is needed.
        map.deleteAll(keys);
        throw error;
      }
      keep(id, content, entries, reasons);
      return id;
    },
    collect(inUse) {
      for (const [id, { content, keys }] of held) {
        if (inUse.has(id)) continue;
        map.deleteAll(keys);
        held.delete(id);
        used -= keys.length;
        const equal = byContent.get(content);
        equal?.delete(id);
        if (equal?.size === 0) byContent.delete(content);
      }
      useHeldPrograms();
    },
    get used() {
      return used;
    },
    capacity: map.capacity,
    get count() {
      return held.size;
    },
  };

  function nextNumber(): PolicySetId {
    do last = (last + 1) >>> 0 || 1;
    while (held.has(last as PolicySetId));
    return last as PolicySetId;
  }
}

const contents = new WeakMap<readonly PolicySetEntry[], string>();

/** Equal for sets with equal entries, in whatever order. */
function contentOf(entries: readonly PolicySetEntry[]): string {
  const known = contents.get(entries);
  if (known !== undefined) return known;
  const size = policyKeyCodec.size + policyEntryCodec.size;
  const bytes = Buffer.alloc(size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const rows = entries.map(({ key, value }) => {
    policyKeyCodec.write(view, 0, { ...key, set: 0 as PolicySetId });
    policyEntryCodec.write(view, policyKeyCodec.size, value);
    return bytes.toString("latin1");
  });
  const content = createHash("sha256").update(rows.sort().join(""), "latin1").digest("base64");
  contents.set(entries, content);
  return content;
}
