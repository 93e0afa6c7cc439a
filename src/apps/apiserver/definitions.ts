/** CustomResourceDefinitions of the kinds that a cluster would know only through them. Fixed: they come with the program. */
import { createHash } from "node:crypto";
import { type CustomResourceDefinition, type Resource, resources, type Schema } from "#contracts/kube";

/** The definitions, sorted by name. `createdAt` is RFC 3339. */
export function createDefinitions(createdAt: string): readonly CustomResourceDefinition[] {
  return resources
    .filter((resource) => resource.custom)
    .map((resource) => definitionOf(resource, createdAt))
    .sort((a, b) => (a.metadata.name! < b.metadata.name! ? -1 : 1));
}

function definitionOf(resource: Resource, createdAt: string): CustomResourceDefinition {
  const { group, version, kind, plural, singular, shortNames, categories, namespaced, hasStatus, columns } = resource;
  const names = { kind, listKind: `${kind}List`, plural, singular, shortNames, categories };
  const name = `${plural}.${group}`;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name, uid: uidOf(name), resourceVersion: "1", generation: 1, creationTimestamp: createdAt },
    spec: {
      group,
      scope: namespaced ? "Namespaced" : "Cluster",
      names,
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: withPlainMetadata(resource.schema) },
          ...(hasStatus ? { subresources: { status: {} } } : {}),
          ...(columns.length === 0 ? {} : { additionalPrinterColumns: columns }),
        },
      ],
    },
    status: {
      acceptedNames: names,
      storedVersions: [version],
      conditions: ["NamesAccepted", "Established"].map((type) => ({
        type,
        status: "True",
        reason: type === "Established" ? "InitialNamesAccepted" : "NoConflicts",
        message: "the kind is built in",
        lastTransitionTime: createdAt,
      })),
    },
  };
}

/** A definition leaves metadata to the server: it may only say that it is an object. */
const withPlainMetadata = (schema: Schema): Schema => ({
  ...schema,
  properties: { ...schema.properties, metadata: { type: "object" } },
});

/** The same on every start. */
function uidOf(name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
