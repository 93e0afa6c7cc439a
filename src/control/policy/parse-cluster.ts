/** The policies of policy.networking.k8s.io -> the same rules: tiers, priorities, and Pass. What can't be judged fails closed. */
import { formatPrefix, type Prefix, parsePrefix, protocolNumbers } from "#core/model";
import { clusterKey, namespaceKey, namespaceLabelsPrefix } from "./parse-peers.ts";
import { readPort } from "./parse-port.ts";
import { type KeyMapping, parseSelector } from "./parse-selector.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { ObjectRef, Peer, PortList, PortMatch, Rule, Standing, Statement } from "./rule.ts";
import { createSelector, equals, type Requirement, type Selector } from "./selector.ts";

/** Kinds of the group. */
export type ClusterPolicyKind = "ClusterNetworkPolicy" | "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy";

const podKey: KeyMapping = (key) => ({ source: "k8s", key });
const namespaceLabelKey: KeyMapping = (key) => ({ source: "k8s", key: `${namespaceLabelsPrefix}.${key}` });

const maxPriority = 1000;
/** Rules that a direction of an object may have; more would run into the next priority. */
const maxRules = 100;
const rulesPerPriority = 128;

const actions: Readonly<Record<ClusterPolicyKind, Readonly<Record<string, Statement["action"]>>>> = {
  ClusterNetworkPolicy: { Accept: "allow", Deny: "deny", Pass: "pass" },
  AdminNetworkPolicy: { Allow: "allow", Deny: "deny", Pass: "pass" },
  BaselineAdminNetworkPolicy: { Allow: "allow", Deny: "deny" },
};

const specShapes = {
  ClusterNetworkPolicy: "clusterSpec",
  AdminNetworkPolicy: "adminSpec",
  BaselineAdminNetworkPolicy: "baselineSpec",
} as const;

/** Reads the spec of an object of the group. */
export function parseClusterSpec(
  reader: Reader,
  value: unknown,
  path: string,
  object: ObjectRef & { readonly kind: ClusterPolicyKind },
): Rule | undefined {
  const fields = reader.object(value, path, specShapes[object.kind]);
  if (fields === undefined) return undefined;
  const tier = parseTier(reader, fields, path, object.kind);
  // There is one baseline, named default; it is asked after every ClusterNetworkPolicy of its tier.
  const priority = object.kind === "BaselineAdminNetworkPolicy" ? maxPriority + 1 : parsePriority(reader, fields, path);
  const subject = parseSubject(reader, fields, path);
  const statements: Statement[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    const items = reader.list(fields, path, direction) ?? [];
    if (items.length > maxRules)
      reader.error(
        at(path, direction),
        "invalid-value",
        `found ${items.length} rules, at most ${maxRules} are allowed`,
        "divide them among several policies",
      );
    for (const [i, item] of items.entries()) {
      const place = `${at(path, direction)}[${i}]`;
      const standing = { tier, order: priority * rulesPerPriority + i };
      const statement = parseRule(reader, item, place, direction, object, standing);
      if (statement !== undefined) statements.push(statement);
    }
  }
  if (!(fields.ingress || fields.egress))
    reader.warn(path, "no-effect", "the policy has no rule: it changes nothing", "add ingress or egress");
  if (subject === undefined) return undefined;
  return { ...object, path, subject, statements, defaultDeny: { ingress: false, egress: false } };
}

function parseTier(reader: Reader, fields: Fields, path: string, kind: ClusterPolicyKind): Standing["tier"] {
  if (kind === "AdminNetworkPolicy") return "admin";
  if (kind === "BaselineAdminNetworkPolicy") return "baseline";
  const tier = reader.field(fields, path, "tier");
  if (tier === undefined) reader.error(path, "missing-field", "tier is missing", "add tier: Admin or tier: Baseline");
  else if (tier !== "Admin" && tier !== "Baseline")
    reader.error(at(path, "tier"), "invalid-value", `found ${show(tier)}, expected Admin or Baseline`);
  return tier === "Baseline" ? "baseline" : "admin";
}

