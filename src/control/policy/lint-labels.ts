/** Selectors that can't do what they say, whatever workloads there are. */
import type { Problem } from "#contracts/manifest";
import { defaultLabelFilter, filterLabels } from "#control/identity";
import type { Rule } from "./rule.ts";
import type { Selector } from "./selector.ts";

/** Selectors by labels that are not part of identities: they select nothing, whatever the workloads carry. Needs no world. */
export function lintLabels(rules: readonly Rule[]): Problem[] {
  return selectorsOf(rules).flatMap(({ selector, path }) =>
    ignoredLabels(selector).map((requirement) => {
      const negative = requirement.operator === "NotIn" || requirement.operator === "DoesNotExist";
      return {
        path: requirement.path ?? path,
        code: "label-not-relevant",
        severity: "warning" as const,
        message: `label ${requirement.key} is not part of identities, so this ${negative ? "excludes no one" : "selects no one"}`,
        hint: "select by a label that tells workloads apart for good, such as app; labels of controllers, hashes and topology are left out",
      };
    }),
  );
}

/** The requirements of a selector that no identity can meet, or miss, by labels. */
export function ignoredLabels({ requirements }: Selector) {
  return requirements.filter(({ source, key, path }) => {
    if (path === undefined || (source !== "k8s" && source !== "any")) return false;
    return filterLabels([{ source: "k8s", key, value: "" }], defaultLabelFilter).length === 0;
  });
}

function selectorsOf(rules: readonly Rule[]): { readonly selector: Selector; readonly path: string }[] {
  return rules.flatMap(({ subject, path, statements }) => [
    { selector: subject, path },
    ...statements.flatMap(({ peers }) =>
      (peers === "any" ? [] : peers).flatMap((peer) =>
        peer.kind === "labels" ? [{ selector: peer.selector, path: peer.path }] : [],
      ),
    ),
  ]);
}
