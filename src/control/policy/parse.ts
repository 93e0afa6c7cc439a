/** Policy objects -> rules, or everything that is wrong with them. */

import type { Problem } from "#contracts/manifest";
import { formatLabel } from "#core/model";
import { adviseOnDns, adviseOnStaging } from "./advice.ts";
import { describeEffect } from "./describe.ts";
import { type Language, nearest } from "./fields.ts";
import { parseAudit } from "./parse-audit.ts";
import { parseClusterSpec } from "./parse-cluster.ts";
import { parseKubeSpec } from "./parse-kube.ts";
import { namespaceKey, type PeerScope, parsePeers } from "./parse-peers.ts";
import { parsePorts } from "./parse-ports.ts";
import { ciliumKey, parseSelector } from "./parse-selector.ts";
import { at, type Fields, type ParseOptions, Reader, show } from "./reader.ts";
import type { Audit, ObjectRef, PolicyKind, Rule, RuleRef, Statement } from "./rule.ts";
import { createSelector, equals, type Requirement, type Selector } from "./selector.ts";

/**
 * What came of a policy object. A bad one is refused whole, with all its problems; warnings don't refuse. `effect` says what a
 * cluster without strict validation would have made of a refused object, if that can be told.
 */
export type ParsedPolicy =
  | {
      readonly kind: "accepted";
      readonly ref: ObjectRef;
      /** The policy is staged; its rules say so, too. */
      readonly audit?: Audit;
      readonly rules: readonly Rule[];
      readonly problems: readonly Problem[];
    }
  | { readonly kind: "refused"; readonly problems: readonly Problem[]; readonly effect?: string };

const kinds: Readonly<Record<PolicyKind, string>> = {
  CiliumNetworkPolicy: "cilium.io/v2",
  CiliumClusterwideNetworkPolicy: "cilium.io/v2",
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
  AdminNetworkPolicy: "policy.networking.k8s.io/v1alpha1",
  BaselineAdminNetworkPolicy: "policy.networking.k8s.io/v1alpha1",
};

const namespacedKinds: ReadonlySet<PolicyKind> = new Set(["CiliumNetworkPolicy", "NetworkPolicy"]);

function languageOf(kind: PolicyKind): Language {
  switch (kind) {
    case "CiliumNetworkPolicy":
    case "CiliumClusterwideNetworkPolicy":
      return "cilium";
    case "NetworkPolicy":
      return "kubernetes";
    case "ClusterNetworkPolicy":
    case "AdminNetworkPolicy":
    case "BaselineAdminNetworkPolicy":
      return "cluster";
  }
}

function parseAnySpec(reader: Reader, value: unknown, path: string, ref: ObjectRef): Rule | undefined {
  const { kind } = ref;
  switch (kind) {
    case "CiliumNetworkPolicy":
    case "CiliumClusterwideNetworkPolicy":
      return parseSpec(reader, value, path, ref);
    case "NetworkPolicy":
      return parseKubeSpec(reader, value, path, ref);
    case "ClusterNetworkPolicy":
    case "AdminNetworkPolicy":
    case "BaselineAdminNetworkPolicy":
      return parseClusterSpec(reader, value, path, { ...ref, kind });
  }
}

/** Whether an object is of a kind that {@link parsePolicy} reads. */
export function isPolicyKind(kind: unknown): kind is PolicyKind {
  return typeof kind === "string" && Object.hasOwn(kinds, kind);
}

/**
 * Reads a policy object of one of the known kinds as it comes from YAML or JSON. Never throws; returns all problems at once. A namespaced object without a namespace is taken to be in "default".
 */
export function parsePolicy(object: unknown, options: ParseOptions = {}): ParsedPolicy {
  const kind = (object as { readonly kind?: unknown } | null | undefined)?.kind;
  if (typeof object !== "object" || object === null || Array.isArray(object) || !isPolicyKind(kind))
    return { kind: "refused", problems: [notAPolicy(object, kind)] };

  const reader = new Reader(languageOf(kind), options);
  const fields = reader.object(object, "", languageOf(kind) === "cilium" ? "object" : "kubeObject")!;
  checkVersion(reader, fields, kind);
  const ref = parseMetadata(reader, fields, kind);
  const rules: Rule[] = [];
  for (const { path, value } of specs(reader, fields, kind)) {
    const rule = parseAnySpec(reader, value, path, ref);
    if (rule !== undefined) rules.push(rule);
  }
  for (const rule of rules) adviseOnDns(reader, rule);
  const audit = parseAudit(reader, fields);
  if (audit !== undefined) adviseOnStaging(reader, rules);
  const problems = reader.problems;
  if (problems.every((problem) => problem.severity !== "error"))
    return audit === undefined
      ? { kind: "accepted", ref, rules, problems }
      : { kind: "accepted", ref, audit, rules: rules.map((rule) => ({ ...rule, audit })), problems };
  const effect = describeEffect(rules, problems, reader.clusterName);
  return effect === undefined ? { kind: "refused", problems } : { kind: "refused", problems, effect };
}

