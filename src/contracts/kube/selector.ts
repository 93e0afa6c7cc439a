/** Label and field selectors as they stand in a request: `app=web,tier in (a,b),!old` and `metadata.name=x`. */
import type { KubeObject } from "./meta.ts";

/** One requirement on a label. */
interface LabelRequirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "absent" | "gt" | "lt";
  readonly values: readonly string[];
}

/** A parsed label selector; all requirements must hold. */
export type LabelQuery = readonly LabelRequirement[];

/** A parsed field selector; all terms must hold. */
export type FieldQuery = readonly { readonly path: string; readonly value: string; readonly equal: boolean }[];

/** A parsed selector, or what is wrong with the text. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

const keyPattern = "[A-Za-z0-9][-A-Za-z0-9_./]*";
const valuePattern = "[-A-Za-z0-9_.]*";
const terms: readonly [RegExp, (m: RegExpExecArray) => LabelRequirement][] = [
  [
    new RegExp(`^(${keyPattern})\\s+(in|notin)\\s*\\(([^()]*)\\)$`),
    (m) => ({ key: m[1]!, operator: m[2] as "in" | "notin", values: m[3]!.split(",").map((v) => v.trim()) }),
  ],
  [new RegExp(`^!\\s*(${keyPattern})$`), (m) => ({ key: m[1]!, operator: "absent", values: [] })],
  [new RegExp(`^(${keyPattern})$`), (m) => ({ key: m[1]!, operator: "exists", values: [] })],
  [
    new RegExp(`^(${keyPattern})\\s*!=\\s*(${valuePattern})$`),
    (m) => ({ key: m[1]!, operator: "notin", values: [m[2]!] }),
  ],
  [
    new RegExp(`^(${keyPattern})\\s*==?\\s*(${valuePattern})$`),
    (m) => ({ key: m[1]!, operator: "in", values: [m[2]!] }),
  ],
  [new RegExp(`^(${keyPattern})\\s*>\\s*(-?\\d+)$`), (m) => ({ key: m[1]!, operator: "gt", values: [m[2]!] })],
  [new RegExp(`^(${keyPattern})\\s*<\\s*(-?\\d+)$`), (m) => ({ key: m[1]!, operator: "lt", values: [m[2]!] })],
];

/** Splits at commas outside parentheses. */
function splitTerms(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if ((c === "," && depth === 0) || c === undefined) {
      out.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  return out;
}

/** Parses a label selector; the empty text selects everything. */
export function parseLabelQuery(text: string): Parsed<LabelQuery> {
  if (text.trim() === "") return { ok: true, value: [] };
  const value: LabelRequirement[] = [];
  for (const term of splitTerms(text)) {
    const requirement = terms
      .map(([pattern, make]) => [pattern.exec(term), make] as const)
      .find(([match]) => match !== null);
    if (requirement === undefined) {
      return {
        ok: false,
        problem: `unable to parse requirement "${term}": expected key=value, key in (a,b), key or !key`,
      };
    }
    value.push(requirement[1](requirement[0]!));
  }
  return { ok: true, value };
}

/** Whether labels fulfil a selector. `!=` and notin also hold when the key is absent, as in Kubernetes. */
export function matchesLabels(query: LabelQuery, labels: Readonly<Record<string, string>> | undefined): boolean {
  return query.every((requirement) =>
    holds(
      requirement,
      labels !== undefined && Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined,
    ),
  );
}

function holds({ operator, values }: LabelRequirement, value: string | undefined): boolean {
  const isNumber = value !== undefined && /^-?\d+$/.test(value);
  switch (operator) {
    case "in":
      return value !== undefined && values.includes(value);
    case "notin":
      return value === undefined || !values.includes(value);
    case "exists":
      return value !== undefined;
    case "absent":
      return value === undefined;
    case "gt":
      return isNumber && BigInt(value) > BigInt(values[0]!);
    case "lt":
      return isNumber && BigInt(value) < BigInt(values[0]!);
  }
}

/** Parses a field selector such as `metadata.name=x,status.phase!=Running`; `fields` are those it may name. */
export function parseFieldQuery(text: string, fields: readonly string[]): Parsed<FieldQuery> {
  if (text.trim() === "") return { ok: true, value: [] };
  const value: { path: string; value: string; equal: boolean }[] = [];
  for (const term of text.split(",")) {
    const match = /^\s*([A-Za-z0-9_.-]+?)\s*(==|=|!=)\s*(.*?)\s*$/.exec(term);
    if (match === null) return { ok: false, problem: `invalid field selector "${term}": expected field=value` };
    const path = match[1]!;
    if (path !== "metadata.name" && path !== "metadata.namespace" && !fields.includes(path)) {
      const known = ["metadata.name", "metadata.namespace", ...fields].join(", ");
      return { ok: false, problem: `field label not supported: ${path} (supported: ${known})` };
    }
    value.push({ path, value: match[3]!, equal: match[2] !== "!=" });
  }
  return { ok: true, value };
}

/** Whether an object fulfils a field selector; an absent field is the empty text. */
export function matchesFields(query: FieldQuery, object: KubeObject): boolean {
  return query.every(({ path, value, equal }) => {
    let at: unknown = object;
    for (const step of path.split(".")) {
      at = typeof at === "object" && at !== null ? (at as Record<string, unknown>)[step] : undefined;
    }
    const found = typeof at === "object" ? "" : String(at ?? "");
    return (found === value) === equal;
  });
}
