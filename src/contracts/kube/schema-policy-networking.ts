/** Schemas of policy.networking.k8s.io, field for field as network-policy-api 0.1.7 (v1alpha1) and 0.2.0 (v1alpha2) define them. */
import { describe, integer, list, listAsSet, named, oneOfWords, record, type Schema, string } from "./schema.ts";
import { conditions, labelSelector } from "./schema-meta.ts";

const group = "io.k8s.networking.policy.";
const either = (...fields: readonly string[]) => ({ oneOf: fields.map((field) => ({ required: [field] })) });
const atomic = { "x-kubernetes-list-type": "atomic" } as const;

const namespacedPod = named(
  `${group}NamespacedPod`,
  record(
    "Pods in namespaces; an empty selector selects all.",
    {
      namespaceSelector: describe("Selects namespaces.", labelSelector),
      podSelector: describe("Selects pods.", labelSelector),
    },
    ["namespaceSelector", "podSelector"],
  ),
);

const pods = {
  namespaces: describe("Every pod of the namespaces that are selected.", labelSelector),
  pods: describe("Pods by their labels and those of their namespace.", namespacedPod),
};
const subject = named(
  `${group}Subject`,
  record("Pods that the policy is for: exactly one of namespaces, pods.", pods, [], either("namespaces", "pods")),
);
const source = named(
  `${group}IngressPeer`,
  record("Who sends: exactly one of the fields.", pods, [], either("namespaces", "pods")),
);
const destination = named(
  `${group}EgressPeer`,
  record(
    "Who receives: exactly one of the fields.",
    {
      ...pods,
      networks: listAsSet("Prefixes outside of the cluster.", string("A prefix.", { format: "cidr", maxLength: 43 })),
      nodes: describe("Nodes of the cluster; only {}, all of them, is enforced.", labelSelector),
      domainNames: listAsSet("Names in DNS; not enforced.", string("A name, or *. and a name.")),
    },
    [],
    either("namespaces", "pods", "networks", "nodes", "domainNames"),
  ),
);

const port = (description: string) => integer(description, { format: "int32", minimum: 1, maximum: 65535 });
const range = { start: port("First port."), end: port("Last port; greater than the first.") };
const transport = (name: string) =>
  record(`${name} to a port; without one to any.`, {
    destinationPort: record(
      "Exactly one of number, range.",
      { number: port("A port."), range: record("A range of ports.", range, ["start", "end"]) },
      [],
      either("number", "range"),
    ),
  });
const protocol = named(
  `${group}Protocol`,
  record(
    "Exactly one of the fields.",
    {
      tcp: transport("TCP"),
      udp: transport("UDP"),
      sctp: transport("SCTP"),
      destinationNamedPort: string("A port by the name that the receiving pod gives it.", {
        minLength: 1,
        maxLength: 63,
      }),
    },
    [],
    either("tcp", "udp", "sctp", "destinationNamedPort"),
  ),
);
const transportName = oneOfWords("Protocol; TCP if absent.", ["TCP", "UDP", "SCTP"], { default: "TCP" });
const adminPort = named(
  `${group}AdminPort`,
  record(
    "Exactly one of the fields.",
    {
      portNumber: record("A port.", { protocol: transportName, port: port("The port.") }, ["port"]),
      portRange: record("A range of ports.", { protocol: transportName, ...range }, ["start", "end"]),
      namedPort: string("A port by the name that the receiving pod gives it."),
    },
    [],
    either("portNumber", "portRange", "namedPort"),
  ),
);

const priority = integer("0 (asked first) to 1000.", { format: "int32", minimum: 0, maximum: 1000 });
const status = record("What became of the policy.", { conditions });

interface Dialect {
  readonly actions: readonly string[];
  readonly ports: Readonly<Record<string, Schema>>;
  /** Items that a list may have. */
  readonly most: number;
}

function sections({ actions, ports, most }: Dialect): Readonly<Record<string, Schema>> {
  const common = {
    name: string("What the rule is called in reports.", { maxLength: 100 }),
    action: oneOfWords("What becomes of traffic that matches.", actions),
  };
  const peers = (description: string, items: Schema) =>
    list(description, items, { minItems: 1, maxItems: most, ...atomic });
  const rules = (description: string, fields: Readonly<Record<string, Schema>>, required: string) =>
    list(description, record("A rule.", { ...common, ...fields, ...ports }, ["action", required]), {
      maxItems: most,
      ...atomic,
    });
  return {
    subject,
    ingress: rules(
      "Rules for what comes in; the first that matches decides.",
      { from: peers("Who sends.", source) },
      "from",
    ),
    egress: rules(
      "Rules for what goes out; the first that matches decides.",
      { to: peers("Who receives.", destination) },
      "to",
    ),
  };
}

/** ClusterNetworkPolicy without apiVersion, kind and metadata. */
export const clusterNetworkPolicy: Schema = record(
  "Policy of the cluster's administrators, before or after the policies of everyone.",
  {
    spec: record(
      "The policy.",
      {
        tier: oneOfWords("Admin is asked before the policies of everyone, Baseline where none of them decides.", [
          "Admin",
          "Baseline",
        ]),
        priority,
        ...sections({
          actions: ["Accept", "Deny", "Pass"],
          ports: { protocols: list("Protocols; absent: all.", protocol, { minItems: 1, maxItems: 25, ...atomic }) },
          most: 25,
        }),
      },
      ["tier", "priority", "subject"],
    ),
    status,
  },
  ["spec"],
);

const adminPorts = { ports: list("Ports; absent: all.", adminPort, { minItems: 1, maxItems: 100, ...atomic }) };

/** AdminNetworkPolicy without apiVersion, kind and metadata. */
export const adminNetworkPolicy: Schema = record(
  "Policy of the cluster's administrators, before the policies of everyone.",
  {
    spec: record(
      "The policy.",
      { priority, ...sections({ actions: ["Allow", "Deny", "Pass"], ports: adminPorts, most: 100 }) },
      ["priority", "subject"],
    ),
    status,
  },
  ["spec"],
);

/** BaselineAdminNetworkPolicy without apiVersion, kind and metadata. */
export const baselineAdminNetworkPolicy: Schema = record(
  "Policy of the cluster's administrators where no policy of everyone decides; the only one is named default.",
  {
    spec: record("The policy.", sections({ actions: ["Allow", "Deny"], ports: adminPorts, most: 100 }), ["subject"]),
    status,
  },
  ["spec"],
);
