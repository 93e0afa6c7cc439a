/**
 * What plain Cilium of a version would make of a policy that tsilium takes: parts that it refuses, ignores, or reads differently. Looks at
 * the object as it is written. Sources: Cilium's CRDs and rule_validation.go of 1.19 and 1.20.
 */
import type { Problem, Severity } from "#contracts/manifest";
import { auditAnnotation } from "./parse-audit.ts";
import { at, type Fields } from "./reader.ts";

/** Versions of Cilium that policies can be held against. */
export const ciliumVersions = ["1.19", "1.20"] as const;
/** One of {@link ciliumVersions}. */
export type CiliumVersion = (typeof ciliumVersions)[number];

/** What becomes of a part: the object is refused, the part is dropped, it means something else, an option must be on. */
type Fate = "refuses" | "ignores" | "differs" | "needs-option";

const severities: Readonly<Record<Fate, Severity>> = {
  refuses: "error",
  ignores: "warning",
  differs: "warning",
  "needs-option": "info",
};

/** One difference: where it is looked for, what is meant by it, and since or until when. */
interface Difference {
  /** Path with `*` for any index and `|` for alternatives of a key; matched from the end of a field's path. */
  readonly place: string;
  readonly versions: readonly CiliumVersion[];
  readonly fate: Fate;
  readonly message: string;
  readonly hint: string;
  /** Whether the value there is meant; absent: whatever it is. */
  readonly when?: (value: unknown) => boolean;
}

const both = ciliumVersions;
const isItem = (value: unknown) => typeof value === "object" && value !== null;
const isGiven = (value: unknown) =>
  value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
const isText = (test: (text: string) => boolean) => (value: unknown) => typeof value === "string" && test(value);
const peers = "ingress|egress|ingressDeny|egressDeny.*";

const differences: readonly Difference[] = [
  {
    place: "rules.tsilium",
    versions: both,
    fate: "refuses",
    message:
      "rules of FTP, SMTP, gRPC and parsers of one's own are tsilium's; without them the list of rules is empty, which Cilium's schema refuses",
    hint: "allow the port as a whole where Cilium enforces the policy",
    when: isItem,
  },
  {
    place: "http.*.tsilium",
    versions: both,
    fate: "ignores",
    message: "rate limits are tsilium's: strict clients refuse the field, others drop it, and then there is no limit",
    hint: "limit in the server, or by a CiliumEnvoyConfig",
    when: isItem,
  },
  {
    place: "egressDeny.*.tsilium",
    versions: both,
    fate: "ignores",
    message:
      "denying names is tsilium's: strict clients refuse the field, others drop it, and then the item denies nobody",
    hint: "deny the addresses with toCIDR, or allow the other names only",
    when: isItem,
  },
  {
    place: "rules.kafka|l7proto|l7",
    versions: ["1.20"],
    fate: "refuses",
    message: "removed in Cilium 1.20: the field is not in the schema",
    hint: "allow the port without rules of this protocol",
    when: isGiven,
  },
  {
    place: `${peers}.fromRequires|toRequires`,
    versions: both,
    fate: "refuses",
    message: "removed in Cilium 1.19: the list must be empty",
    hint: "put the labels into each selector of the peers",
    when: isGiven,
  },
  {
    place: `${peers}.fromCIDR|toCIDR.*`,
    versions: ["1.20"],
    fate: "refuses",
    message: "Cilium 1.20 takes prefixes only, no bare addresses",
    hint: "write the address with /32, or /128 for IPv6",
    when: isText((text) => !text.includes("/")),
  },
  {
    place: `${peers}.fromEntities|toEntities.*`,
    versions: ["1.19"],
    fate: "refuses",
    message: "cluster-mesh is an entity since Cilium 1.20",
    hint: "select endpoints of the other clusters by k8s:io.cilium.k8s.policy.cluster",
    when: isText((text) => text === "cluster-mesh"),
  },
  {
    place: "serverNames.*",
    versions: ["1.19"],
    fate: "refuses",
    message: 'Cilium 1.19 takes a wildcard as the whole first label only, "*.example.com"',
    hint: "list the names",
    when: isText((text) => /\*/.test(text) && !/^\*\.[^*]+$/.test(text)),
  },
  {
    place: "ports.*.protocol",
    versions: ["1.19"],
    fate: "refuses",
    message: "a protocol since Cilium 1.20",
    hint: "use TCP, UDP or SCTP, or leave protocols to a policy for nodes of 1.20",
    when: isText((text) => /^(GRE|IPIP|IPV6|ESP|AH)$/i.test(text)),
  },
  {
    place: "ports.*.protocol",
    versions: ["1.20"],
    fate: "needs-option",
    message: "judged only where the agent runs with --enable-extended-ip-protocols",
    hint: "",
    when: isText((text) => /^(GRE|IPIP|IPV6|ESP|AH|VRRP|IGMP)$/i.test(text)),
  },
  {
    place: "ports.*.protocol",
    versions: ["1.19"],
    fate: "needs-option",
    message: "judged only where the agent runs with --enable-extended-ip-protocols",
    hint: "",
    when: isText((text) => /^(VRRP|IGMP)$/i.test(text)),
  },
  {
    place: "ports.*.port",
    versions: both,
    fate: "differs",
    message: "Cilium reads a number with a leading 0 as octal",
    hint: "write it without the 0",
    when: isText((text) => /^0[0-9]+$/.test(text)),
  },
  {
    place: "fields.*.type",
    versions: both,
    fate: "refuses",
    message: "the schema of Cilium has a slip in the name of this type, and refuses the right one",
    hint: "write its number, 43",
    when: isText((text) => text === "ExtendedEchoReply"),
  },
  {
    place: `${peers}.fromNodes|toNodes`,
    versions: both,
    fate: "needs-option",
    message: "selects nodes only where the agent runs with --enable-node-selector-labels",
    hint: "",
    when: isGiven,
  },
  {
    place: "rules.http",
    versions: both,
    fate: "differs",
    message: "an empty list is no rule at all: the port is open to every request",
    hint: "list what is allowed, or remove rules",
    when: (value) => Array.isArray(value) && value.length === 0,
  },
];