function parsePriority(reader: Reader, fields: Fields, path: string): number {
  const priority = reader.field(fields, path, "priority");
  if (priority === undefined) {
    reader.error(path, "missing-field", "priority is missing", "add priority: 0 (asked first) to 1000 (asked last)");
    return 0;
  }
  if (typeof priority === "number" && Number.isInteger(priority) && priority >= 0 && priority <= maxPriority)
    return priority;
  reader.error(
    at(path, "priority"),
    "invalid-value",
    `found ${show(priority)}, expected a whole number from 0 to ${maxPriority}`,
  );
  return 0;
}

function parseSubject(reader: Reader, fields: Fields, path: string): Selector | undefined {
  const value = reader.field(fields, path, "subject");
  const place = at(path, "subject");
  if (value === undefined) {
    reader.error(path, "missing-field", "subject is missing", "say whom it is about; every pod is namespaces: {}");
    return undefined;
  }
  const subject = reader.object(value, place, "clusterSubject");
  if (subject === undefined) return undefined;
  const given = ["namespaces", "pods"].filter((key) => subject[key] !== undefined && subject[key] !== null);
  if (given.length !== 1) {
    reader.error(
      place,
      given.length === 0 ? "missing-field" : "conflict",
      "a subject has either namespaces or pods",
      "every pod is namespaces: {}",
    );
    return undefined;
  }
  const requirements = parsePods(reader, subject, place);
  return requirements && createSelector(requirements);
}

/** `namespaces` or `pods` of a subject or peer, whichever is given. */
function parsePods(reader: Reader, fields: Fields, path: string): Requirement[] | undefined {
  if (fields.namespaces !== undefined && fields.namespaces !== null)
    return inNamespaces(parseSelector(reader, fields.namespaces, at(path, "namespaces"), namespaceLabelKey));
  const place = at(path, "pods");
  const pods = reader.object(fields.pods, place, "namespacedPod");
  if (pods === undefined) return undefined;
  const select = (key: string, mapping: KeyMapping) => {
    const value = reader.field(pods, place, key);
    if (value !== undefined) return parseSelector(reader, value, at(place, key), mapping);
    reader.error(place, "missing-field", `${key} is missing`, `${key}: {} selects all`);
    return undefined;
  };
  const namespaces = inNamespaces(select("namespaceSelector", namespaceLabelKey));
  const own = select("podSelector", podKey);
  return namespaces && own && [...namespaces, ...own];
}

/** Only pods have a namespace: an empty selector must not stand for everyone else, too. */
function inNamespaces(requirements: Requirement[] | undefined): Requirement[] | undefined {
  return requirements && [...requirements, { source: "k8s", key: namespaceKey, operator: "Exists", values: [] }];
}

function parseRule(
  reader: Reader,
  value: unknown,
  path: string,
  direction: Statement["direction"],
  object: ObjectRef & { readonly kind: ClusterPolicyKind },
  standing: Standing,
): Statement | undefined {
  const beta = object.kind === "ClusterNetworkPolicy";
  const shape = direction === "ingress" ? "Ingress" : "Egress";
  const fields = reader.object(value, path, beta ? `cluster${shape}` : `admin${shape}`);
  if (fields === undefined) return undefined;
  const name = reader.string(fields, path, "name");
  if (name !== undefined && name.length > 100)
    reader.error(at(path, "name"), "invalid-value", `found a name of ${name.length} characters, at most 100`);
  const action = parseAction(reader, fields, path, object.kind);
  const side = direction === "ingress" ? "from" : "to";
  const who = parseClusterPeers(reader, fields, path, side);
  const what = beta ? parseProtocols(reader, fields, path) : parseAdminPorts(reader, fields, path);
  if (action === undefined) return undefined;
  const ref = { ...object, path, ...(name === undefined ? {} : { description: name }) };
  // A rule that shuts must not open by losing what can't be judged, nor one that opens by losing what limits it.
  const closes = action !== "allow" && (who.unknown || what.unknown);
  return {
    direction,
    standing,
    ref,
    action: closes ? "deny" : action,
    peers: closes ? "any" : who.peers,
    ports: closes && what.unknown ? "any" : what.ports,
  };
}

