/** Kubernetes' own NetworkPolicy -> the same rules. Its empty lists mean the opposite of Cilium's: no restriction. */
import { protocolNumbers } from "#core/model";
import { parseCidrRule } from "./parse-cidr.ts";
import { clusterKey, namespaceKey, namespaceLabelsPrefix } from "./parse-peers.ts";
import { readPort } from "./parse-port.ts";
import { type KeyMapping, parseSelector } from "./parse-selector.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { ObjectRef, Peer, PortList, PortMatch, Rule, Statement } from "./rule.ts";
import { createSelector, equals, type Requirement } from "./selector.ts";

const podKey: KeyMapping = (key) => ({ source: "k8s", key });
const namespaceLabelKey: KeyMapping = (key) => ({ source: "k8s", key: `${namespaceLabelsPrefix}.${key}` });

/** Reads the spec of a NetworkPolicy. */
export function parseKubeSpec(reader: Reader, value: unknown, path: string, object: ObjectRef): Rule | undefined {
  const fields = reader.object(value, path, "kubeSpec");
  if (fields === undefined) return undefined;
  const namespace = object.namespace ?? "default";
  const inNamespace = equals(`k8s:${namespaceKey}`, namespace);
  const podSelector = reader.field(fields, path, "podSelector");
  const subject = podSelector === undefined ? [] : parseSelector(reader, podSelector, at(path, "podSelector"), podKey);
  if (podSelector === undefined)
    reader.warn(
      path,
      "selects-everything",
      `podSelector is missing: every pod of namespace ${namespace} is selected`,
      "write podSelector: {} if that is meant",
    );

  const statements: Statement[] = [];
  const read = (section: "ingress" | "egress") => {
    const items = reader.list(fields, path, section);
    for (const [i, item] of (items ?? []).entries()) {
      const place = `${at(path, section)}[${i}]`;
      const itemFields = reader.object(item, place, section === "ingress" ? "kubeIngress" : "kubeEgress");
      if (itemFields === undefined) continue;
      const peers = parseKubePeers(reader, itemFields, place, section === "ingress" ? "from" : "to", inNamespace);
      const ports = parseKubePorts(reader, itemFields, place);
      statements.push({ direction: section, action: "allow", ref: { ...object, path: place }, peers, ports });
    }
    return items !== undefined && items.length > 0;
  };
  read("ingress");
  const hasEgress = read("egress");
  const types = parsePolicyTypes(reader, fields, path);
  const defaultDeny = {
    ingress: types?.has("Ingress") ?? true,
    egress: types?.has("Egress") ?? hasEgress,
  };
  if (subject === undefined) return undefined;
  // A direction that policyTypes leaves out is not this policy's business, whatever is listed there.
  const effective = statements.filter((statement) => defaultDeny[statement.direction]);
  for (const ignored of statements.filter((statement) => !defaultDeny[statement.direction]))
    reader.warn(
      ignored.ref.path,
      "ignored",
      `policyTypes leaves ${ignored.direction} out, so this has no effect`,
      "add the direction to policyTypes",
    );
  return { ...object, path, subject: createSelector([...subject, inNamespace]), statements: effective, defaultDeny };
}

function parsePolicyTypes(reader: Reader, fields: Fields, path: string): Set<string> | undefined {
  const types = reader.list(fields, path, "policyTypes");
  if (types === undefined || types.length === 0) return undefined;
  for (const [i, type] of types.entries())
    if (type !== "Ingress" && type !== "Egress") {
      const near =
        typeof type === "string" && /^(in|e)gress$/i.test(type)
          ? `write ${type[0]!.toUpperCase()}${type.slice(1).toLowerCase()}`
          : "";
      reader.error(
        `${at(path, "policyTypes")}[${i}]`,
        "invalid-value",
        `found ${show(type)}, expected Ingress or Egress`,
        near,
      );
    }
  return new Set(types.map(String));
}

function parseKubePeers(
  reader: Reader,
  fields: Fields,
  path: string,
  side: "from" | "to",
  inNamespace: Requirement,
): "any" | readonly Peer[] {
  const items = reader.list(fields, path, side);
  if (items === undefined || items.length === 0) return "any";
  const peers: Peer[] = [];
  for (const [i, item] of items.entries()) {
    const place = `${at(path, side)}[${i}]`;
    const peer = parseKubePeer(reader, item, place, inNamespace);
    if (peer !== undefined) peers.push(peer);
  }
  return peers;
}

