/** Names with `*`: DNS names, node names with their cluster. */
import { RE2JS } from "re2js";

const anyName = "(?:[-0-9_a-z]+(?:\\.[-0-9_a-z]+)*)";

/** A predicate over DNS names, or what is wrong with a pattern. Case and one trailing dot don't matter in patterns. */
export function compileNamePatterns(patterns: readonly string[]): ((name: string) => boolean) | string {
  const parts = patterns.map(nameExpression);
  const fault = parts.find((part) => typeof part !== "string");
  return typeof fault === "object" ? fault.message : matcher(parts as string[]);
}

/** The same for `[cluster/]node`; an empty half matches everything. Names without a cluster are in cluster `default`. */
export function compileNodePatterns(patterns: readonly string[]): ((name: string) => boolean) | string {
  const parts: string[] = [];
  for (const pattern of patterns) {
    const halves = pattern.split("/");
    if (pattern === "") return "an empty name pattern";
    if (halves.length > 2) return `"${pattern}" has more than one slash`;
    const [cluster, node] = halves.length === 2 ? halves : ["", halves[0]];
    const expressions = [cluster!, node!].map((half) => (half === "" ? anyName : nameExpression(half)));
    for (const expression of expressions) if (typeof expression !== "string") return expression.message;
    parts.push(expressions.join("/"));
  }
  const matches = matcher(parts);
  return (name) => matches(name.includes("/") ? name : `default/${name}`);
}

function matcher(expressions: readonly string[]): (name: string) => boolean {
  const compiled = RE2JS.compile(`(?:${expressions.join("|")})`);
  return (name) => compiled.matcher(name).matches();
}

function nameExpression(pattern: string): string | { readonly message: string } {
  const name = pattern.trim().replace(/\.$/, "").toLowerCase();
  if (name === "") return { message: "an empty name pattern" };
  if (name.endsWith(".")) return { message: `"${pattern}" ends in more than one dot` };
  const strange = /[^-*._0-9a-z]/.exec(name);
  if (strange !== null) return { message: `"${pattern}" holds "${strange[0]}", which no name can` };
  return name.replaceAll(".", "\\.").replaceAll("*", "[-.0-9a-z]*");
}
