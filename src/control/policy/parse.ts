/** Policy objects -> rules, or everything that is wrong with them. */

import type { Problem } from "#contracts/manifest";
import { adviseOnDns, adviseOnNames, adviseOnStaging } from "./advice.ts";
import { describeEffect } from "./describe.ts";
import { type Language, nearest } from "./fields.ts";
import { parseAudit } from "./parse-audit.ts";
import { parseCiliumSpec } from "./parse-cilium.ts";
import { parseClusterSpec } from "./parse-cluster.ts";
import { parseKubeSpec } from "./parse-kube.ts";
import { type Fields, type ParseOptions, Reader, show } from "./reader.ts";
import type { Audit, ObjectRef, PolicyKind, Rule } from "./rule.ts";

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
      return parseCiliumSpec(reader, value, path, ref);
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
  adviseOnNames(reader, rules);
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
