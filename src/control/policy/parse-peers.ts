/** The peers of a statement: endpoints, entities, nodes, CIDRs, names; groups and services by reference. */
import { nearest } from "./fields.ts";
import { isGroupRule, parseCidr, parseCidrRule, parseGroupRule } from "./parse-cidr.ts";
import { parseCloudGroup } from "./parse-cloud-group.ts";
import { parseDnsMatch } from "./parse-dns-name.ts";
import { ciliumKey, parseSelector } from "./parse-selector.ts";
import { parseServicePeer } from "./parse-service.ts";
import { at, type Fields, isGiven, type Reader, show } from "./reader.ts";
import type { EntityName, GroupPeer, Peer, ServicePeer } from "./rule.ts";
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
  "cluster-mesh",
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
  readonly services: readonly ServicePeer[];
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
  const services: ServicePeer[] = [];
  const given = new Map<string, Peer[]>();
  const each = (
    name: string,
    parse: (item: unknown, path: string) => Peer | undefined,
    from: { readonly fields: Fields; readonly path: string } = { fields, path },
  ) => {
    const items = reader.list(from.fields, from.path, name);
    const place = at(from.path, name);
    // Of these an empty list is the same as none.
    if (items === undefined || (items.length === 0 && /^to(FQDNs|Services)$|Groups$/.test(name))) return;
    if (items.length === 0)
      reader.warn(
        place,
        "selects-nothing",
        `${name} is an empty list: no peer at all is selected`,
        `remove ${name} to mean any peer, or list the peers that are meant`,
      );
    given.set(
      place,
      items.map((item, i) => parse(item, `${place}[${i}]`)).filter((peer) => peer !== undefined),
    );
  };
  each(`${side}Endpoints`, (item, place) => parseEndpointPeer(reader, item, place, scope));
  each(`${side}Entities`, (item, place) => parseEntity(reader, item, place));
  each(`${side}CIDR`, (item, place) => parseCidr(reader, item, place));
  each(`${side}CIDRSet`, (item, place) => {
    if (!isGroupRule(item)) return parseCidrRule(reader, item, place);
    const group = parseGroupRule(reader, item, place);
    if (group !== undefined) groups.push(group);
    return undefined;
  });
  each(`${side}Nodes`, (item, place) => parseNodePeer(reader, item, place));
  each(`${side}Groups`, (item, place) => {
    const group = parseCloudGroup(reader, item, place);
    if (group !== undefined) groups.push(group);
    return undefined;
  });
  each("toServices", (item, place) => {
    const service = parseServicePeer(reader, item, place);
    if (service !== undefined) services.push(service);
    return undefined;
  });
  each("toFQDNs", (item, place) => parseFqdnPeer(reader, item, place));
  if (isGiven(fields.tsilium)) {
    const place = at(path, "tsilium");
    const extensions = reader.object(fields.tsilium, place, "egressDenyExtensions");
    if (extensions !== undefined)
      each("toFQDNs", (item, where) => parseFqdnPeer(reader, item, where), { fields: extensions, path: place });
  }
  const [first, second] = [...given.keys()];
  const named = (place: string) => place.slice(path.length + 1);
  if (first !== undefined && second !== undefined && !isEmpty(fields, named(first)) && !isEmpty(fields, named(second)))
    reader.error(
      second,
      "conflict",
      `combining ${named(first)} and ${named(second)} in one item is not supported`,
      `give ${named(second)} an item of its own, with its own toPorts`,
      "key",
    );
  return { peers: given.size === 0 ? "any" : [...given.values()].flat(), groups, services };
}

function isEmpty(fields: Fields, name: string): boolean {
  const list = fields[name];
  return Array.isArray(list) && list.length === 0;
}

function parseFqdnPeer(reader: Reader, value: unknown, path: string): Peer | undefined {
  const name = parseDnsMatch(reader, value, path);
  return name === undefined ? undefined : { kind: "fqdn", name, path };
}

/** Nodes of the cluster other than the own one, by their labels. */
function parseNodePeer(reader: Reader, value: unknown, path: string): Peer | undefined {
  const requirements = parseSelector(reader, value, path, ciliumKey);
  if (requirements === undefined) return undefined;
  const node: Requirement = { source: "reserved", key: "remote-node", operator: "Exists", values: [] };
  return { kind: "labels", selector: createSelector([...requirements, node]), path, ofNodes: true };
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
  if (value === "world-ipv4" || value === "world-ipv6") {
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
