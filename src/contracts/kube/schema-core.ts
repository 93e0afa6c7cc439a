/** Schemas of the core group, of NetworkPolicy and of CustomResourceDefinition. Parts of no concern to networking are kept as they come. */
import {
  boolean,
  describe,
  integer,
  intOrString,
  list,
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
import { conditions, labelSelector } from "./schema-meta.ts";

const text = (description: string) => string(description);
const texts = (description: string) => list(description, text("An item."));

/** A list that is merged by a key, though server-side apply treats it as atomic or by more keys. */
const patchByKey = (description: string, key: string, items: Schema): Schema => ({
  ...list(description, items),
  "x-kubernetes-patch-strategy": "merge",
  "x-kubernetes-patch-merge-key": key,
});

const protocolWord = (fallback: Schema = {}) => oneOfWords("Protocol.", ["TCP", "UDP", "SCTP"], fallback);

/** Namespace without apiVersion, kind and metadata. */
export const namespace: Schema = record("A scope for names; its labels can be selected by policies.", {
  spec: record("Desired state.", { finalizers: texts("Who must act before the namespace goes away.") }),
  status: record("Observed state.", {
    phase: oneOfWords("Stage of its life.", ["Active", "Terminating"]),
    conditions,
  }),
});

/** Node without apiVersion, kind and metadata. */
export const node: Schema = record("A machine of the cluster.", {
  spec: record("Desired state.", {
    podCIDR: text("Prefix from which pods get addresses."),
    podCIDRs: list("Prefixes from which pods get addresses, one per family.", text("A prefix."), {
      "x-kubernetes-list-type": "set",
      "x-kubernetes-patch-strategy": "merge",
    }),
    providerID: text("Id of the machine at its provider."),
    unschedulable: boolean("No new pods."),
    taints: list(
      "Marks that keep pods away.",
      record(
        "A mark.",
        { key: text("Key."), value: text("Value."), effect: text("What it does."), timeAdded: time("Since when.") },
        ["key", "effect"],
      ),
    ),
    configSource: opaque("No longer used."),
    externalID: text("No longer used."),
  }),
  status: record("Observed state.", {
    addresses: listByKey(
      "Addresses of the machine.",
      ["type", "address"],
      record("An address.", { type: text("InternalIP, ExternalIP, Hostname."), address: text("The address.") }, [
        "type",
        "address",
      ]),
    ),
    conditions,
    capacity: mapOf("Resources in all.", intOrString("Quantity.")),
    allocatable: mapOf("Resources for pods.", intOrString("Quantity.")),
    nodeInfo: opaque("Versions and ids."),
    phase: text("No longer used."),
    daemonEndpoints: opaque("Ports of daemons."),
    images: list("Images on the machine.", opaque("An image.")),
    config: opaque("No longer used."),
    features: opaque("Features of the container runtime."),
    runtimeHandlers: list("Runtime handlers.", opaque("A handler.")),
    volumesAttached: list("Volumes attached.", opaque("A volume.")),
    volumesInUse: texts("Volumes in use."),
    declaredFeatures: texts("Features the machine offers."),
  }),
});

const containerFields: Readonly<Record<string, Schema>> = {
  name: text("Name, unique in the pod."),
  image: text("Image of the container."),
  command: texts("Program and first arguments."),
  args: texts("Further arguments."),
  workingDir: text("Working directory."),
  env: listByKey(
    "Environment variables.",
    ["name"],
    record(
      "A variable.",
      { name: text("Name."), value: text("Value."), valueFrom: opaque("Where the value comes from.") },
      ["name"],
    ),
  ),
  envFrom: list("Sources of variables.", opaque("A source.")),
  ports: {
    ...listByKey(
      "Ports the container listens on.",
      ["containerPort", "protocol"],
      record(
        "A port.",
        {
          name: text("Name of the port; policies and services can use it."),
          containerPort: integer("Number.", { format: "int32", minimum: 1, maximum: 65535 }),
          hostPort: integer("Port of the machine that leads here.", { format: "int32", minimum: 1, maximum: 65535 }),
          hostIP: text("Address of the machine for hostPort."),
          protocol: protocolWord({ default: "TCP" }),
        },
        ["containerPort"],
      ),
    ),
  },
  resources: opaque("Resources the container may use."),
  resizePolicy: list("How resources may change.", opaque("A policy.")),
  restartPolicy: text("Whether an init container goes on running."),
  restartPolicyRules: list("When to restart.", opaque("A rule.")),
  volumeMounts: patchByKey("Volumes in the container.", "mountPath", opaque("A mount.")),
  volumeDevices: patchByKey("Devices in the container.", "devicePath", opaque("A device.")),
  livenessProbe: opaque("Restart if it fails."),
  readinessProbe: opaque("Not in services while it fails."),
  startupProbe: opaque("Has started once it succeeds."),
  lifecycle: opaque("What is run after the start and before the end."),
  terminationMessagePath: text("File with the last message."),
  terminationMessagePolicy: text("How the last message is found."),
  imagePullPolicy: text("When the image is fetched."),
  securityContext: opaque("Rights of the container."),
  stdin: boolean("Keep stdin open."),
  stdinOnce: boolean("Close stdin after the first client."),
  tty: boolean("Give a terminal."),
};
const containers = (description: string, more: Readonly<Record<string, Schema>> = {}) =>
  listByKey(description, ["name"], record("A container.", { ...containerFields, ...more }, ["name"]));

const containerState = record("State of a container.", {
  waiting: record("Not yet running.", { reason: text("One word why."), message: text("A sentence why.") }),
  running: record("Running.", { startedAt: time("Since when.") }),
  terminated: record(
    "Has ended.",
    {
      exitCode: integer("Exit code.", { format: "int32" }),
      signal: integer("Signal that ended it.", { format: "int32" }),
      reason: text("One word why."),
      message: text("A sentence why."),
      startedAt: time("When it started."),
      finishedAt: time("When it ended."),
      containerID: text("Id of the container."),
    },
    ["exitCode"],
  ),
});
const containerStatuses = (description: string) =>
  list(
    description,
    record(
      "State of a container.",
      {
        name: text("Name of the container."),
        state: containerState,
        lastState: containerState,
        ready: boolean("Whether it serves."),
        started: boolean("Whether it has started."),
        restartCount: integer("How often it was restarted.", { format: "int32" }),
        image: text("Image it runs."),
        imageID: text("Id of the image."),
        containerID: text("Id of the container."),
        allocatedResources: opaque("Resources granted."),
        allocatedResourcesStatus: list("State of resources.", opaque("A resource.")),
        resources: opaque("Resources in force."),
        user: opaque("User it runs as."),
        volumeMounts: list("Mounts.", opaque("A mount.")),
        stopSignal: text("Signal that stops it."),
      },
      ["name", "ready", "restartCount", "image", "imageID"],
    ),
  );
const addresses = (description: string) =>
  listByKey(description, ["ip"], record("An address.", { ip: text("The address.") }, ["ip"]));

/** Pod without apiVersion, kind and metadata. */
export const pod: Schema = record("A workload: processes that share one network namespace.", {
  spec: record(
    "Desired state.",
    {
      containers: containers("The containers."),
      initContainers: containers("Containers that run first."),
      ephemeralContainers: containers("Containers for debugging.", {
        targetContainerName: text("Container whose processes it sees."),
      }),
      nodeName: text("Machine the pod runs on."),
      nodeSelector: mapOf("Labels the machine must have.", text("Value."), { "x-kubernetes-map-type": "atomic" }),
      hostNetwork: boolean("Use the machine's network: then the pod is no endpoint."),
      hostPID: boolean("See the machine's processes."),
      hostIPC: boolean("Use the machine's IPC."),
      hostUsers: boolean("Use the machine's user namespace."),
      hostname: text("Host name in the pod."),
      hostnameOverride: text("Host name instead of the one derived."),
      subdomain: text("Domain below the namespace's."),
      setHostnameAsFQDN: boolean("Host name is the full name."),
      serviceAccountName: text("Service account the pod acts as."),
      serviceAccount: text("Old name of serviceAccountName."),
      automountServiceAccountToken: boolean("Mount the token of the service account."),
      restartPolicy: oneOfWords("When containers are restarted.", ["Always", "OnFailure", "Never"], {
        default: "Always",
      }),
      terminationGracePeriodSeconds: integer("Seconds granted to stop.", { format: "int64", default: 30 }),
      activeDeadlineSeconds: integer("Seconds the pod may live.", { format: "int64" }),
      dnsPolicy: text("How names are resolved."),
      dnsConfig: opaque("Settings of the resolver."),
      hostAliases: patchByKey("Lines for /etc/hosts.", "ip", opaque("A line.")),
      enableServiceLinks: boolean("Describe services in variables."),
      volumes: patchByKey("Volumes.", "name", opaque("A volume.")),
      affinity: opaque("Where to place the pod."),
      tolerations: list("Marks of machines the pod bears.", opaque("A mark.")),
      topologySpreadConstraints: patchByKey("How pods are spread.", "topologyKey", opaque("A constraint.")),
      schedulerName: text("Who places the pod."),
      schedulingGates: patchByKey("What placement waits for.", "name", opaque("A gate.")),
      priority: integer("Priority.", { format: "int32" }),
      priorityClassName: text("Class of priority."),
      preemptionPolicy: text("Whether it may displace others."),
      readinessGates: list("Further conditions of readiness.", opaque("A condition.")),
      runtimeClassName: text("Class of container runtime."),
      overhead: mapOf("Resources of the runtime itself.", intOrString("Quantity.")),
      os: opaque("Operating system."),
      resources: opaque("Resources of the pod as a whole."),
      resourceClaims: patchByKey("Claims to devices.", "name", opaque("A claim.")),
      shareProcessNamespace: boolean("Containers see one another's processes."),
      securityContext: opaque("Rights of the pod."),
      imagePullSecrets: patchByKey("Secrets for fetching images.", "name", opaque("A secret.")),
      workloadRef: opaque("The workload the pod belongs to."),
    },
    ["containers"],
  ),
  status: record("Observed state.", {
    phase: oneOfWords("Stage of its life.", ["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    conditions,
    reason: text("One word why."),
    message: text("A sentence why."),
    podIP: text("Address of the pod."),
    podIPs: addresses("Addresses of the pod, one per family."),
    hostIP: text("Address of the machine."),
    hostIPs: {
      ...list("Addresses of the machine.", record("An address.", { ip: text("The address.") }, ["ip"])),
      "x-kubernetes-list-type": "atomic",
    },
    startTime: time("When the machine took the pod."),
    containerStatuses: containerStatuses("State of each container."),
    initContainerStatuses: containerStatuses("State of each init container."),
    ephemeralContainerStatuses: containerStatuses("State of each ephemeral container."),
    nominatedNodeName: text("Machine that makes room."),
    observedGeneration: integer("Generation that was looked at.", { format: "int64" }),
    qosClass: text("Quality of service."),
    resize: text("State of a change of resources."),
    resources: opaque("Resources in force."),
    allocatedResources: opaque("Resources granted."),
    resourceClaimStatuses: list("Claims to devices.", opaque("A claim.")),
    extendedResourceClaimStatus: opaque("Claim for extended resources."),
  }),
});

/** Service without apiVersion, kind and metadata. */
export const service: Schema = record("A stable address before a set of pods.", {
  spec: record("Desired state.", {
    type: oneOfWords("How the service is reached.", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], {
      default: "ClusterIP",
    }),
    selector: mapOf("Labels of the pods behind the service.", text("Value."), { "x-kubernetes-map-type": "atomic" }),
    ports: {
      ...listByKey(
        "Ports of the service.",
        ["port", "protocol"],
        record(
          "A port.",
          {
            name: text("Name; needed if there are several ports."),
            protocol: protocolWord({ default: "TCP" }),
            port: integer("Number.", { format: "int32", minimum: 1, maximum: 65535 }),
            targetPort: intOrString("Number or name at the backend; default: port."),
            nodePort: integer("Port on every node.", { format: "int32", minimum: 1, maximum: 65535 }),
            appProtocol: text("Protocol of the application."),
          },
          ["port"],
        ),
      ),
    },
    clusterIP: text('Address of the service; "None" for a headless one.'),
    clusterIPs: list("Addresses of the service, one per family.", text("An address."), {
      "x-kubernetes-list-type": "atomic",
    }),
    externalIPs: list("Further addresses that lead here.", text("An address."), { "x-kubernetes-list-type": "atomic" }),
    externalName: text("DNS name that an ExternalName service stands for."),
    externalTrafficPolicy: oneOfWords("Backends for traffic from outside.", ["Cluster", "Local"]),
    internalTrafficPolicy: oneOfWords("Backends for traffic from inside.", ["Cluster", "Local"]),
    trafficDistribution: text("Preference among backends."),
    sessionAffinity: oneOfWords("Whether a client keeps its backend.", ["None", "ClientIP"], { default: "None" }),
    sessionAffinityConfig: opaque("How long a client keeps its backend."),
    ipFamilies: list("Address families.", oneOfWords("A family.", ["IPv4", "IPv6"]), {
      "x-kubernetes-list-type": "atomic",
    }),
    ipFamilyPolicy: oneOfWords("How many families.", ["SingleStack", "PreferDualStack", "RequireDualStack"]),
    publishNotReadyAddresses: boolean("Backends need not be ready."),
    healthCheckNodePort: integer("Port for health checks of Local services.", { format: "int32" }),
    allocateLoadBalancerNodePorts: boolean("Whether load balancers need node ports."),
    loadBalancerClass: text("Class of load balancer."),
    loadBalancerIP: text("Address asked of the load balancer."),
    loadBalancerSourceRanges: list("Prefixes that may use the load balancer.", text("A prefix."), {
      "x-kubernetes-list-type": "atomic",
    }),
  }),
  status: record("Observed state.", {
    loadBalancer: record("The load balancer.", {
      ingress: list(
        "Its addresses.",
        record("An address.", {
          ip: text("IP address."),
          hostname: text("DNS name."),
          ipMode: text("How the address works."),
          ports: list("Ports.", opaque("A port.")),
        }),
        { "x-kubernetes-list-type": "atomic" },
      ),
    }),
    conditions,
  }),
});

const localReference = record("An object of the same namespace.", { name: text("Name.") });

/** ServiceAccount without apiVersion, kind and metadata. */
export const serviceAccount: Schema = record("A name under which workloads act.", {
  automountServiceAccountToken: boolean("Mount the token into pods."),
  secrets: patchByKey("Secrets that pods of the account may use.", "name", opaque("A secret.")),
  imagePullSecrets: list("Secrets for fetching images.", localReference, { "x-kubernetes-list-type": "atomic" }),
});

/** ConfigMap without apiVersion, kind and metadata. */
export const configMap: Schema = record("Plain configuration data.", {
  data: mapOf("Text by key.", text("Text.")),
  binaryData: mapOf("Bytes by key, base64.", string("Bytes.", { format: "byte" })),
  immutable: boolean("Data can no longer change."),
});

/** Secret without apiVersion, kind and metadata. */
export const secret: Schema = record("Confidential data.", {
  type: string("Kind of secret.", { default: "Opaque" }),
  data: mapOf("Bytes by key, base64.", string("Bytes.", { format: "byte" })),
  stringData: mapOf("Text by key; moved into data by the server.", text("Text.")),
  immutable: boolean("Data can no longer change."),
});

const policyPort = record("A port; without port all of the protocol.", {
  protocol: protocolWord({ default: "TCP" }),
  port: intOrString("Number or name of a port of the pod."),
  endPort: integer("Last port of a range.", { format: "int32", minimum: 1, maximum: 65535 }),
});
const policyPeer = named(
  "io.k8s.api.networking.v1.NetworkPolicyPeer",
  record("Pods by labels, or a block of addresses.", {
    podSelector: describe("Pods of the policy's namespace, or of those that namespaceSelector selects.", labelSelector),
    namespaceSelector: describe("Namespaces by labels.", labelSelector),
    ipBlock: record(
      "A block of addresses.",
      {
        cidr: string("Prefix.", { format: "cidr" }),
        except: list("Prefixes left out.", string("Prefix.", { format: "cidr" }), {
          "x-kubernetes-list-type": "atomic",
        }),
      },
      ["cidr"],
    ),
  }),
);

/** NetworkPolicy without apiVersion, kind and metadata. */
export const networkPolicy: Schema = record("What traffic is allowed for a set of pods.", {
  spec: record("The policy.", {
    podSelector: describe("The pods the policy is for; {} is all of the namespace.", labelSelector),
    policyTypes: list("Directions that the policy decides.", oneOfWords("A direction.", ["Ingress", "Egress"]), {
      "x-kubernetes-list-type": "atomic",
    }),
    ingress: list(
      "What may come in.",
      record("Sources and ports, both must match; absent ones match all.", {
        from: list("Sources.", policyPeer, { "x-kubernetes-list-type": "atomic" }),
        ports: list("Ports.", policyPort, { "x-kubernetes-list-type": "atomic" }),
      }),
      { "x-kubernetes-list-type": "atomic" },
    ),
    egress: list(
      "What may go out.",
      record("Destinations and ports, both must match; absent ones match all.", {
        to: list("Destinations.", policyPeer, { "x-kubernetes-list-type": "atomic" }),
        ports: list("Ports.", policyPort, { "x-kubernetes-list-type": "atomic" }),
      }),
      { "x-kubernetes-list-type": "atomic" },
    ),
  }),
});

/** CustomResourceDefinition without apiVersion, kind and metadata: what this server serves of it is fixed. */
export const customResourceDefinition: Schema = record("How a kind beyond the built-in ones is served.", {
  spec: record("The kind.", {
    group: text("API group."),
    names: opaque("Names of the kind."),
    scope: oneOfWords("Whether objects live in namespaces.", ["Cluster", "Namespaced"]),
    versions: list("Versions of the kind.", opaque("A version.")),
    conversion: opaque("How versions are converted."),
    preserveUnknownFields: boolean("No longer used."),
  }),
  status: record("Observed state.", {
    conditions,
    acceptedNames: opaque("Names in force."),
    storedVersions: texts("Versions in the store."),
  }),
});
