/** What names, labels and annotations must look like. Source: Kubernetes' "Object Names and IDs" and "Labels and Selectors". */
import type { ObjectMeta } from "./meta.ts";
import type { Resource } from "./resources.ts";
import type { SchemaProblem } from "./structural.ts";

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const label1123 = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const valueForm = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const annotationsLimitBytes = 256 * 1024;

const forms: Readonly<Record<Resource["nameForm"], { pattern: RegExp; limit: number; words: string }>> = {
  "dns-subdomain": {
    pattern: subdomain,
    limit: 253,
    words: "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit (RFC 1123 subdomain)",
  },
  "dns-label": {
    pattern: label1123,
    limit: 63,
    words: "lower-case letters, digits and '-', beginning and ending with a letter or digit (RFC 1123 label)",
  },
  "dns-label-1035": {
    pattern: label1035,
    limit: 63,
    words:
      "lower-case letters, digits and '-', beginning with a letter, ending with a letter or digit (RFC 1035 label)",
  },
};

/** What is wrong with a name of that form; undefined if nothing is. */
export function nameProblem(form: Resource["nameForm"], name: string): string | undefined {
  const { pattern, limit, words } = forms[form];
  if (name.length > limit) return `must have at most ${limit} characters`;
  return pattern.test(name) ? undefined : `must consist of ${words}`;
}

/** What is wrong with the key of a label or annotation; undefined if nothing is. */
function keyProblem(key: string): string | undefined {
  const parts = key.split("/");
  if (parts.length > 2) return "may hold only one '/'";
  const name = parts.at(-1)!;
  if (parts.length === 2 && (parts[0]!.length > 253 || !subdomain.test(parts[0]!))) {
    return "the part before '/' must be a DNS subdomain such as example.com";
  }
  if (name.length > 63) return "the name must have at most 63 characters";
  return qualifiedName.test(name)
    ? undefined
    : "the name must consist of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
}

/** All that is wrong with the metadata of an object of that kind. */
export function checkMetadata(resource: Resource, metadata: ObjectMeta): SchemaProblem[] {
  const problems: SchemaProblem[] = [];
  const invalid = (path: string, value: unknown, why: string) =>
    problems.push({
      path: `metadata.${path}`,
      code: "FieldValueInvalid",
      message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
    });

  if (metadata.name === undefined || metadata.name === "") {
    problems.push({
      path: "metadata.name",
      code: "FieldValueRequired",
      message: "Required value: name or generateName is required",
    });
  } else {
    const problem = nameProblem(resource.nameForm, metadata.name);
    if (problem !== undefined) invalid("name", metadata.name, problem);
  }
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    const problem = keyProblem(key);
    if (problem !== undefined) invalid("labels", key, problem);
    if (typeof value === "string" && (value.length > 63 || !valueForm.test(value))) {
      invalid("labels", value, "a value has at most 63 characters: letters, digits, '-', '_' and '.'");
    }
  }
  let size = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    const problem = keyProblem(key.toLowerCase());
    if (problem !== undefined) invalid("annotations", key, problem);
    size += key.length + String(value).length;
  }
  if (size > annotationsLimitBytes) {
    problems.push({
      path: "metadata.annotations",
      code: "FieldValueTooLong",
      message: `Too long: may have no more than ${annotationsLimitBytes} bytes`,
    });
  }
  for (const finalizer of metadata.finalizers ?? []) {
    const problem = keyProblem(finalizer);
    if (problem !== undefined) invalid("finalizers", finalizer, problem);
  }
  return problems;
}
