/** CIDR groups: prefixes kept in objects of their own, named by rules. They are put in their places before rules are resolved. */
import type { Problem } from "#contracts/manifest";
import { type Prefix, parsePrefix } from "#core/model";
import type { CloudGroup, GroupPeer, Peer, Rule } from "./rule.ts";
import { indexLabels, selects } from "./selector.ts";

/** A CiliumCIDRGroup. */
export interface CidrGroup {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly prefixes: readonly Prefix[];
}

/**
 * Reads a CiliumCIDRGroup; undefined if it has no name. What is not a prefix is left out, with a problem: the others must not
 * lose their meaning in a list of what is denied.
 */
export function parseCidrGroup(
  object: unknown,
): { readonly group: CidrGroup; readonly problems: Problem[] } | undefined {
  const { metadata, spec } = (object ?? {}) as { readonly metadata?: unknown; readonly spec?: unknown };
  const { name, labels } = (metadata ?? {}) as { readonly name?: unknown; readonly labels?: unknown };
  if (typeof name !== "string" || name === "") return undefined;
  const { externalCIDRs } = (spec ?? {}) as { readonly externalCIDRs?: unknown };
  const problems: Problem[] = [];
  const prefixes: Prefix[] = [];
  for (const [i, text] of (Array.isArray(externalCIDRs) ? externalCIDRs : []).entries()) {
    const prefix = typeof text === "string" ? parsePrefix(text) : undefined;
    if (prefix !== undefined) prefixes.push(prefix);
    else
      problems.push({
        path: `spec.externalCIDRs[${i}]`,
        code: "invalid-value",
        severity: "error",
        message: `unable to parse CIDR: ${JSON.stringify(text)} is not a prefix; it is left out`,
        hint: "write address/length, e.g. 10.0.0.0/8 or fd00::/64",
      });
  }
  const texts = Object.entries((labels ?? {}) as object).filter(([, value]) => typeof value === "string");
  return { group: { name, labels: Object.fromEntries(texts), prefixes }, problems };
}

/** Whether the rules name a group, by its name or its labels. */
export function mentionsGroup(rules: readonly Rule[], group: CidrGroup): boolean {
  return groupPeers(rules).some((peer) => isGroup(peer, group));
}

/** Whether the rules name any group, there or not. */
export function mentionsGroups(rules: readonly Rule[]): boolean {
  return rules.some(({ statements }) => statements.some(({ groups }) => groups !== undefined && groups.length > 0));
}

/** The rules with the prefixes of the groups among their peers. A group that is not there selects nothing. */
export function bindGroups(rules: readonly Rule[], groups: ReadonlyMap<string, CidrGroup>): readonly Rule[] {
  if (!mentionsGroups(rules)) return rules;
  return rules.map((rule) => ({
    ...rule,
    statements: rule.statements.map((statement) => {
      const { groups: named, peers } = statement;
      if (named === undefined || peers === "any") return statement;
      return { ...statement, peers: [...peers, ...named.flatMap((peer) => prefixPeers(peer, groups))] };
    }),
  }));
}

/** Groups of cloud providers that the rules name, by the name under which they are looked for. */
export function cloudGroups(rules: readonly Rule[]): Map<string, CloudGroup> {
  const named = groupPeers(rules).flatMap(({ group, cloud }) =>
    typeof group === "string" && cloud !== undefined ? [[group, cloud] as const] : [],
  );
  return new Map(named);
}

/** Peers of the rules for which there is no group. */
export function unresolvedGroups(rules: readonly Rule[], groups: ReadonlyMap<string, CidrGroup>): GroupPeer[] {
  return groupPeers(rules).filter((peer) => ![...groups.values()].some((group) => isGroup(peer, group)));
}

function groupPeers(rules: readonly Rule[]): GroupPeer[] {
  return rules.flatMap(({ statements }) => statements.flatMap(({ groups }) => groups ?? []));
}

function prefixPeers({ group, except, path }: GroupPeer, groups: ReadonlyMap<string, CidrGroup>): Peer[] {
  const byName = typeof group === "string" ? groups.get(group) : undefined;
  const meant = typeof group === "string" ? (byName ? [byName] : []) : [...groups.values()];
  return meant
    .filter((one) => isGroup({ group, except, path }, one))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ prefixes }) => prefixes.map((prefix): Peer => ({ kind: "cidr", prefix, except, path })));
}

function isGroup({ group: meant }: GroupPeer, group: CidrGroup): boolean {
  if (typeof meant === "string") return meant === group.name;
  const labels = Object.entries(group.labels).map(([key, value]) => ({ source: "cidrgroup", key, value }));
  return selects(meant, indexLabels(labels));
}
