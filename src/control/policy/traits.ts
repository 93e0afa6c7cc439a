/**
 * Traits: texts by which identities and the selectors that may select them find each other without trying all. An identity has
 * several; a selector waits under such that whoever it selects has one of them.
 */
import type { IpAddress } from "#core/model";
import { formatDnsMatch, type KnownIdentity } from "./peers.ts";
import type { Peer } from "./rule.ts";

/** What an identity can be found by: its labels, whatever their source, and the whole bytes with which its prefix begins. */
export function traitsOf({ identity, prefix }: KnownIdentity): string[] {
  const traits = identity.labels.map(({ key, value }) => `${key}=${value}`);
  for (const { source, key, value } of identity.labels) if (source === "fqdn" && value !== "") traits.push(`${key}=`);
  const isWorld = (name: string) => identity.labels.some(({ source, key }) => source === "reserved" && key === name);
  if (prefix === undefined && isWorld("world-ipv4")) traits.push("4|");
  if (prefix === undefined && isWorld("world-ipv6")) traits.push("6|");
  if (prefix !== undefined) for (let bytes = 0; bytes <= prefix.length >> 3; bytes++) traits.push(start(prefix, bytes));
  return traits;
}

/** Ways to find whoever the peer stands for: each has at least one trait of every list. No list: there is nothing to go by. */
export function anchorsOf(peer: Peer): readonly (readonly string[])[] {
  switch (peer.kind) {
    case "labels":
      return peer.selector.requirements
        .filter(({ operator }) => operator === "In")
        .map(({ key, values }) => values.map((value) => `${key}=${value}`));
    case "cidr":
      return [[start(peer.prefix, peer.prefix.length >> 3)]];
    case "fqdn":
      return [[`${formatDnsMatch(peer.name)}=`]];
    case "entity":
      return [];
  }
}

/** The first bytes of an address. */
function start({ family, bytes }: IpAddress, count: number): string {
  let text = `${family}|`;
  for (let i = 0; i < count; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}
