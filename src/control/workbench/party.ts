/** Who is meant: the words in which people name one end of a connection -> an identity of the world. */
import { podLabelKeys } from "#control/identity";
import { nearest } from "#control/policy";
import {
  findLabel,
  formatPrefix,
  hostPrefix,
  type Label,
  type NumericIdentity,
  type Prefix,
  parseAddress,
  parseLabel,
  parsePrefix,
  prefixContains,
  Reserved,
  type ReservedName,
} from "#core/model";
import type { World } from "./world.ts";

/** One end of a connection. */
export interface Party {
  readonly kind: "workload" | "entity" | "prefix";
  readonly identity: NumericIdentity;
  readonly name: string;
  /** Of a workload: policies judge its own side of a connection, too. */
  readonly namespace?: string;
  /** The address that was asked for, where it is one. */
  readonly address?: string;
  /** What the asker should know about the choice. */
  readonly notes: readonly string[];
}

const entityNames = (Object.keys(Reserved) as ReservedName[]).filter((name) => name !== "unknown");

/**
 * Finds a party by `NAMESPACE/NAME` or `NAME` of a workload, `[NAMESPACE/]key=value,...`, an entity (`world`, `host`...), an
 * address or a prefix. Labels that no workload has make one up. A text says why nobody is meant.
 */
export function findParty(world: World, text: string, namespace = "default"): Party | string {
  if (text === "world") return entity("world-ipv4", text);
  const name = entityNames.find((one) => one === text);
  if (name !== undefined) return entity(name, text);
  const address = parseAddress(text);
  const prefix = address === undefined ? parsePrefix(text) : hostPrefix(address);
  if (prefix !== undefined) return byPrefix(world, prefix, text, address !== undefined);
  return text.includes("=") ? byLabels(world, text, namespace) : byName(world, text, namespace);
}

function entity(name: ReservedName, text: string): Party {
  return { kind: "entity", identity: Reserved[name], name: text, notes: [] };
}

function byPrefix(world: World, prefix: Prefix, text: string, isAddress: boolean): Party | string {
  const where = isAddress ? { address: text } : {};
  const holds = (ip: string): boolean => {
    const own = parseAddress(ip);
    return own !== undefined && prefixContains(prefix, own);
  };
  if (isAddress) {
    const group = world.groups.find(({ workloads }) => workloads.some(({ addresses }) => addresses.some(holds)));
    if (group !== undefined) {
      const workload = group.workloads.find(({ addresses }) => addresses.some(holds))!;
      return { ...workloadParty(group.identity, workload.namespace, workload.name), ...where };
    }
  }
  const named = world.prefixes.map((identity) => ({ identity, prefix: parsePrefix(identity.prefix!)! }));
  const wider = named
    .filter((one) => prefixContains(one.prefix, prefix))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  const inside = named.filter((one) => one.prefix.length > prefix.length && prefixContains(prefix, one.prefix));
  const notes = inside.map((one) => `${formatPrefix(one.prefix)} inside ${text} is judged apart`);
  const best = wider[0];
  if (best === undefined) {
    const name = prefix.family === 4 ? "world-ipv4" : "world-ipv6";
    return {
      kind: "prefix",
      identity: Reserved[name],
      name: text,
      notes: [`${text} is part of the world`, ...notes],
      ...where,
    };
  }
  const known = formatPrefix(best.prefix);
  if (known !== text && known !== formatPrefix(prefix))
    notes.unshift(`${text} is judged as ${known}, the narrowest prefix that policies name`);
  return { kind: "prefix", identity: best.identity.id, name: text, notes, ...where };
}

function byLabels(world: World, text: string, defaultNamespace: string): Party | string {
  // A slash in a label's key follows a domain, a namespace has no dots.
  const match = /^([a-z0-9-]+)\/(.+=.*)$/.exec(text);
  const namespace = match?.[1] ?? defaultNamespace;
  const wanted: Label[] = [];
  for (const term of (match?.[2] ?? text).split(",")) {
    if (!/^[^=]+=[^=]*$/.test(term)) return `"${text}" is not a list of labels: "${term}" is not key=value`;
    const { source, key, value } = parseLabel(term);
    wanted.push({ source: source === "unspec" ? "k8s" : source, key, value });
  }
  const inNamespace = world.groups.filter((group) => match === null || group.namespace === namespace);
  const found = inNamespace.filter(({ labels }) =>
    wanted.every(({ key, value, source }) => findLabel(labels, key, source)?.value === value),
  );
  const best = found.length > 1 ? found.filter((group) => group.namespace === namespace) : found;
  if (best.length === 1) return workloadParty(best[0]!.identity, best[0]!.namespace, best[0]!.workloads[0]!.name);
  if (found.length > 1)
    return `${text} may be ${found.map(({ name }) => name).join(" or ")}, which are judged differently; add labels, or name one`;
  const own = wanted.filter(({ key }) => key !== podLabelKeys.namespace);
  const said = wanted.find(({ key }) => key === podLabelKeys.namespace)?.value ?? namespace;
  const { id } = world.imagine(said, own);
  const name = own.map(({ key, value }) => `${key}=${value}`).join(",");
  const notes = world.groups.length === 0 ? [] : [`no workload has ${name}: one is imagined, in namespace ${said}`];
  return { kind: "workload", identity: id, name: `${said}/${name}`, namespace: said, notes };
}

function byName(world: World, text: string, defaultNamespace: string): Party | string {
  const slash = text.indexOf("/");
  const namespace = slash < 0 ? defaultNamespace : text.slice(0, slash);
  const name = text.slice(slash + 1);
  const host = world.hostWorkloads.find((one) => one.namespace === namespace && one.name === name);
  if (host !== undefined)
    return {
      ...entity("host", `${namespace}/${name}`),
      notes: ["it is in the network of its node, so policies take it for the host"],
    };
  const all = world.groups.flatMap((group) => group.workloads.map((workload) => ({ group, workload })));
  const found = all.find(({ workload }) => workload.namespace === namespace && workload.name === name);
  if (found !== undefined) return workloadParty(found.group.identity, namespace, name);
  // By the name under which matrix and diff show a group.
  const group = world.groups.find((one) => one.name === text && (slash >= 0 || one.namespace === namespace));
  if (group !== undefined) return workloadParty(group.identity, group.namespace, group.workloads[0]!.name);
  const others = all
    .filter(({ workload }) => workload.name === name)
    .map(({ workload }) => `${workload.namespace}/${name}`);
  if (others.length > 0) return `there is no workload ${namespace}/${name}; there is ${others.join(", ")}`;
  const names = [
    ...new Set([...all.flatMap(({ workload }) => [`${workload.namespace}/${workload.name}`]), ...entityNames]),
  ];
  const near = nearest(`${namespace}/${name}`, names) ?? nearest(text, names);
  const known = names.length - entityNames.length;
  const hint =
    near !== undefined
      ? `did you mean ${near}?`
      : known === 0
        ? "the manifests hold no workload; describe one by its labels, e.g. app=web"
        : `there are ${names.slice(0, Math.min(known, 8)).join(", ")}`;
  return `there is no workload ${namespace}/${name}: ${hint}`;
}

function workloadParty(identity: NumericIdentity, namespace: string, name: string): Party {
  return { kind: "workload", identity, name: `${namespace}/${name}`, namespace, notes: [] };
}