function parseKubePeer(reader: Reader, value: unknown, path: string, inNamespace: Requirement): Peer | undefined {
  const fields = reader.object(value, path, "kubePeer");
  if (fields === undefined) return undefined;
  const pods = reader.field(fields, path, "podSelector");
  const namespaces = reader.field(fields, path, "namespaceSelector");
  const block = reader.field(fields, path, "ipBlock");
  if (block !== undefined) {
    if (pods !== undefined || namespaces !== undefined)
      reader.error(
        path,
        "conflict",
        "ipBlock may not be combined with podSelector or namespaceSelector",
        "give it an item of its own",
      );
    return parseCidrRule(reader, block, at(path, "ipBlock"), "ipBlock");
  }
  if (pods === undefined && namespaces === undefined) {
    reader.error(
      path,
      "missing-field",
      "a peer needs podSelector, namespaceSelector or ipBlock",
      "podSelector: {} selects every pod of the namespace",
    );
    return undefined;
  }
  const podRequirements = pods === undefined ? [] : parseSelector(reader, pods, at(path, "podSelector"), podKey);
  const namespaceRequirements =
    namespaces === undefined
      ? [inNamespace]
      : parseSelector(reader, namespaces, at(path, "namespaceSelector"), namespaceLabelKey);
  if (podRequirements === undefined || namespaceRequirements === undefined) return undefined;
  const anyNamespace: Requirement[] =
    namespaceRequirements.length > 0 ? [] : [{ source: "k8s", key: namespaceKey, operator: "Exists", values: [] }];
  const cluster = equals(`k8s:${clusterKey}`, reader.clusterName);
  return {
    kind: "labels",
    selector: createSelector([...podRequirements, ...namespaceRequirements, ...anyNamespace, cluster]),
    path,
  };
}

const protocols: Readonly<Record<string, number>> = {
  TCP: protocolNumbers.TCP,
  UDP: protocolNumbers.UDP,
  SCTP: protocolNumbers.SCTP,
};

function parseKubePorts(reader: Reader, fields: Fields, path: string): "any" | readonly PortList[] {
  const items = reader.list(fields, path, "ports");
  if (items === undefined || items.length === 0) return "any";
  const matches = items.flatMap((item, i) => parseKubePort(reader, item, `${at(path, "ports")}[${i}]`));
  return [{ path: at(path, "ports"), matches }];
}

function parseKubePort(reader: Reader, value: unknown, path: string): PortMatch[] {
  const fields = reader.object(value, path, "port");
  if (fields === undefined) return [];
  const name = reader.string(fields, path, "protocol") ?? "TCP";
  const protocol = Object.hasOwn(protocols, name) ? protocols[name] : undefined;
  if (protocol === undefined) {
    const near = Object.hasOwn(protocols, name.toUpperCase()) ? `write ${name.toUpperCase()}` : "";
    reader.error(at(path, "protocol"), "invalid-value", `found ${show(name)}, expected TCP, UDP or SCTP`, near);
    return [];
  }
  const port = reader.field(fields, path, "port");
  const endPort = reader.field(fields, path, "endPort");
  if (port === undefined) {
    if (endPort !== undefined)
      reader.error(at(path, "endPort"), "conflict", "endPort needs a port", "add the first port of the range");
    return [{ kind: "protocol", protocol, path }];
  }
  const place = at(path, "port");
  if (typeof port === "string") {
    if (/^\d+$/.test(port)) {
      reader.error(place, "wrong-type", `found ${show(port)}, expected a number`, `remove the quotes: port: ${port}`);
      return [];
    }
    const named = readPort(reader, port, place);
    if (named === undefined || typeof named === "number") return [];
    if (endPort !== undefined)
      reader.error(at(path, "endPort"), "conflict", "endPort can't be used with a named port", "remove it");
    return [{ kind: "named", protocol, name: named, path }];
  }
  const isPort = (n: unknown): n is number => typeof n === "number" && Number.isInteger(n) && n >= 1 && n <= 65535;
  if (!isPort(port)) {
    reader.error(place, "invalid-value", `found ${show(port)}, expected a port from 1 to 65535 or its name`);
    return [];
  }
  if (endPort !== undefined && (!isPort(endPort) || endPort < port)) {
    reader.error(at(path, "endPort"), "invalid-value", `found ${show(endPort)}, expected a port from ${port} to 65535`);
    return [];
  }
  return [{ kind: "ports", protocol, first: port, last: endPort ?? port, path }];
}
