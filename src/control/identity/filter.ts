/** Which labels make an identity. The others may change without anything being allocated or resolved again. */
import { createLabels, type Labels } from "#core/model";

/** One pattern of the filter. `pattern` is matched against the key from its start; it comes from the operator, not from policies. */
export interface LabelPattern {
  readonly pattern: RegExp;
  /** Source that the label must have; undefined: any. */
  readonly source?: string;
  /** Labels that match do not count. */
  readonly ignore: boolean;
}

/** A filter: patterns, and whether only labels that an inclusive pattern names count. */
export interface LabelFilter {
  readonly patterns: readonly LabelPattern[];
  readonly onlyIncluded: boolean;
}

/** Parses `[source:]pattern`, with a leading `!` for labels to ignore. Throws a SyntaxError if the pattern is no regex. */
export function parseLabelPattern(text: string): LabelPattern {
  const ignore = text.startsWith("!");
  const body = ignore ? text.slice(1) : text;
  const colon = body.indexOf(":");
  const source = colon > 0 ? { source: body.slice(0, colon) } : {};
  return { pattern: new RegExp(colon > 0 ? body.slice(colon + 1) : body, "y"), ...source, ignore };
}

/** Cilium's default patterns (pkg/labelsfilter/filter.go), with the label of named ports that 1.20 adds. */
export const defaultLabelFilter: LabelFilter = {
  onlyIncluded: false,
  patterns: [
    "reserved:.*",
    "io\\.kubernetes\\.pod\\.namespace",
    "io\\.cilium\\.k8s\\.namespace\\.labels",
    "app\\.kubernetes\\.io",
    "io\\.cilium\\.k8s\\.policy\\.cluster",
    "io\\.cilium\\.k8s\\.policy\\.serviceaccount",
    "gen:io\\.cilium\\.k8s\\.named-ports",
    "!io\\.kubernetes",
    "!kubernetes\\.io",
    "!statefulset\\.kubernetes\\.io/pod-name",
    "!apps\\.kubernetes\\.io/pod-index",
    "!batch\\.kubernetes\\.io/job-completion-index",
    "!batch\\.kubernetes\\.io/controller-uid",
    "!.*beta\\.kubernetes\\.io",
    "!k8s\\.io",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!annotation.*",
    "!controller-uid",
    "!etcd_node",
    "!topology\\.kubernetes\\.io",
  ].map(parseLabelPattern),
};

/** The labels that count. Where patterns contradict each other, the longer match decides. */
export function filterLabels(labels: Labels, filter: LabelFilter = defaultLabelFilter): Labels {
  return createLabels(
    labels.filter((label) => {
      let included = 0;
      let ignored = 0;
      for (const { pattern, source, ignore } of filter.patterns) {
        if (source !== undefined && source !== label.source) continue;
        pattern.lastIndex = 0;
        const length = pattern.exec(label.key)?.[0].length ?? 0;
        if (length === 0) continue;
        if (!ignore) included = Math.max(included, length);
        else ignored = ignored === 0 ? length : Math.min(ignored, length);
      }
      return (!filter.onlyIncluded && ignored === 0) || included > ignored;
    }),
  );
}
