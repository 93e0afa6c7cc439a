/** Whom the two ends of recorded flows are in a world: by their labels, and outside the cluster by address and name. */
import { canonicalName, compileName } from "#control/fqdn";
import { podLabelKeys, prefixLabels } from "#control/identity";
import type { World } from "#control/workbench";
import {
  createLabels,
  findLabel,
  formatPrefix,
  type Label,
  type Labels,
  maskAddress,
  type NumericIdentity,
  parseAddress,
  parseLabel,
  parsePrefix,
  prefixContains,
  Reserved,
  type ReservedName,
} from "#core/model";
import type { RecordedEnd, Unjudged } from "./flow.ts";

/** An end that is known. */
export interface KnownEnd {
  readonly identity: NumericIdentity;
  /** `shop/frontend`, `host`, `10.0.0.0/8`, `world`. */
  readonly name: string;
  /** Only of workloads, whose sides of connections policies judge. */
  readonly namespace?: string;
}

/** Finds ends. */
export interface Ends {
  /** The identity of an end in the world; a text says why there is none. */
  find(end: RecordedEnd): KnownEnd | Unjudged;
}

/** Answers that are kept; a recording has few workloads, but may have any number of addresses. */
const cacheLimit = 50_000;

/** Makes a finder for a world, which learns of every workload that a flow names. */
export function createEnds(world: World): Ends {
  const cache = new Map<string, KnownEnd | Unjudged>();
  const names = fqdnPeers(world);
  const prefixes = world.prefixes
    .map((identity) => ({ identity, prefix: parsePrefix(identity.prefix!)! }))
    .sort((a, b) => b.prefix.length - a.prefix.length);

  const outside = (end: RecordedEnd): KnownEnd | Unjudged => {
    const address = parseAddress(end.address);
    if (address === undefined) return "no-address";
    const best = prefixes.find(({ prefix }) => prefixContains(prefix, address))?.identity;
    const asked = names.filter(({ matches }) => end.names.some(matches)).map(({ label }) => label);
    if (asked.length > 0) {
      // Whoever has a name and is in a prefix is meant by both. One identity for each set of names, not for each address.
      const all = maskAddress(address, 0);
      const own = best ?? { labels: prefixLabels(all), prefix: formatPrefix(all) };
      const { id } = world.identify(createLabels([...own.labels, ...asked]), own.prefix);
      return { identity: id, name: end.names[0]! };
    }
    if (best !== undefined) return { identity: best.id, name: best.prefix! };
    return { identity: Reserved[address.family === 4 ? "world-ipv4" : "world-ipv6"], name: "world" };
  };

  const find = (end: RecordedEnd): KnownEnd | Unjudged => {
    const is = classifyEnd(end);
    if (is === "no-labels") return byName(world, end) ?? is;
    if (typeof is === "string") return is;
    switch (is.kind) {
      case "outside":
        return outside(end);
      case "entity":
        return { identity: Reserved[is.name], name: is.name };
      case "workload": {
        const { id } = world.identify(is.labels);
        return { identity: id, name: is.name === "" ? `identity ${id}` : is.name, namespace: is.namespace };
      }
    }
  };

  return {
    find(end) {
      const isOutside = end.labels.length === 0 || end.labels.some((label) => label.startsWith("reserved:world"));
      const key = `${end.labels.join(" ")}|${end.workload?.name ?? ""}|${isOutside ? `${end.address} ${end.names.join(" ")} ${end.namespace}/${end.pod}` : ""}`;
      let found = cache.get(key);
      if (found === undefined) {
        if (cache.size >= cacheLimit) cache.clear();
        found = find(end);
        cache.set(key, found);
      }
      return found;
    },
  };
}

/** What an end is by what the flow says of it alone. */
export type EndKind =
  | { readonly kind: "outside" }
  | { readonly kind: "entity"; readonly name: ReservedName }
  | { readonly kind: "workload"; readonly name: string; readonly namespace: string; readonly labels: Labels };

/** Sorts an end; a text says why that can't be done. */
export function classifyEnd(end: RecordedEnd): EndKind | Unjudged {
  const labels = createLabels(end.labels.map(parseLabel));
  const reserved = labels.filter(({ source }) => source === "reserved").map(({ key }) => key);
  const isOutside =
    reserved.some((name) => name.startsWith("world")) ||
    labels.some(({ source }) => source === "cidr" || source === "fqdn");
  if (isOutside) return end.address === "" ? "no-address" : { kind: "outside" };
  const name = entityOf(reserved);
  if (name !== undefined) return { kind: "entity", name };
  const namespace = findLabel(labels, podLabelKeys.namespace)?.value ?? "";
  if (namespace === "") return "no-labels";
  const called = end.workload?.name ?? nameLabels(labels) ?? end.pod;
  return { kind: "workload", name: called === "" ? "" : `${namespace}/${called}`, namespace, labels };
}

/** Of several reserved labels, the one that rules treat apart: the host may always come in, and no node is the host. */
function entityOf(reserved: readonly string[]): ReservedName | undefined {
  const order = ["host", "kube-apiserver", "remote-node", "health", "ingress", "init", "unmanaged"] as const;
  return order.find((name) => reserved.includes(name));
}

function byName(world: World, { namespace, pod, workload }: RecordedEnd): KnownEnd | undefined {
  if (namespace === "") return undefined;
  const wanted = [pod, workload?.name].filter((name) => name !== undefined && name !== "");
  const group = world.groups.find(({ workloads }) =>
    workloads.some((one) => one.namespace === namespace && wanted.includes(one.name)),
  );
  return group && { identity: group.identity, name: `${namespace}/${wanted.at(-1)}`, namespace };
}

const naming = ["app", "app.kubernetes.io/name", "k8s-app", "name"];

function nameLabels(labels: readonly Label[]): string | undefined {
  return naming.map((key) => findLabel(labels, key)?.value).find((value) => value !== undefined && value !== "");
}

interface NamePeer {
  readonly label: Label;
  readonly matches: (name: string) => boolean;
}

/** The DNS names and patterns that policies of the world allow, with the label by which the engine knows their addresses. */
function fqdnPeers(world: World): NamePeer[] {
  const found = new Map<string, NamePeer>();
  for (const { rules } of world.policies)
    for (const { statements } of rules)
      for (const { peers } of statements)
        for (const peer of peers === "any" ? [] : peers) {
          if (peer.kind !== "fqdn") continue;
          const key = "matchName" in peer.name ? peer.name.matchName : peer.name.matchPattern;
          const matcher = compileName(peer.name);
          if (!found.has(key))
            found.set(key, {
              label: { source: "fqdn", key, value: "" },
              matches: (name) => matcher.matches(canonicalName(name)),
            });
        }
  return [...found.values()];
}
