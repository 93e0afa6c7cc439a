/** Schemas of metadata and label selectors, shared by all kinds. */
import {
  boolean,
  integer,
  list,
  listAsSet,
  listByKey,
  mapOf,
  named,
  oneOfWords,
  opaque,
  record,
  type Schema,
  string,
  time,
} from "./schema.ts";

const text = (description: string) => string(description);

/** metadata of every object. */
export const objectMeta: Schema = named(
  "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
  record("Name, labels and other facts that every object has.", {
    name: text("Name, unique among the objects of this kind in the namespace. Cannot be changed."),
    generateName: text("Prefix of a name that the server completes with random characters, if no name is given."),
    namespace: text("Namespace of the object; empty for cluster-wide kinds. Cannot be changed."),
    labels: mapOf("Keys and values by which objects are selected.", text("Value of the label.")),
    annotations: mapOf("Keys and values that are stored but never selected by.", text("Value of the annotation.")),
    uid: text("Set by the server: unique in time and space."),
    resourceVersion: text(
      "Set by the server: opaque version of this state; give it back to update only what you have seen.",
    ),
    generation: integer("Set by the server: raised when the desired state changes.", { format: "int64" }),
    creationTimestamp: time("Set by the server: when the object was created."),
    deletionTimestamp: time("Set by the server: deletion was asked for and waits for the finalizers."),
    deletionGracePeriodSeconds: integer("Set by the server: seconds granted to stop.", { format: "int64" }),
    finalizers: listAsSet("Who must act before the object goes away.", text("Name of a finalizer.")),
    ownerReferences: listByKey(
      "Objects this one depends on.",
      ["uid"],
      record(
        "An object this one depends on.",
        {
          apiVersion: text("API version of the owner."),
          kind: text("Kind of the owner."),
          name: text("Name of the owner."),
          uid: text("uid of the owner."),
          controller: boolean("Whether the owner is the managing controller."),
          blockOwnerDeletion: boolean("Whether the owner waits for this object."),
        },
        ["apiVersion", "kind", "name", "uid"],
        { "x-kubernetes-map-type": "atomic" },
      ),
    ),
    managedFields: list(
      "Which manager set which fields; kept by the server.",
      record("Fields of one manager.", {
        manager: text("Name of the manager."),
        operation: oneOfWords("How the fields were set.", ["Apply", "Update"]),
        apiVersion: text("API version the fields belong to."),
        time: time("When the entry last changed."),
        fieldsType: text("Format of the fields: FieldsV1."),
        fieldsV1: opaque("The set of fields as a tree."),
        subresource: text("Subresource through which the fields were set."),
      }),
    ),
    selfLink: text("No longer set."),
  }),
);

/** Values of labels: at most 63 characters. */
const labelValue: Schema = string("Value of the label.", {
  maxLength: 63,
  pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
});

/** A label selector inside an object. */
export const labelSelector: Schema = named(
  "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
  record(
    "Selects by labels: all of matchLabels and matchExpressions must hold; the empty selector selects everything.",
    {
      matchLabels: mapOf("Labels that must be there with exactly these values.", labelValue),
      matchExpressions: list(
        "Requirements, all of which must hold.",
        record(
          "A requirement on one label.",
          {
            key: text("Key of the label."),
            operator: oneOfWords("NotIn and DoesNotExist also hold when the key is absent.", [
              "In",
              "NotIn",
              "Exists",
              "DoesNotExist",
            ]),
            values: list("Values for In and NotIn.", text("A value."), { "x-kubernetes-list-type": "atomic" }),
          },
          ["key", "operator"],
        ),
        { "x-kubernetes-list-type": "atomic" },
      ),
    },
    [],
    { "x-kubernetes-map-type": "atomic" },
  ),
);

/** Observed facts, one per type. */
export const conditions: Schema = listByKey(
  "Observed facts about the object, one per type.",
  ["type"],
  record(
    "One observed fact.",
    {
      type: text("What is observed."),
      status: oneOfWords("Whether it holds.", ["True", "False", "Unknown"]),
      reason: text("One word why."),
      message: text("A sentence why."),
      lastTransitionTime: time("When the status last changed."),
      lastProbeTime: time("When it was last looked at."),
      lastHeartbeatTime: time("When it was last reported."),
      lastUpdateTime: time("When it was last updated."),
      observedGeneration: integer("Generation of the object that was looked at.", { format: "int64" }),
    },
    ["type", "status"],
  ),
);
