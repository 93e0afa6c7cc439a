/** Schemas of cilium.io/v2, field for field as Cilium 1.20 defines them. Where its patterns are faulty, ours say what was meant. */
import type { Schema } from "./schema.ts";
import {
  boolean,
  describe,
  integer,
  intOrString,
  list,
  mapOf,
  named,
  oneOfWords,
  opaque,
  record,
  string,
} from "./schema.ts";
import { conditions, labelSelector } from "./schema-meta.ts";

const prefix = "io.cilium.v2.";
const either = (...fields: readonly string[]) => fields.map((field) => ({ required: [field] }));

const selectors = (description: string) => list(description, labelSelector);
const text = (description: string) => string(description);

const cidr = string("A prefix such as 10.0.0.0/8 or fd00::/8.", { format: "cidr" });

const cidrRule = named(
  `${prefix}CIDRRule`,
  record(
    "A block of addresses: exactly one of cidr, cidrGroupRef, cidrGroupSelector.",
    {
      cidr,
      cidrGroupRef: string("Name of a CiliumCIDRGroup.", {
        maxLength: 253,
        pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      }),
      cidrGroupSelector: describe("Selects CiliumCIDRGroups by their labels.", labelSelector),
      except: list("Prefixes inside cidr that are left out.", cidr),
    },
    [],
    { oneOf: either("cidr", "cidrGroupRef", "cidrGroupSelector") },
  ),
);

const entities = (description: string) =>
  list(
    description,
    oneOfWords("An entity.", [
      "all",
      "world",
      "cluster",
      "cluster-mesh",
      "host",
      "init",
      "ingress",
      "unmanaged",
      "remote-node",
      "health",
      "none",
      "kube-apiserver",
    ]),
  );

const groups = (description: string) =>
  list(
    description,
    record("A group of addresses kept by a cloud provider.", {
      aws: record("Instances of AWS.", {
        labels: mapOf("Tags of the instances.", text("Value of the tag.")),
        securityGroupsIds: list("Ids of security groups.", text("An id.")),
        securityGroupsNames: list("Names of security groups.", text("A name.")),
        region: text("Not used."),
      }),
    }),
  );

const secret = named(
  `${prefix}Secret`,
  record("A Secret.", { namespace: text("Namespace of the Secret."), name: text("Name of the Secret.") }, ["name"]),
);

const tlsContext = (description: string) =>
  record(
    description,
    {
      secret,
      trustedCA: text("Item of the Secret that holds the CA; ca.crt if absent."),
      certificate: text("Item that holds the certificate chain; tls.crt if absent."),
      privateKey: text("Item that holds the private key; tls.key if absent."),
    },
    ["secret"],
  );

// Cilium writes these as ^([-a-zA-Z0-9_]+[.]?)+$, which a backtracking engine needs exponential time to refuse.
const nameWith = (characters: string) => `^[${characters}]+([.][${characters}]+)*[.]?$`;

const fqdnFields = {
  matchName: string("A name, compared as a whole, without regard to case.", {
    maxLength: 255,
    pattern: nameWith("-a-zA-Z0-9_"),
  }),
  matchPattern: string("A name in which * stands for any characters of one label, and a leading **. for any labels.", {
    maxLength: 255,
    pattern: nameWith("-a-zA-Z0-9_*"),
  }),
};
const fqdn = named(
  `${prefix}FQDNSelector`,
  record("Names in DNS: exactly one of matchName, matchPattern.", fqdnFields, [], {
    oneOf: either("matchName", "matchPattern"),
  }),
);