function parseAction(
  reader: Reader,
  fields: Fields,
  path: string,
  kind: ClusterPolicyKind,
): Statement["action"] | undefined {
  const known = actions[kind];
  const action = reader.string(fields, path, "action");
  if (action !== undefined && Object.hasOwn(known, action)) return known[action];
  const names = Object.keys(known);
  const expected = `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
  if (action !== undefined)
    reader.error(
      at(path, "action"),
      "invalid-value",
      `found ${show(action)}, expected ${expected}`,
      action === "Allow" || action === "Accept" ? `a ${kind} says ${names[0]}` : "",
    );
  else if (fields.action === undefined || fields.action === null)
    reader.error(path, "missing-field", "action is missing", `one of ${expected}`);
  return undefined;
}

/** Tells that something is left out, and what becomes of the rule. */
function failClosed(reader: Reader, path: string, what: string): void {
  reader.warn(
    path,
    "fails-closed",
    `${what} can't be judged by this version: in a rule that allows, it selects nothing; a rule that denies or passes denies everyone instead`,
    "use namespaces, pods, networks or nodes: {}; tcp, udp, sctp or a named port",
  );
}

/** The one known key that is given; a map without any comes from a newer version of the API. */
function onlyKey(fields: Fields, known: readonly string[]): string | undefined {
  const given = known.filter((key) => fields[key] !== undefined && fields[key] !== null);
  return given.length === 1 ? given[0] : undefined;
}

interface ReadPeers {
  readonly peers: readonly Peer[];
  /** Whether one was left out because it can't be judged. */
  readonly unknown: boolean;
}

function parseClusterPeers(reader: Reader, fields: Fields, path: string, side: "from" | "to"): ReadPeers {
  const items = reader.list(fields, path, side);
  if (items === undefined || items.length === 0) {
    const given = items === undefined ? path : at(path, side);
    reader.error(given, "missing-field", `${side} needs at least one peer`, `every pod is ${side}: [{namespaces: {}}]`);
    return { peers: [], unknown: true };
  }
  const peers: Peer[] = [];
  let unknown = false;
  for (const [i, item] of items.entries()) {
    const read = parseClusterPeer(reader, item, `${at(path, side)}[${i}]`, side);
    if (read === undefined) unknown = true;
    else peers.push(...read);
  }
  return { peers, unknown };
}

/** Undefined: can't be judged. */
function parseClusterPeer(reader: Reader, value: unknown, path: string, side: "from" | "to"): Peer[] | undefined {
  const fields = reader.map(value, path);
  if (fields === undefined) return undefined;
  const known = side === "from" ? ["namespaces", "pods"] : ["namespaces", "pods", "networks", "nodes", "domainNames"];
  const key = onlyKey(fields, known);
  if (key === undefined && known.some((name) => fields[name] !== undefined && fields[name] !== null)) {
    reader.error(
      path,
      "conflict",
      `a peer has one of ${known.join(", ")}, not several`,
      "give each an item of its own",
    );
    return undefined;
  }
  switch (key) {
    case "namespaces":
    case "pods": {
      const requirements = parsePods(reader, fields, path);
      const cluster = equals(`k8s:${clusterKey}`, reader.clusterName);
      return requirements && [{ kind: "labels", selector: createSelector([...requirements, cluster]), path }];
    }
    case "networks":
      return parseNetworks(reader, fields, path);
    case "nodes": {
      const selector = reader.object(fields.nodes, at(path, "nodes"), "selector");
      if (selector !== undefined && Object.keys(selector).length === 0)
        return [
          { kind: "entity", entity: "host", path },
          { kind: "entity", entity: "remote-node", path },
        ];
      failClosed(reader, at(path, "nodes"), "a selector of nodes by labels");
      return undefined;
    }
    case "domainNames":
      failClosed(reader, at(path, "domainNames"), "a peer by domain names");
      return undefined;
    default: {
      const [name] = Object.keys(fields);
      failClosed(reader, path, name === undefined ? "an empty peer" : `a peer by ${show(name)}`);
      return undefined;
    }
  }
}