function notAPolicy(object: unknown, kind: unknown): Problem {
  const known = Object.keys(kinds);
  const near = typeof kind === "string" ? nearest(kind, known) : undefined;
  const isMap = typeof object === "object" && object !== null && !Array.isArray(object);
  const found = !isMap ? show(object) : kind === undefined ? "an object without a kind" : `kind ${show(kind)}`;
  return {
    path: isMap && kind !== undefined ? "kind" : "",
    code: "not-a-policy",
    severity: "error",
    message: `found ${found}, expected one of ${known.join(", ")}`,
    hint: near === undefined ? "" : `write kind: ${near}`,
  };
}

function checkVersion(reader: Reader, fields: Fields, kind: PolicyKind): void {
  const expected = kinds[kind];
  const version = reader.string(fields, "", "apiVersion");
  if (version === expected) return;
  if (version === undefined) {
    if (fields.apiVersion === undefined || fields.apiVersion === null)
      reader.error("", "missing-field", "apiVersion is missing", `add apiVersion: ${expected}`);
    return;
  }
  reader.error(
    "apiVersion",
    "invalid-value",
    `found ${show(version)}, expected ${expected} for a ${kind}`,
    `write apiVersion: ${expected}`,
  );
}

const dnsName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

function parseMetadata(reader: Reader, fields: Fields, kind: PolicyKind): ObjectRef {
  const metadata =
    fields.metadata === undefined || fields.metadata === null
      ? {}
      : reader.object(fields.metadata, "metadata", "metadata");
  const name = metadata === undefined ? undefined : reader.string(metadata, "metadata", "name");
  if (name === undefined || name === "") {
    if (metadata !== undefined && (metadata.name === undefined || metadata.name === null || metadata.name === ""))
      reader.error(
        fields.metadata === undefined ? "" : "metadata",
        "missing-field",
        `${kind} must have name`,
        "add metadata: {name: ...}",
      );
  } else if (!dnsName.test(name) || name.length > 253) {
    reader.error(
      "metadata.name",
      "invalid-value",
      `${show(name)} is not a name`,
      "lower-case letters, digits, '-' and '.', at most 253",
    );
  }
  const namespace = metadata === undefined ? undefined : reader.string(metadata, "metadata", "namespace");
  const uid = metadata === undefined ? undefined : reader.string(metadata, "metadata", "uid");
  const scoped = namespacedKinds.has(kind);
  if (!scoped && namespace !== undefined && namespace !== "")
    reader.error(
      "metadata.namespace",
      "conflict",
      `a ${kind} belongs to no namespace; found ${show(namespace)}`,
      languageOf(kind) === "cluster" ? "remove it" : "remove it, or use a CiliumNetworkPolicy",
    );
  if (kind === "BaselineAdminNetworkPolicy" && name !== undefined && name !== "default")
    reader.error("metadata.name", "invalid-value", `found ${show(name)}: the only baseline is called "default"`);
  if (
    scoped &&
    namespace !== undefined &&
    namespace !== "" &&
    (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(namespace) || namespace.length > 63)
  )
    reader.error(
      "metadata.namespace",
      "invalid-value",
      `${show(namespace)} is not the name of a namespace`,
      "lower-case letters, digits and '-', at most 63",
    );
  return {
    kind,
    name: name ?? "",
    ...(scoped ? { namespace: namespace || "default" } : {}),
    ...(uid === undefined ? {} : { uid }),
  };
}

function specs(reader: Reader, fields: Fields, kind: PolicyKind): { readonly path: string; readonly value: unknown }[] {
  const out: { path: string; value: unknown }[] = [];
  const spec = reader.field(fields, "", "spec");
  if (spec !== undefined) out.push({ path: "spec", value: spec });
  if (languageOf(kind) === "cilium")
    for (const [i, value] of (reader.list(fields, "", "specs") ?? []).entries())
      out.push({ path: `specs[${i}]`, value });
  if (out.length === 0)
    reader.error(
      "",
      "missing-field",
      languageOf(kind) !== "cilium" ? "spec is missing" : "spec or specs must be provided",
      "add a spec",
    );
  return out;
}

const sections = [
  ["ingress", "ingress", "allow"],
  ["ingressDeny", "ingress", "deny"],
  ["egress", "egress", "allow"],
  ["egressDeny", "egress", "deny"],
] as const;