const portProtocol = named(
  `${prefix}PortProtocol`,
  record("A port, a named port, or with endPort a range.", {
    // Cilium's pattern is not grouped and so admits "99999" and "80 tcp", which its agent then refuses.
    port: string("A number from 0 (all ports) to 65535, or the name of a port.", {
      maxLength: 63,
      pattern:
        "^(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}|([a-zA-Z0-9]+-)*[a-zA-Z0-9]*[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*)$",
    }),
    endPort: integer("Last port of a range that begins with port.", { format: "int32", minimum: 0, maximum: 65535 }),
    protocol: oneOfWords("The protocol; ANY or absent means TCP, UDP and SCTP.", [
      "TCP",
      "UDP",
      "SCTP",
      "VRRP",
      "IGMP",
      "GRE",
      "IPIP",
      "IPV6",
      "ESP",
      "AH",
      "ANY",
    ]),
  }),
);

const headerMatch = record(
  "A header that must be there with a value, or what to do if it is not.",
  {
    name: string("Name of the header.", { minLength: 1 }),
    value: text("Value it must have."),
    secret: describe("Secret that holds the value.", secret),
    mismatch: oneOfWords("What to do instead of refusing the request.", ["LOG", "ADD", "DELETE", "REPLACE"]),
  },
  ["name"],
);

const httpRule = named(
  `${prefix}PortRuleHTTP`,
  record("Requests that are allowed: every given field must match. Regular expressions are RE2 and match as a whole.", {
    path: text("Regular expression for the path with query, for example /public/.*"),
    method: text("Regular expression for the method, for example GET"),
    host: text("Regular expression for the host header."),
    headers: list('Headers that must be there, as "Name" or "Name: value".', text("A header.")),
    headerMatches: list("Headers that must match.", headerMatch),
    tsilium: record("What tsilium adds; Cilium drops it.", {
      rateLimit: record(
        "Requests per time from one source identity; what exceeds it is answered 429.",
        {
          requests: integer("How many.", { minimum: 1 }),
          per: string("In which time, such as 1s, 1m or 1h; 1s if absent.", { pattern: "^[0-9]+(ms|s|m|h)$" }),
          burst: integer("How many may come at once; as many as requests if absent.", { minimum: 1 }),
        },
        ["requests"],
      ),
    }),
  }),
);

const kafkaRule = record("Requests to a Kafka broker that are allowed. Cilium removed this in 1.20.", {
  role: string("produce or consume, each with all that it needs."),
  apiKey: text("Name of one kind of request; not together with role."),
  apiVersion: text("Version of the request, a number as text."),
  clientID: text("Name by which the client calls itself."),
  topic: string("Name of the topic.", { maxLength: 255 }),
});

const extendedRules = record(
  "Protocols that Cilium has no rules for: exactly one of ftp, smtp, grpc, custom. Cilium refuses such a policy.",
  {
    ftp: list(
      "Commands on FTP control connections that are allowed.",
      record("A command; every given field must match.", {
        command: text("The command, such as RETR."),
        path: text("Regular expression for the absolute path that the command names or works in."),
        user: text("Regular expression for the user."),
      }),
    ),
    smtp: list(
      "Commands and mails that are allowed.",
      record("A command; every given field must match.", {
        command: text("The command, such as VRFY."),
        from: text("Regular expression for the sender's mailbox."),
        to: text("Regular expression for a recipient's mailbox."),
        maxSize: intOrString("Largest message in bytes, or such as 10Mi."),
      }),
    ),
    grpc: list(
      "gRPC calls that are allowed.",
      record("A call; every given field must match.", {
        service: text("Regular expression for the service with its package."),
        method: text("Regular expression for the method."),
        headers: list('Headers that must be there, as "Name" or "Name: value".', text("A header.")),
        headerMatches: list("Headers that must match.", headerMatch),
      }),
    ),
    custom: record(
      "Frames that a parser from outside understands.",
      {
        parser: text("Name of the parser."),
        rules: list("Frames that are allowed.", mapOf("Keys that must have these values.", text("The value."))),
      },
      ["parser", "rules"],
    ),
  },
  [],
  { oneOf: either("ftp", "smtp", "grpc", "custom") },
);