function parseNetworks(reader: Reader, fields: Fields, path: string): Peer[] | undefined {
  const items = reader.list(fields, path, "networks") ?? [];
  const place = at(path, "networks");
  if (items.length === 0) {
    reader.error(place, "missing-field", "networks needs at least one prefix", "e.g. 203.0.113.0/24");
    return undefined;
  }
  const prefixes: { prefix: Prefix; path: string }[] = [];
  for (const [i, item] of items.entries()) {
    const prefix = typeof item === "string" ? parsePrefix(item) : undefined;
    const where = `${place}[${i}]`;
    if (prefix !== undefined) prefixes.push({ prefix, path: where });
    else reader.error(where, "invalid-value", `unable to parse CIDR: ${show(item)} is not a prefix`, "e.g. 10.0.0.0/8");
  }
  // All of both families is everyone, pods and nodes included.
  const whole = new Set(prefixes.filter(({ prefix }) => prefix.length === 0).map(({ prefix }) => prefix.family));
  if (whole.size === 2) return [{ kind: "entity", entity: "all", path: place }];
  const [wide] = prefixes.filter(({ prefix }) => prefix.length === 0);
  if (wide !== undefined)
    reader.warn(
      wide.path,
      "outside-only",
      `${formatPrefix(wide.prefix)} alone means addresses outside of the cluster: pods and nodes are known by labels, not by address`,
      "list 0.0.0.0/0 and ::/0 together to mean everyone, pods and nodes included",
    );
  return prefixes.map(({ prefix, path: where }) => ({ kind: "cidr", prefix, except: [], path: where }));
}

interface ReadPorts {
  readonly ports: "any" | readonly PortList[];
  readonly unknown: boolean;
}

const transports = [
  ["tcp", protocolNumbers.TCP],
  ["udp", protocolNumbers.UDP],
  ["sctp", protocolNumbers.SCTP],
] as const;

/** v1alpha2: a list of protocols, each with its destination port. */
function parseProtocols(reader: Reader, fields: Fields, path: string): ReadPorts {
  return readPorts(reader, fields, path, "protocols", (item, place) => {
    const map = reader.map(item, place);
    if (map === undefined) return undefined;
    const key = onlyKey(map, ["tcp", "udp", "sctp", "destinationNamedPort"]);
    if (key === undefined) {
      failClosed(reader, place, "a protocol other than tcp, udp, sctp or a named port");
      return undefined;
    }
    if (key === "destinationNamedPort") {
      const where = at(place, key);
      const name = reader.string(map, place, key);
      const port = name === undefined ? undefined : readPort(reader, name, where);
      if (typeof port === "string")
        return transports.map(([, protocol]) => ({ kind: "named", protocol, name: port, path: where }));
      if (typeof port === "number")
        reader.error(
          where,
          "invalid-value",
          `found ${show(name)}, expected the name of a port`,
          "use tcp, udp or sctp",
        );
      return undefined;
    }
    const [, protocol] = transports.find(([name]) => name === key)!;
    const transport = reader.object(map[key], at(place, key), "clusterTransport");
    if (transport === undefined) return undefined;
    const where = `${at(place, key)}.destinationPort`;
    const port = reader.field(transport, at(place, key), "destinationPort");
    if (port === undefined) return [{ kind: "protocol", protocol, path: at(place, key) }];
    const portFields = reader.object(port, where, "clusterPort");
    if (portFields === undefined) return undefined;
    const range = reader.field(portFields, where, "range");
    const number = reader.field(portFields, where, "number");
    if ((range === undefined) === (number === undefined)) {
      reader.error(where, range ? "conflict" : "missing-field", "a destinationPort has either number or range");
      return undefined;
    }
    if (range !== undefined) return readRange(reader, range, at(where, "range"), protocol, "clusterRange");
    return readNumber(reader, number, at(where, "number"), protocol);
  });
}

