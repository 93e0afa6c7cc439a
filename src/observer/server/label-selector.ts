/** Kubernetes label selectors over `source:key=value` labels, as Hubble's filters take them. */
import { type Label, parseLabel, parseLabelKey } from "#core/model";

/** Whether labels (formatted, as flows carry them) match. */
export type LabelPredicate = (labels: readonly string[]) => boolean;

type Requirement = (find: (key: string, source: string) => Label | undefined) => boolean;

const pattern =
  /^\s*(?:(?<not>!)\s*(?<absent>[^\s=!,()<>]+)|(?<key>[^\s=!,()<>]+)\s*(?:(?<op>==|=|!=|>|<)\s*(?<value>[^\s=!,()<>]*)|(?<set>in|notin)\s*\((?<values>[^()]*)\))?)\s*$/;

/**
 * Parses `app=web, k8s:tier in (a, b), !reserved:host`; a string says what is wrong. A key without a source matches any
 * source. As in Kubernetes, `!=` and `notin` hold where the key is absent too.
 */
export function parseLabelSelector(text: string): LabelPredicate | string {
  const requirements: Requirement[] = [];
  for (const part of splitOutsideBrackets(text)) {
    const requirement = parseRequirement(part);
    if (typeof requirement === "string") return requirement;
    requirements.push(requirement);
  }
  return (labels) => {
    const parsed = labels.map(parseLabel);
    const find = (key: string, source: string): Label | undefined =>
      parsed.find((label) => label.key === key && (source === "any" || label.source === source));
    return requirements.every((holds) => holds(find));
  };
}

function splitOutsideBrackets(text: string): string[] {
  if (text.trim() === "") return [];
  return text.split(/,(?![^(]*\))/);
}

function parseRequirement(text: string): Requirement | string {
  const groups = pattern.exec(text)?.groups;
  if (groups === undefined)
    return `"${text.trim()}" is no label requirement; write key, key=value, key in (a, b) or !key`;
  const { key, source } = parseLabelKey(groups.absent ?? groups.key ?? "", "any");
  if (groups.not !== undefined) return (find) => find(key, source) === undefined;
  if (groups.set !== undefined) {
    const values = (groups.values ?? "").split(",").map((value) => value.trim());
    return groups.set === "in"
      ? (find) => {
          const label = find(key, source);
          return label !== undefined && values.includes(label.value);
        }
      : (find) => {
          const label = find(key, source);
          return label === undefined || !values.includes(label.value);
        };
  }
  const value = groups.value ?? "";
  switch (groups.op) {
    case undefined:
      return (find) => find(key, source) !== undefined;
    case "!=":
      return (find) => find(key, source)?.value !== value;
    case ">":
    case "<": {
      const bound = Number(value);
      if (value === "" || !Number.isInteger(bound))
        return `"${text.trim()}" compares with "${value}", which is no integer`;
      return (find) => {
        const found = find(key, source)?.value;
        if (found === undefined || !/^-?\d+$/.test(found)) return false;
        return groups.op === ">" ? Number(found) > bound : Number(found) < bound;
      };
    }
    default:
      return (find) => find(key, source)?.value === value;
  }
}