const portRule = named(
  `${prefix}PortRule`,
  record("Ports, and with rules what is allowed on them.", {
    ports: list("At most 40 ports.", portProtocol, { maxItems: 40 }),
    rules: record(
      "L7 rules: exactly one of http, dns, kafka, l7, tsilium.",
      {
        http: list("Requests that are allowed; one match is enough.", httpRule),
        dns: list("Names that may be asked for; one match is enough.", describe("Names in DNS.", fqdn)),
        kafka: list("Requests to a Kafka broker that are allowed; one match is enough.", kafkaRule),
        l7proto: text("Name of the parser for l7. Cilium removed this in 1.20."),
        l7: list("Rules of that parser.", mapOf("Keys that must have these values.", text("The value."))),
        tsilium: extendedRules,
      },
      [],
      { oneOf: either("http", "dns", "kafka", "l7", "tsilium") },
    ),
    terminatingTLS: tlsContext("Keys of the TLS connection that the proxy accepts."),
    originatingTLS: tlsContext("Keys of the TLS connection that the proxy opens."),
    serverNames: list(
      "Server names of the TLS handshake that are allowed.",
      string("A name; * stands for any characters of one label.", {
        maxLength: 255,
        pattern: nameWith("-a-zA-Z0-9_*"),
      }),
      { minItems: 1, "x-kubernetes-list-type": "set" },
    ),
    listener: record(
      "A listener of an Envoy configuration that takes the traffic.",
      {
        envoyConfig: record(
          "Where the listener is defined.",
          {
            kind: oneOfWords("Kind of the configuration.", ["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"]),
            name: string("Name of the configuration.", { minLength: 1 }),
          },
          ["name"],
        ),
        name: string("Name of the listener.", { minLength: 1 }),
        priority: integer("Which listener wins if several apply: the lower.", { minimum: 1, maximum: 100 }),
      },
      ["envoyConfig", "name"],
    ),
  }),
);

const portDenyRule = named(
  `${prefix}PortDenyRule`,
  record("Ports that are denied.", { ports: list("Ports.", portProtocol) }),
);

const icmpTypes = [
  ..."EchoReply DestinationUnreachable Redirect Echo RouterAdvertisement RouterSelection TimeExceeded".split(" "),
  ..."ParameterProblem Timestamp TimestampReply Photuris ExtendedEchoRequest ExtendedEchoReply".split(" "),
  ..."PacketTooBig EchoRequest MulticastListenerQuery MulticastListenerReport MulticastListenerDone".split(" "),
  ..."RouterSolicitation NeighborSolicitation NeighborAdvertisement RedirectMessage RouterRenumbering".split(" "),
  ..."ICMPNodeInformationQuery ICMPNodeInformationResponse InverseNeighborDiscoverySolicitation".split(" "),
  ..."InverseNeighborDiscoveryAdvertisement HomeAgentAddressDiscoveryRequest".split(" "),
  ..."HomeAgentAddressDiscoveryReply MobilePrefixSolicitation MobilePrefixAdvertisement".split(" "),
  ..."DuplicateAddressRequestCodeSuffix DuplicateAddressConfirmationCodeSuffix".split(" "),
];

const icmpRule = named(
  `${prefix}ICMPRule`,
  record("ICMP messages.", {
    fields: list(
      "At most 40 types.",
      record(
        "A type of message.",
        {
          family: oneOfWords("ICMP of which address family.", ["IPv4", "IPv6"], { default: "IPv4" }),
          type: intOrString("Number from 0 to 255, or name such as EchoRequest.", {
            pattern: `^([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]|${icmpTypes.join("|")})$`,
          }),
        },
        ["type"],
      ),
      { maxItems: 40 },
    ),
  }),
);

const authentication = record(
  "Mutual authentication of the peers.",
  { mode: oneOfWords("What is asked.", ["disabled", "required", "test-always-fail"]) },
  ["mode"],
);

const removed = (description: string) => list(description, text("Must be empty."), { maxItems: 0 });