/** Kinds that Cilium does not read, or not without an option. */
const kinds: Readonly<
  Record<string, { readonly versions: readonly CiliumVersion[]; readonly fate: Fate; readonly message: string }>
> = {
  AdminNetworkPolicy: {
    versions: both,
    fate: "ignores",
    message: "Cilium does not read AdminNetworkPolicy: nothing of it is enforced",
  },
  BaselineAdminNetworkPolicy: {
    versions: both,
    fate: "ignores",
    message: "Cilium does not read BaselineAdminNetworkPolicy: nothing of it is enforced",
  },
};

/** Everything that Cilium of this version would make differently, with field paths; an error: it would refuse the object. */
export function compareWithCilium(object: unknown, version: CiliumVersion): Problem[] {
  const out: Problem[] = [];
  const say = (path: string, fate: Fate, message: string, hint: string, onKey: boolean) =>
    out.push({
      path,
      code: `cilium-${fate}`,
      severity: severities[fate],
      message: `Cilium ${version}: ${message}`,
      hint,
      ...(onKey ? { at: "key" as const } : {}),
    });
  const fields = object as {
    readonly kind?: unknown;
    readonly metadata?: { readonly annotations?: Fields | null } | null;
  };
  const kind = typeof fields.kind === "string" && Object.hasOwn(kinds, fields.kind) ? kinds[fields.kind] : undefined;
  if (kind?.versions.includes(version)) {
    say("kind", kind.fate, kind.message, "use a ClusterNetworkPolicy or a CiliumClusterwideNetworkPolicy", false);
    return out;
  }
  if (fields.kind === "ClusterNetworkPolicy") {
    if (version === "1.19")
      say(
        "kind",
        "ignores",
        "read since Cilium 1.20: nothing of it is enforced",
        "use a CiliumClusterwideNetworkPolicy",
        false,
      );
    else
      say(
        "kind",
        "needs-option",
        "read only where k8sClusterNetworkPolicy.enabled is set, and its CRD installed",
        "",
        false,
      );
    return out;
  }
  if (fields.metadata?.annotations?.[auditAnnotation] === "true")
    say(
      at("metadata.annotations", auditAnnotation),
      "differs",
      "the annotation means nothing there: the policy denies at once, instead of reporting",
      "stage it with Cilium's audit mode of endpoints or of the whole agent",
      true,
    );
  const { spec, specs } = object as { readonly spec?: unknown; readonly specs?: unknown };
  for (const [path, value] of [["spec", spec], ...list(specs).map((one, i) => [`specs[${i}]`, one] as const)] as const)
    walk(value, path, [], (here, steps, found) => {
      for (const one of differences) {
        if (!one.versions.includes(version) || !fits(one.place, steps) || !(one.when?.(found) ?? true)) continue;
        say(here, one.fate, one.message, one.hint, typeof found === "object");
      }
    });
  return out;
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Visits every field and item below a value; steps are keys, `*` for items. */
function walk(
  value: unknown,
  path: string,
  steps: readonly string[],
  visit: (path: string, steps: readonly string[], value: unknown) => void,
): void {
  if (typeof value !== "object" || value === null || steps.length > 12) return;
  const items = Array.isArray(value) ? value.map((item, i) => [i, item] as const) : Object.entries(value);
  for (const [step, item] of items) {
    const here = at(path, step);
    const now = [...steps, typeof step === "number" ? "*" : step];
    visit(here, now, item);
    walk(item, here, now, visit);
  }
}

/** Whether the last steps of a path are those of a place. */
function fits(place: string, steps: readonly string[]): boolean {
  const wanted = place.split(".");
  if (wanted.length > steps.length) return false;
  return wanted.every((alternatives, i) => alternatives.split("|").includes(steps[steps.length - wanted.length + i]!));
}
