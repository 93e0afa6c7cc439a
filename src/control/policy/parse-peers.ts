/** The peers of a statement: endpoints, entities, CIDRs. */
import { type Prefix, parseAddress, parsePrefix, prefixContains } from "#core/model";
import { nearest } from "./fields.ts";
import { ciliumKey, parseSelector } from "./parse-selector.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { EntityName, GroupPeer, Peer } from "./rule.ts";
import { createSelector, equals, type Requirement } from "./selector.ts";

/** Key of the label that says which namespace a pod is in. */
export const namespaceKey = "io.kubernetes.pod.namespace";
/** Prefix of the labels that a pod has from its namespace's labels. */
export const namespaceLabelsPrefix = "io.cilium.k8s.namespace.labels";
/** Key of the label that says which cluster a pod is in. */
export const clusterKey = "io.cilium.k8s.policy.cluster";

const entities: readonly EntityName[] = [
  "all",
  "world",
  "cluster",
  "host",
  "init",
  "ingress",
  "unmanaged",
  "remote-node",
  "health",
  "none",
  "kube-apiserver",
];

/** What a peer selector is completed with. */
export interface PeerScope {
  /** Namespace of the policy; undefined: clusterwide. */
  readonly namespace: string | undefined;
  /** Whether the subject may be an endpoint that has no namespace yet. */
  readonly subjectIsInit: boolean;
}

/** Whom from*- or to*-fields name. */
export interface ParsedPeers {
  /** "any" if no field is given; an empty list if what is given selects no one. */
  readonly peers: "any" | readonly Peer[];
  readonly groups: readonly GroupPeer[];
}

/** Reads from*- or to*-fields. */
export function parsePeers(
  reader: Reader,
  fields: Fields,
  path: string,
  side: "from" | "to",
  scope: PeerScope,
): ParsedPeers {
  const groups: GroupPeer[] = [];
  const names = {
    endpoints: `${side}Endpoints`,
    entities: `${side}Entities`,
    cidr: `${side}CIDR`,
    cidrSet: `${side}CIDRSet`,
  };
  const given = new Map<string, Peer[]>();
  const each = (name: string, parse: (item: unknown, path: string) => Peer | undefined) => {
    const items = reader.list(fields, path, name);
    if (items === undefined) return;
    if (items.length === 0)
      reader.warn(
        at(path, name),
        "selects-nothing",
        `${name} is an empty list: no peer at all is selected`,
        `remove ${name} to mean any peer, or list the peers that are meant`,
      );
    given.set(
      name,
      items.map((item, i) => parse(item, `${at(path, name)}[${i}]`)).filter((peer) => peer !== undefined),
    );
  };
  each(names.endpoints, (item, place) => parseEndpointPeer(reader, item, place, scope));
  each(names.entities, (item, place) => parseEntity(reader, item, place));
  each(names.cidr, (item, place) => parseCidr(reader, item, place));
  each(names.cidrSet, (item, place) => {
    if (!isGroupRule(item)) return parseCidrRule(reader, item, place);
    const group = parseGroupRule(reader, item, place);
    if (group !== undefined) groups.push(group);
    return undefined;
  });
  const nonEmpty = [...given.keys()].filter((name) => Array.isArray(fields[name]) && fields[name].length > 0);
  if (nonEmpty.length > 1)
    reader.error(
      at(path, nonEmpty[1]!),
      "conflict",
      `combining ${nonEmpty[0]} and ${nonEmpty[1]} in one item is not supported`,
      `give ${nonEmpty[1]} an item of its own, with its own toPorts`,
      "key",
    );
  return { peers: given.size === 0 ? "any" : [...given.values()].flat(), groups };
}

function isGroupRule(item: unknown): boolean {
  const { cidr, cidrGroupRef, cidrGroupSelector } = (item ?? {}) as Fields;
  return cidr === undefined && (cidrGroupRef !== undefined || cidrGroupSelector !== undefined);
}

/** `{cidrGroupRef | cidrGroupSelector, except}`. */
function parseGroupRule(reader: Reader, value: unknown, path: string): GroupPeer | undefined {
  const fields = reader.object(value, path, "cidrRule");
  if (fields === undefined) return undefined;
  const except: Prefix[] = [];
  for (const [i, item] of (reader.list(fields, path, "except") ?? []).entries()) {
    const prefix = readPrefix(reader, item, `${at(path, "except")}[${i}]`);
    if (prefix !== undefined) except.push(prefix);
  }
  const selector = reader.field(fields, path, "cidrGroupSelector");
  const name = reader.string(fields, path, "cidrGroupRef");
  if (selector !== undefined && name !== undefined)
    reader.error(
      path,
      "conflict",
      "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set",
      "keep cidrGroupRef",
    );
  if (name !== undefined) return { group: name, except, path };
  const place = at(path, "cidrGroupSelector");
  const requirements = parseSelector(reader, selector, place, (key) => ({ source: "any", key }));
  return requirements && { group: createSelector(requirements), except, path };
}