const services = list(
  "Kubernetes services as destinations.",
  record("A service, or services by labels.", {
    k8sService: record("A service by name.", {
      serviceName: text("Name of the service."),
      namespace: text("Namespace of the service; any if absent."),
    }),
    k8sServiceSelector: record(
      "Services by labels.",
      { selector: labelSelector, namespace: text("Namespace of the services; all if absent.") },
      ["selector"],
    ),
  }),
);

const sources = {
  fromEndpoints: selectors("Endpoints by labels. An empty list selects none; a list with {} all of the namespace."),
  fromCIDR: list("Prefixes outside the cluster.", cidr),
  fromCIDRSet: list("Prefixes outside the cluster, with exceptions.", cidrRule),
  fromEntities: entities("Classes of peers."),
  fromGroups: groups("Groups kept by a cloud provider."),
  fromNodes: selectors("Nodes by labels."),
  fromRequires: removed("Removed; must be empty."),
};
const destinations = {
  toEndpoints: selectors("Endpoints by labels. An empty list selects none; a list with {} all of the namespace."),
  toCIDR: list("Prefixes outside the cluster.", cidr),
  toCIDRSet: list("Prefixes outside the cluster, with exceptions.", cidrRule),
  toEntities: entities("Classes of peers."),
  toGroups: groups("Groups kept by a cloud provider."),
  toNodes: selectors("Nodes by labels."),
  toServices: services,
  toRequires: removed("Removed; must be empty."),
};
const allowed = {
  toPorts: list("Ports that are allowed; all if absent.", portRule),
  icmps: list("ICMP messages that are allowed. Not together with toPorts.", icmpRule),
};
const denied = {
  toPorts: list("Ports that are denied; all if absent.", portDenyRule),
  icmps: list("ICMP messages that are denied. Not together with toPorts.", icmpRule),
};

const rule = named(
  `${prefix}Rule`,
  record(
    "A rule: a subject (endpointSelector or nodeSelector) and what may reach it or be reached by it.",
    {
      endpointSelector: describe("The endpoints that the rule is for. {} is all of the namespace.", labelSelector),
      nodeSelector: describe("The nodes that the rule is for; only in clusterwide policies.", labelSelector),
      ingress: list(
        "What may come in. Present, everything else is denied.",
        named(`${prefix}IngressRule`, record("Allows traffic in.", { ...sources, ...allowed, authentication })),
      ),
      ingressDeny: list(
        "What may not come in, whatever else allows it.",
        named(`${prefix}IngressDenyRule`, record("Denies traffic in.", { ...sources, ...denied })),
      ),
      egress: list(
        "What may go out. Present, everything else is denied.",
        named(
          `${prefix}EgressRule`,
          record("Allows traffic out.", {
            ...destinations,
            toFQDNs: list("Destinations by DNS name. Not together with other destinations.", fqdn),
            ...allowed,
            authentication,
          }),
        ),
      ),
      egressDeny: list(
        "What may not go out, whatever else allows it.",
        named(
          `${prefix}EgressDenyRule`,
          record("Denies traffic out.", {
            ...destinations,
            ...denied,
            tsilium: record("What tsilium adds; Cilium drops it.", {
              toFQDNs: list("Destinations by DNS name.", fqdn),
            }),
          }),
        ),
      ),
      enableDefaultDeny: record("Whether the rule makes its subject deny what no rule allows.", {
        ingress: boolean("For traffic in; default: whether there are ingress rules."),
        egress: boolean("For traffic out; default: whether there are egress rules."),
      }),
      labels: list(
        "Labels of the rule itself.",
        record("A label.", { key: text("Key."), value: text("Value."), source: text("Where the label comes from.") }, [
          "key",
        ]),
      ),
      description: text("What the rule is for, in words."),
      log: record("What is written into flows that this rule decides.", {
        value: string("At most 32 printable characters.", { maxLength: 32, pattern: "^\\P{C}*$" }),
      }),
    },
    [],
    {
      oneOf: either("endpointSelector", "nodeSelector"),
      anyOf: either("ingress", "ingressDeny", "egress", "egressDeny"),
    },
  ),
);

