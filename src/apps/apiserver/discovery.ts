/** What the server serves: /version, /api, /apis, one document per group, and all at once in the aggregated form. */
import { apiVersionOf, type Resource, resources } from "#contracts/kube";

/** Kubernetes version whose API we speak; clients compare it with their own. */
export const kubernetesVersion = { major: "1", minor: "35", gitVersion: "v1.35.0+tsilium" };

const verbsOf = ({ readOnly }: Resource) =>
  readOnly
    ? ["get", "list", "watch"]
    : ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const statusVerbs = ["get", "patch", "update"];

/** Answers to questions, not stored objects: who am I, what may I do. */
const reviews = [
  { group: "authorization.k8s.io", version: "v1", kind: "SelfSubjectAccessReview", plural: "selfsubjectaccessreviews" },
  { group: "authentication.k8s.io", version: "v1", kind: "SelfSubjectReview", plural: "selfsubjectreviews" },
];

/** A group with its versions, the preferred one first. */
interface Group {
  readonly group: string;
  readonly versions: readonly string[];
}

/** Groups other than the core one; the version that the registry lists first is preferred. */
const groups: readonly Group[] = [
  ...Map.groupBy(
    [...resources, ...reviews].filter(({ group }) => group !== ""),
    ({ group }) => group,
  ),
].map(([group, kinds]) => ({ group, versions: [...new Set(kinds.map(({ version }) => version))] }));

/** The document for a path of discovery; undefined if the path is none. */
export function discoveryDocument(path: string, aggregated: boolean): object | undefined {
  if (path === "/version") {
    return {
      ...kubernetesVersion,
      gitCommit: "",
      gitTreeState: "clean",
      buildDate: "1970-01-01T00:00:00Z",
      goVersion: "",
      compiler: "",
      platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
    };
  }
  if (path === "/api")
    return aggregated
      ? aggregate([{ group: "", versions: ["v1"] }])
      : { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
  if (path === "/apis") {
    return aggregated
      ? aggregate(groups)
      : { kind: "APIGroupList", apiVersion: "v1", groups: groups.map(groupDocument) };
  }
  if (path === "/api/v1") return resourceList("", "v1");
  const [, root, group, version, ...rest] = path.split("/");
  const known = root === "apis" && rest.length === 0 ? groups.find((each) => each.group === group) : undefined;
  if (known === undefined) return undefined;
  if (version === undefined) return { kind: "APIGroup", apiVersion: "v1", ...groupDocument(known) };
  return known.versions.includes(version) ? resourceList(known.group, version) : undefined;
}

function groupDocument({ group, versions }: Group) {
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: entries, preferredVersion: entries[0]! };
}

const servedIn = (group: string, version: string) =>
  resources.filter((resource) => resource.group === group && resource.version === version);

function resourceList(group: string, version: string): object {
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: [
      ...servedIn(group, version).flatMap((resource) => {
        const { plural, singular, namespaced, kind, shortNames, categories } = resource;
        const main = {
          name: plural,
          singularName: singular,
          namespaced,
          kind,
          verbs: verbsOf(resource),
          ...(shortNames.length > 0 ? { shortNames } : {}),
          ...(categories.length > 0 ? { categories } : {}),
        };
        const status = { name: `${plural}/status`, singularName: "", namespaced, kind, verbs: statusVerbs };
        return resource.hasStatus && !resource.readOnly ? [main, status] : [main];
      }),
      ...reviews
        .filter((review) => review.group === group)
        .map(({ plural, kind }) => ({
          name: plural,
          singularName: kind.toLowerCase(),
          namespaced: false,
          kind,
          verbs: ["create"],
        })),
    ],
  };
}

function aggregate(wanted: readonly Group[]): object {
  const responseKind = ({ group, version, kind }: { group: string; version: string; kind: string }) => ({
    group,
    version,
    kind,
  });
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: wanted.map(({ group, versions }) => ({
      metadata: group === "" ? {} : { name: group },
      versions: versions.map((version) => ({
        version,
        freshness: "Current",
        resources: [
          ...servedIn(group, version).map((resource) => ({
            resource: resource.plural,
            responseKind: responseKind(resource),
            scope: resource.namespaced ? "Namespaced" : "Cluster",
            singularResource: resource.singular,
            verbs: verbsOf(resource),
            ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
            ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
            ...(resource.hasStatus && !resource.readOnly
              ? {
                  subresources: [{ subresource: "status", responseKind: responseKind(resource), verbs: statusVerbs }],
                }
              : {}),
          })),
          ...reviews
            .filter((review) => review.group === group)
            .map((review) => ({
              resource: review.plural,
              responseKind: responseKind(review),
              scope: "Cluster",
              singularResource: review.kind.toLowerCase(),
              verbs: ["create"],
            })),
        ],
      })),
    })),
  };
}

/** The kind whose objects a path below a group's root holds. */
export function findResource(group: string, version: string, plural: string): Resource | undefined {
  return resources.find(
    (resource) => resource.plural === plural && resource.group === group && resource.version === version,
  );
}

/** All `group/version` with their roots: "api/v1", "apis/cilium.io/v2". */
export const servedRoots: readonly { readonly root: string; readonly resources: readonly Resource[] }[] = [
  { root: "api/v1", resources: servedIn("", "v1") },
  ...groups
    .flatMap(({ group, versions }) => versions.map((version) => servedIn(group, version)))
    .filter((served) => served.length > 0)
    .map((served) => ({ root: `apis/${apiVersionOf(served[0]!)}`, resources: served })),
];
