/** Addresses outside the cluster -> the prefixes by which a rule names them. */
import { formatAddress, formatPrefix, hostPrefix, maskAddress, type Prefix, parseAddress } from "#core/model";

/** Prefixes, or everyone outside. */
export interface GeneralAddresses {
  readonly prefixes: "world" | readonly string[];
  /** What it allows beyond the addresses; absent: nothing. */
  readonly beyond?: string;
}

/** As many as a person reads; more are a range. */
const most = 16;

/** Few addresses stay as they are; many become their networks (/24, /64); many networks become the world. */
export function generaliseAddresses(texts: readonly string[]): GeneralAddresses {
  const exact = merge(texts.map((text) => hostPrefix(parseAddress(text)!)));
  if (exact.length <= most) return { prefixes: exact.map(formatPrefix) };
  const networks = merge(
    exact.map((prefix) => maskAddress(prefix, Math.min(prefix.length, prefix.family === 4 ? 24 : 64))),
  );
  const seen = `${texts.length} addresses were seen`;
  if (networks.length <= most)
    return { prefixes: networks.map(formatPrefix), beyond: `whole networks: ${seen} in these ${networks.length}` };
  return { prefixes: "world", beyond: `everyone outside the cluster: ${seen} in ${networks.length} networks` };
}

/** Without duplicates, and two halves as their whole: the same addresses in the fewest prefixes. */
function merge(prefixes: readonly Prefix[]): Prefix[] {
  let now = new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));
  for (let merged = true; merged; ) {
    merged = false;
    const next = new Map<string, Prefix>();
    for (const [text, prefix] of now) {
      if (prefix.length > 0) {
        const whole = maskAddress(prefix, prefix.length - 1);
        const bytes = Uint8Array.from(prefix.bytes);
        bytes[(prefix.length - 1) >> 3]! ^= 0x80 >> ((prefix.length - 1) & 7);
        if (now.has(`${formatAddress({ family: prefix.family, bytes })}/${prefix.length}`)) {
          next.set(formatPrefix(whole), whole);
          merged = true;
          continue;
        }
      }
      next.set(text, prefix);
    }
    now = next;
  }
  return [...now.values()].sort((a, b) => (formatPrefix(a) < formatPrefix(b) ? -1 : 1));
}