const policy = (description: string): Schema => ({
  ...record(description, {
    spec: describe("The rule.", rule),
    specs: list("Several rules.", rule),
    status: record("What became of the policy.", {
      conditions,
      derivativePolicies: mapOf("Policies made from this one, by name.", opaque("State of one.")),
    }),
  }),
  anyOf: either("spec", "specs"),
});

/** CiliumNetworkPolicy without apiVersion, kind and metadata. */
export const ciliumNetworkPolicy: Schema = policy("Policy for the endpoints of a namespace.");

/** CiliumClusterwideNetworkPolicy without apiVersion, kind and metadata. */
export const ciliumClusterwideNetworkPolicy: Schema = policy(
  "Policy for the endpoints of all namespaces, or for nodes.",
);

/** CiliumCIDRGroup without apiVersion, kind and metadata. */
export const ciliumCidrGroup: Schema = record(
  "Prefixes outside of the cluster that policies name together.",
  { spec: record("The group.", { externalCIDRs: list("The prefixes.", cidr) }, ["externalCIDRs"]) },
  ["spec"],
);

/** CiliumIdentity without apiVersion, kind and metadata. */
export const ciliumIdentity: Schema = record(
  "A numeric identity (the name of the object) and the set of labels it stands for.",
  { "security-labels": mapOf("Labels as source:key and value.", text("Value of the label.")) },
  ["security-labels"],
);

const int64 = (description: string) => integer(description, { format: "int64" });
const direction = (description: string) =>
  record(
    description,
    {
      enforcing: boolean("Whether policy is enforced."),
      state: text("Word for it in tables."),
      ...Object.fromEntries(
        ["allowed", "denied", "adding", "removing"].map((which) => [
          which,
          list(
            `Identities: ${which}.`,
            record("An identity and port.", {
              identity: int64("Numeric identity; 0 for all."),
              "identity-labels": mapOf("Labels of the identity.", text("Value.")),
              "dest-port": integer("Port; 0 for all."),
              protocol: integer("IP protocol number; 0 for all."),
            }),
          ),
        ]),
      ),
    },
    ["enforcing"],
  );

/** CiliumEndpoint without apiVersion, kind and metadata. */
export const ciliumEndpoint: Schema = record("The attachment of a pod to the network.", {
  status: record("State of the endpoint.", {
    id: int64("Id of the endpoint on its node."),
    state: oneOfWords("State.", [
      "creating",
      "waiting-for-identity",
      "not-ready",
      "waiting-to-regenerate",
      "regenerating",
      "restoring",
      "ready",
      "disconnecting",
      "disconnected",
      "invalid",
    ]),
    identity: record("Identity of the endpoint.", {
      id: int64("Numeric identity."),
      labels: list("Labels as source:key=value.", text("A label.")),
    }),
    networking: record(
      "Addresses of the endpoint.",
      {
        addressing: list(
          "Pairs of addresses.",
          record("An address of each family.", { ipv4: text("IPv4 address."), ipv6: text("IPv6 address.") }),
        ),
        node: text("Address of the node."),
      },
      ["addressing"],
    ),
    policy: record("Policy by direction.", {
      ingress: direction("Traffic into the endpoint."),
      egress: direction("Traffic from the endpoint."),
    }),
    encryption: record("Encryption of the node's traffic.", { key: integer("Index of the key; 0 for none.") }),
    "external-identifiers": mapOf("Names the endpoint has elsewhere.", text("A name.")),
    "named-ports": list(
      "Named ports of the pod.",
      record("A named port.", { name: text("Name."), port: integer("Number."), protocol: text("Protocol.") }),
    ),
    "service-account": text("Service account of the pod."),
    health: opaque("Health of the endpoint."),
    log: list("Latest changes of state.", opaque("A change.")),
    controllers: list("Background work for the endpoint.", opaque("One controller.")),
  }),
});