/** v1alpha1: portNumber, portRange or namedPort. */
function parseAdminPorts(reader: Reader, fields: Fields, path: string): ReadPorts {
  return readPorts(reader, fields, path, "ports", (item, place) => {
    const map = reader.map(item, place);
    if (map === undefined) return undefined;
    const key = onlyKey(map, ["portNumber", "portRange", "namedPort"]);
    const where = key === undefined ? place : at(place, key);
    if (key === undefined) {
      failClosed(reader, place, "a port other than portNumber, portRange or namedPort");
      return undefined;
    }
    if (key === "namedPort") {
      const name = reader.string(map, place, key);
      const port = name === undefined ? undefined : readPort(reader, name, where);
      if (typeof port !== "string") return undefined;
      return transports.map(([, protocol]) => ({ kind: "named", protocol, name: port, path: where }));
    }
    const port = reader.object(map[key], where, key === "portNumber" ? "adminPort" : "adminRange");
    if (port === undefined) return undefined;
    const transport = reader.string(port, where, "protocol") ?? "TCP";
    const found = transports.find(([name]) => name.toUpperCase() === transport);
    if (found === undefined) {
      reader.error(at(where, "protocol"), "invalid-value", `found ${show(transport)}, expected TCP, UDP or SCTP`);
      return undefined;
    }
    if (key === "portNumber") return readNumber(reader, port.port, at(where, "port"), found[1]);
    return readRange(reader, port, where, found[1], "adminRange");
  });
}

function readPorts(
  reader: Reader,
  fields: Fields,
  path: string,
  key: "protocols" | "ports",
  read: (item: unknown, path: string) => PortMatch[] | undefined,
): ReadPorts {
  const items = reader.list(fields, path, key);
  if (items === undefined) return { ports: "any", unknown: false };
  if (items.length === 0)
    reader.error(at(path, key), "missing-field", `${key} must not be empty`, `remove ${key} to mean every port`);
  const lists = items.map((item, i) => read(item, `${at(path, key)}[${i}]`));
  const matches = lists.flatMap((one) => one ?? []);
  return { ports: [{ path: at(path, key), matches }], unknown: lists.includes(undefined) };
}

const isPort = (n: unknown): n is number => typeof n === "number" && Number.isInteger(n) && n >= 1 && n <= 65535;

function readNumber(reader: Reader, value: unknown, path: string, protocol: number): PortMatch[] | undefined {
  if (isPort(value)) return [{ kind: "ports", protocol, first: value, last: value, path }];
  reader.error(path, "invalid-value", `found ${show(value)}, expected a port from 1 to 65535`);
  return undefined;
}

function readRange(
  reader: Reader,
  value: unknown,
  path: string,
  protocol: number,
  shape: "clusterRange" | "adminRange",
): PortMatch[] | undefined {
  const range = reader.object(value, path, shape);
  if (range === undefined) return undefined;
  const { start, end } = range;
  if (isPort(start) && isPort(end) && start < end) return [{ kind: "ports", protocol, first: start, last: end, path }];
  reader.error(
    path,
    "invalid-value",
    `found ${show(start)} to ${show(end)}, expected two ports from 1 to 65535, the first one smaller`,
  );
  return undefined;
}