function parseEndpointPeer(reader: Reader, value: unknown, path: string, scope: PeerScope): Peer | undefined {
  const requirements = parseSelector(reader, value, path, ciliumKey);
  if (requirements === undefined) return undefined;
  return { kind: "labels", selector: createSelector(completePeer(requirements, scope, reader.clusterName)), path };
}

/** Adds namespace and cluster, where the author did not choose them (semantics: Cilium's `utils.go`). */
function completePeer(requirements: readonly Requirement[], scope: PeerScope, clusterName: string): Requirement[] {
  const out = [...requirements];
  const has = (key: string) => requirements.some((r) => r.key === key && (r.source === "k8s" || r.source === "any"));
  if (requirements.some((r) => r.source === "reserved")) return out;
  const byLabels = scope.namespace !== undefined && requirements.some((r) => r.key.startsWith(namespaceLabelsPrefix));
  if (!has(namespaceKey) && !byLabels) {
    if (scope.namespace !== undefined) out.push(equals(`k8s:${namespaceKey}`, scope.namespace));
    else if (!scope.subjectIsInit) out.push({ source: "k8s", key: namespaceKey, operator: "Exists", values: [] });
  }
  if (!has(clusterKey)) out.push(equals(`k8s:${clusterKey}`, clusterName));
  return out;
}

function parseEntity(reader: Reader, value: unknown, path: string): Peer | undefined {
  const entity = entities.find((name) => name === value);
  if (entity !== undefined) return { kind: "entity", entity, path };
  if (value === "cluster-mesh") {
    reader.error(
      path,
      "unsupported-field",
      'entity "cluster-mesh" is known to Cilium, but not enforced by this version: refusing rather than failing open',
      'use "cluster" for this cluster',
    );
  } else if (value === "world-ipv4" || value === "world-ipv6") {
    const all = value === "world-ipv4" ? "0.0.0.0/0" : "::/0";
    reader.error(
      path,
      "invalid-value",
      `unsupported entity: ${show(value)}`,
      `use "world", or a CIDR rule with ${all}`,
    );
  } else {
    const near = typeof value === "string" ? nearest(value, entities) : undefined;
    const hint = near === undefined ? `entities are ${entities.join(", ")}` : `write "${near}"`;
    reader.error(path, "invalid-value", `unsupported entity: ${show(value)}`, hint);
  }
  return undefined;
}

function parseCidr(reader: Reader, value: unknown, path: string): Peer | undefined {
  const prefix = readPrefix(reader, value, path);
  return prefix === undefined ? undefined : { kind: "cidr", prefix, except: [], path };
}

/** `{cidr, except}`, as Cilium's sets and Kubernetes' ipBlock write it. */
export function parseCidrRule(
  reader: Reader,
  value: unknown,
  path: string,
  shape: "cidrRule" | "ipBlock" = "cidrRule",
): Peer | undefined {
  const fields = reader.object(value, path, shape);
  if (fields === undefined) return undefined;
  const groups = ["cidrGroupRef", "cidrGroupSelector"].filter(
    (key) => shape === "cidrRule" && fields[key] !== undefined,
  );
  if (fields.cidr !== undefined && groups.length > 0)
    reader.error(
      path,
      "conflict",
      "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set",
      "keep cidr",
    );
  if (fields.cidr === undefined || fields.cidr === null) {
    reader.error(
      path,
      "missing-field",
      "one of cidr, cidrGroupRef, or cidrGroupSelector is required",
      "add cidr: 10.0.0.0/8",
    );
    return undefined;
  }
  const prefix = readPrefix(reader, fields.cidr, at(path, "cidr"));
  const except: Prefix[] = [];
  for (const [i, item] of (reader.list(fields, path, "except") ?? []).entries()) {
    const place = `${at(path, "except")}[${i}]`;
    const excluded = readPrefix(reader, item, place);
    if (excluded === undefined || prefix === undefined) continue;
    if (prefixContains(prefix, excluded)) except.push(excluded);
    else
      reader.error(
        place,
        "invalid-value",
        `allow CIDR prefix ${String(fields.cidr)} does not contain exclude CIDR prefix ${String(item)}`,
        "an exception must lie inside its cidr; remove it or correct one of the two",
      );
  }
  return prefix === undefined ? undefined : { kind: "cidr", prefix, except, path };
}

function readPrefix(reader: Reader, value: unknown, path: string): Prefix | undefined {
  if (typeof value !== "string") {
    reader.notString(value, path);
    return undefined;
  }
  const prefix = parsePrefix(value);
  if (prefix !== undefined) return prefix;
  if (value === "") {
    reader.error(path, "invalid-value", "IP must be specified", "write address/length, e.g. 10.0.0.0/8");
    return undefined;
  }
  const address = parseAddress(value);
  const hint =
    address === undefined
      ? "write address/length, e.g. 10.0.0.0/8 or fd00::/64"
      : `one address alone is ${value}/${address.family === 4 ? 32 : 128}`;
  reader.error(path, "invalid-value", `unable to parse CIDR: ${show(value)} is not a prefix`, hint);
  return undefined;
}
