/** CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy -> rules. */
import { formatLabel } from "#core/model";
import { nearest } from "./fields.ts";
import { namespaceKey, type PeerScope, parsePeers } from "./parse-peers.ts";
import { parsePorts } from "./parse-ports.ts";
import { ciliumKey, parseSelector } from "./parse-selector.ts";
import { at, type Fields, isGiven, type Reader, show } from "./reader.ts";
import type { Authentication, ObjectRef, Rule, RuleRef, Statement } from "./rule.ts";
import { createSelector, equals, type Requirement, type Selector } from "./selector.ts";

const sections = [
  ["ingress", "ingress", "allow"],
  ["ingressDeny", "ingress", "deny"],
  ["egress", "egress", "allow"],
  ["egressDeny", "egress", "deny"],
] as const;

/** Reads one spec. */
export function parseCiliumSpec(reader: Reader, value: unknown, path: string, object: ObjectRef): Rule | undefined {
  const fields = reader.object(value, path, "spec");
  if (fields === undefined) return undefined;
  const subject = parseSubject(reader, fields, path, object);
  const ofNodes = isGiven(fields.nodeSelector);
  const description = reader.string(fields, path, "description");
  const log = parseLog(reader, fields, path);
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
      const { peers, groups, services } = parsePeers(
        reader,
        itemFields,
        place,
        direction === "ingress" ? "from" : "to",
        scope,
      );
      const ports = parsePorts(reader, itemFields, place, { action, direction, ofNodes });
      const authentication = action === "allow" ? parseAuthentication(reader, itemFields, place) : undefined;
      // Without peers and ports a statement of Cilium's says nothing at all: it only switches default deny on.
      const selectsNoOne = peers === "any" && ports === "any";
      statements.push({
        direction,
        action,
        ref: { ...about, path: place },
        peers: selectsNoOne ? [] : peers,
        ...(groups.length === 0 ? {} : { groups }),
        ...(services.length === 0 ? {} : { services }),
        ports,
        ...(authentication === undefined ? {} : { authentication }),
      });
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
  return {
    ...object,
    path,
    subject,
    ...(ofNodes ? { ofNodes } : {}),
    statements,
    defaultDeny,
    ...(description === undefined ? {} : { description }),
    ...(log === undefined ? {} : { log }),
  };
}

function parseSubject(reader: Reader, fields: Fields, path: string, object: ObjectRef): Selector | undefined {
  const place = at(path, "endpointSelector");
  if (isGiven(fields.nodeSelector)) {
    if (isGiven(fields.endpointSelector))
      reader.error(
        path,
        "conflict",
        "rule cannot have both EndpointSelector and NodeSelector",
        "keep endpointSelector",
      );
    if (object.namespace !== undefined) {
      reader.error(
        at(path, "nodeSelector"),
        "conflict",
        "rule cannot have NodeSelector in a CiliumNetworkPolicy",
        "use endpointSelector, or a CiliumClusterwideNetworkPolicy",
        "key",
      );
      return undefined;
    }
    const nodes = parseSelector(reader, fields.nodeSelector, at(path, "nodeSelector"), ciliumKey);
    return nodes && createSelector(nodes);
  }
  if (!isGiven(fields.endpointSelector)) {
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

/** `log.value`: at most 32 printable characters. */
function parseLog(reader: Reader, fields: Fields, path: string): string | undefined {
  const value = reader.field(fields, path, "log");
  const place = at(path, "log");
  const log = value === undefined ? undefined : reader.object(value, place, "log");
  const text = log && reader.string(log, place, "value");
  if (!text) return undefined;
  if ([...text].length <= 32 && !/\p{C}/u.test(text)) return text;
  reader.error(at(place, "value"), "invalid-value", `found ${show(text)}, expected at most 32 printable characters`);
  return undefined;
}

const modes: readonly Authentication[] = ["disabled", "required", "test-always-fail"];

function parseAuthentication(reader: Reader, fields: Fields, path: string): Authentication | undefined {
  const value = reader.field(fields, path, "authentication");
  if (value === undefined) return undefined;
  const place = at(path, "authentication");
  const given = reader.object(value, place, "authentication");
  if (given === undefined) return undefined;
  const text = reader.string(given, place, "mode");
  const mode = modes.find((one) => one === text);
  if (mode !== undefined) return mode;
  const near = text === undefined ? undefined : nearest(text, modes);
  if (text !== undefined)
    reader.error(
      at(place, "mode"),
      "invalid-value",
      `found ${show(text)}, expected one of ${modes.join(", ")}`,
      near === undefined ? "" : `write ${near}`,
    );
  else if (!isGiven(given.mode)) reader.error(place, "missing-field", "mode is missing", `one of ${modes.join(", ")}`);
  return undefined;
}
