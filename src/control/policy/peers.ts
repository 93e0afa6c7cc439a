/** Which identities a peer of a rule stands for. */

import type { DnsMatch } from "#contracts/proxy";
import type { NamedPort } from "#control/identity";
import { namedPorts } from "#control/identity";
import { formatPrefix, type Identity, type Prefix, parsePrefix, prefixContains } from "#core/model";
import { clusterKey } from "./parse-peers.ts";
import type { EntityName, Peer } from "./rule.ts";
import { indexLabels, type LabelIndex, selects } from "./selector.ts";

/** An identity arranged for matching. */
export interface KnownIdentity {
  readonly identity: Identity;
  readonly labels: LabelIndex;
  readonly prefix: Prefix | undefined;
  readonly namedPorts: readonly NamedPort[];
}

/** Arranges an identity. */
export function knowIdentity(identity: Identity): KnownIdentity {
  return {
    identity,
    labels: indexLabels(identity.labels),
    prefix: identity.prefix === undefined ? undefined : parsePrefix(identity.prefix),
    namedPorts: namedPorts(identity.labels),
  };
}

/** Equal for peers that stand for the same identities. */
export function peerKey(peer: Peer): string {
  switch (peer.kind) {
    case "labels":
      return `labels ${peer.selector.key}`;
    case "entity":
      return `entity ${peer.entity}`;
    case "cidr":
      return `cidr ${[peer.prefix, ...peer.except].map(formatPrefix).join(" ! ")}`;
    case "fqdn":
      return `fqdn ${formatDnsMatch(peer.name)}`;
  }
}

/** A name or pattern as the key of its identities' label. */
export function formatDnsMatch(match: DnsMatch): string {
  return "matchName" in match ? match.matchName : match.matchPattern;
}

/** The same for people: without the dot at the end that everybody leaves out. */
export function showDnsMatch(match: DnsMatch): string {
  return formatDnsMatch(match).replace(/(?<=.)\.$/, "");
}

/** Whether the peer stands for an identity. `all` stands for every one, also for those that are not known. */
export function isPeer(peer: Peer, known: KnownIdentity, clusterName: string): boolean {
  switch (peer.kind) {
    case "labels":
      return selects(peer.selector, known.labels);
    case "entity":
      return isOfEntity(peer.entity, known.labels, clusterName);
    case "cidr":
      return isInCidr(peer.prefix, peer.except, known);
    case "fqdn":
      return known.labels.get(formatDnsMatch(peer.name))?.some((label) => label.source === "fqdn") ?? false;
  }
}

const clusterEntities = ["host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"];

function isOfEntity(entity: EntityName, labels: LabelIndex, clusterName: string): boolean {
  const reserved = (name: string) => labels.get(name)?.some((label) => label.source === "reserved") ?? false;
  switch (entity) {
    case "all":
      return true;
    case "none":
      return false;
    case "world":
      return reserved("world") || reserved("world-ipv4") || reserved("world-ipv6");
    case "cluster":
      return (
        clusterEntities.some(reserved) ||
        (labels.get(clusterKey)?.some((label) => label.source === "k8s" && label.value === clusterName) ?? false)
      );
    case "cluster-mesh":
      return (
        clusterEntities.some(reserved) || (labels.get(clusterKey)?.some((label) => label.source === "k8s") ?? false)
      );
    default:
      return reserved(entity);
  }
}

/** Only identities of prefixes and, for 0.0.0.0/0 and ::/0, the world, also where a name led there: pods and nodes are never meant by a CIDR. */
function isInCidr(prefix: Prefix, except: readonly Prefix[], known: KnownIdentity): boolean {
  if (known.prefix !== undefined)
    return prefixContains(prefix, known.prefix) && !except.some((hole) => prefixContains(hole, known.prefix!));
  const world = prefix.family === 4 ? "world-ipv4" : "world-ipv6";
  return prefix.length === 0 && (known.labels.get(world)?.some((label) => label.source === "reserved") ?? false);
}