function parseSpec(reader: Reader, value: unknown, path: string, object: ObjectRef): Rule | undefined {
  const fields = reader.object(value, path, "spec");
  if (fields === undefined) return undefined;
  const subject = parseSubject(reader, fields, path, object);
  const description = reader.string(fields, path, "description");
  parseRuleLabels(reader, fields, path);
  const scope: PeerScope = {
    namespace: object.namespace,
    subjectIsInit: subject?.requirements.some((r) => r.source === "reserved" && r.key === "init") ?? false,
  };
  const about: Omit<RuleRef, "path"> = { ...object, ...(description === undefined ? {} : { description }) };

  const statements: Statement[] = [];
  const has = { ingress: false, egress: false };
  for (const [section, direction, action] of sections) {
    for (const [i, item] of (reader.list(fields, path, section) ?? []).entries()) {
      const place = `${at(path, section)}[${i}]`;
      has[direction] = true;
      const itemFields = reader.object(item, place, section);
      if (itemFields === undefined) continue;
      const { peers, groups } = parsePeers(reader, itemFields, place, direction === "ingress" ? "from" : "to", scope);
      const ports = parsePorts(reader, itemFields, place, action);
      // Without peers and ports a statement of Cilium's says nothing at all: it only switches default deny on.
      const selectsNoOne = peers === "any" && ports === "any";
      const who = { peers: selectsNoOne ? [] : peers, ...(groups.length === 0 ? {} : { groups }) };
      statements.push({ direction, action, ref: { ...about, path: place }, ...who, ports });
    }
  }
  // One of another type is refused as such already; "none" would be untrue.
  const isMeant = ([section]: (typeof sections)[number]) =>
    fields[section] !== undefined && fields[section] !== null && !Array.isArray(fields[section]);
  if (!has.ingress && !has.egress && !sections.some(isMeant))
    reader.error(
      path,
      "missing-field",
      "rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny",
      "to deny everything that comes in write ingress: [{}]; for what goes out egress: [{}]",
    );
  const defaultDeny = parseDefaultDeny(reader, fields, path, has);
  if (subject === undefined) return undefined;
  return { ...object, path, subject, statements, defaultDeny, ...(description === undefined ? {} : { description }) };
}

function parseSubject(reader: Reader, fields: Fields, path: string, object: ObjectRef): Selector | undefined {
  const place = at(path, "endpointSelector");
  if (fields.nodeSelector !== undefined && fields.nodeSelector !== null) {
    if (object.kind === "CiliumNetworkPolicy")
      reader.error(
        at(path, "nodeSelector"),
        "conflict",
        "rule cannot have NodeSelector in a CiliumNetworkPolicy",
        "use endpointSelector",
        "key",
      );
    if (fields.endpointSelector !== undefined && fields.endpointSelector !== null)
      reader.error(
        path,
        "conflict",
        "rule cannot have both EndpointSelector and NodeSelector",
        "keep endpointSelector",
      );
    return undefined;
  }
  if (fields.endpointSelector === undefined || fields.endpointSelector === null) {
    reader.error(
      path,
      "missing-field",
      "rule must have one of EndpointSelector or NodeSelector",
      `say whom the policy is about: endpointSelector: {matchLabels: {app: ...}}; {} selects every endpoint${object.namespace === undefined ? "" : ` of namespace ${object.namespace}`}`,
    );
    return undefined;
  }
  const written = parseSelector(reader, fields.endpointSelector, place, ciliumKey);
  if (written === undefined) return undefined;
  if (object.namespace === undefined) return createSelector(written);
  const foreign = (r: Requirement) =>
    r.key === namespaceKey && r.source === "k8s" && !(r.operator === "In" && r.values.includes(object.namespace!));
  for (const requirement of written.filter((r) => r.key === namespaceKey)) {
    if (foreign(requirement))
      reader.warn(
        requirement.path ?? place,
        "namespace",
        `a CiliumNetworkPolicy is about its own namespace; ${formatLabel({ source: "k8s", key: namespaceKey, value: requirement.values.join(",") })} is replaced by ${object.namespace}`,
        "put the policy into that namespace, or use a CiliumClusterwideNetworkPolicy",
      );
  }
  return createSelector([
    ...written.filter((r) => !(r.key === namespaceKey && r.source === "k8s")),
    equals(`k8s:${namespaceKey}`, object.namespace),
  ]);
}

function parseDefaultDeny(
  reader: Reader,
  fields: Fields,
  path: string,
  has: { readonly ingress: boolean; readonly egress: boolean },
): { readonly ingress: boolean; readonly egress: boolean } {
  const value = reader.field(fields, path, "enableDefaultDeny");
  const place = at(path, "enableDefaultDeny");
  const given = value === undefined ? undefined : reader.object(value, place, "enableDefaultDeny");
  const read = (direction: "ingress" | "egress"): boolean => {
    const explicit = given === undefined ? undefined : reader.boolean(given, place, direction);
    return explicit ?? has[direction];
  };
  return { ingress: read("ingress"), egress: read("egress") };
}

function parseRuleLabels(reader: Reader, fields: Fields, path: string): void {
  for (const [i, item] of (reader.list(fields, path, "labels") ?? []).entries()) {
    const place = `${at(path, "labels")}[${i}]`;
    const label = reader.object(item, place, "ruleLabel");
    if (label === undefined) continue;
    if (reader.string(label, place, "key") === undefined)
      reader.error(place, "missing-field", "the label has no key", "add key: ...");
    reader.string(label, place, "value");
    reader.string(label, place, "source");
  }
}
