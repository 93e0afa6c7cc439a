/** Policy objects -> rules. A bad object is refused whole; what was good before it stays in force, over restarts of the agent too. */
import { createHash } from "node:crypto";
import type { Kind, KubeKinds, KubeObject } from "#contracts/kube";
import type { Problem } from "#contracts/manifest";
import {
  auditAnnotation,
  auditUntilAnnotation,
  type ParsedPolicy,
  type PolicyKind,
  parsePolicy,
  type Rule,
  unenforceable,
} from "#control/policy";
import { type ReadableTable, Table } from "#core/runtime";
import { compilePattern } from "#proxy/policy";
import { nodeCapabilities } from "./capabilities.ts";
import type { RecordFolder } from "./files.ts";

/** Any policy object. */
export type PolicyObject = KubeKinds[PolicyKind & Kind];

/** A policy object as the agent judged it. */
export interface JudgedPolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number | undefined;
  /** Annotations that stage the policy: they do not raise the generation. */
  readonly staging: string;
  readonly state: "valid" | "refused" | "last-good";
  readonly problems: readonly Problem[];
  /** In force; of an earlier version if the state is `last-good`. */
  readonly rules: readonly Rule[];
}

/** All policies of the cluster, judged. */
export interface JudgedPolicies {
  /** `kind/namespace/name` -> policy. */
  readonly table: ReadableTable<string, JudgedPolicy>;
  /** An object came or changed. */
  put(object: PolicyObject): void;
  remove(object: PolicyObject): void;
}

/** Key of a policy in the table. */
export function policyKey(object: KubeObject): string {
  return `${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

function stagingOf(annotations: KubeObject["metadata"]["annotations"]): string {
  return JSON.stringify([annotations?.[auditAnnotation], annotations?.[auditUntilAnnotation]]);
}

/** `lastGood` keeps accepted versions of objects whose newest version was refused. */
export function createJudgedPolicies(lastGood: RecordFolder): JudgedPolicies {
  const table = new Table<string, JudgedPolicy>("policies");
  /** Objects as they were accepted last, for those that have no refused version yet. */
  const accepted = new Map<string, PolicyObject>();
  const kept = new Map(lastGood.readAll());
  const fileOf = (key: string) => createHash("sha256").update(key).digest("hex").slice(0, 32);

  /** A policy that this node can't enforce whole is refused whole. */
  function parse(object: unknown): ParsedPolicy {
    const parsed = parsePolicy(object, {
      compileRegex(pattern) {
        const compiled = compilePattern(pattern);
        return typeof compiled === "string" ? compiled : undefined;
      },
    });
    if (parsed.kind === "refused") return parsed;
    const missing = unenforceable(parsed.rules, nodeCapabilities);
    return missing.length === 0 ? parsed : { kind: "refused", problems: [...parsed.problems, ...missing] };
  }

  function forget(key: string): void {
    const file = fileOf(key);
    if (kept.delete(file)) lastGood.delete(file);
  }

  /** Rules of the version before the refused one; of this very object, not of a namesake that was deleted. */
  function earlierRules(key: string, uid: string): readonly Rule[] | undefined {
    const file = fileOf(key);
    const text = kept.get(file);
    const good = accepted.get(key) ?? (text === undefined ? undefined : readRecord(text));
    if (good?.metadata.uid !== uid) return undefined;
    const parsed = parse(good);
    if (parsed.kind !== "accepted") return undefined;
    if (text === undefined) {
      kept.set(file, JSON.stringify(good));
      lastGood.write(file, JSON.stringify(good));
    }
    return parsed.rules;
  }

  return {
    table,
    put(object) {
      const key = policyKey(object);
      const { metadata } = object;
      const known = table.get(key);
      const facts = {
        kind: object.kind ?? "",
        namespace: metadata.namespace ?? "",
        name: metadata.name ?? "",
        uid: metadata.uid ?? "",
        resourceVersion: metadata.resourceVersion ?? "",
        generation: metadata.generation,
        staging: stagingOf(metadata.annotations),
      };
      // A new status or label says nothing new about the rules.
      const isSame = facts.generation !== undefined && known?.generation === facts.generation;
      if (known && known.uid === facts.uid && isSame && known.staging === facts.staging) {
        table.set(key, { ...known, resourceVersion: facts.resourceVersion });
        return;
      }
      const parsed = parse(object);
      if (parsed.kind === "accepted") {
        accepted.set(key, object);
        forget(key);
        table.set(key, { ...facts, state: "valid", problems: parsed.problems, rules: parsed.rules });
        return;
      }
      const rules = earlierRules(key, facts.uid);
      accepted.delete(key);
      table.set(key, {
        ...facts,
        state: rules ? "last-good" : "refused",
        problems: parsed.problems,
        rules: rules ?? [],
      });
    },
    remove(object) {
      const key = policyKey(object);
      accepted.delete(key);
      forget(key);
      table.delete(key);
    },
  };
}

/** Undefined for a record that is damaged: there is no earlier version then. */
function readRecord(text: string): PolicyObject | undefined {
  try {
    const object = JSON.parse(text) as Partial<PolicyObject> | null;
    return typeof object?.metadata === "object" ? (object as PolicyObject) : undefined;
  } catch {
    return undefined;
  }
}
