/** Which fields exist where: what unknown and misplaced keys are judged by. Source: Cilium 1.20's CRDs, networking.k8s.io/v1. */

/** What becomes of a field: read, or refused because Cilium has removed it. */
type FieldStatus = "read" | "refused";

/** The fields of one kind of object in a policy. */
export interface Shape {
  /** For messages: "a selector", "an item of ports". */
  readonly name: string;
  readonly fields: Readonly<Record<string, FieldStatus>>;
}

const shape = (name: string, read: string, refused = ""): Shape => ({
  name,
  fields: Object.fromEntries([
    ...read.split(" ").map((field) => [field, "read"] as const),
    ...refused
      .split(" ")
      .filter(Boolean)
      .map((field) => [field, "refused"] as const),
  ]),
});

/** Every shape by name. */
export const shapes = {
  object: shape("a policy object", "apiVersion kind metadata spec specs status"),
  kubeObject: shape("a policy object", "apiVersion kind metadata spec status"),
  metadata: shape(
    "metadata",
    "name namespace labels annotations uid resourceVersion generation creationTimestamp deletionTimestamp deletionGracePeriodSeconds generateName finalizers ownerReferences managedFields selfLink",
  ),
  spec: shape(
    "a policy's spec",
    "endpointSelector nodeSelector ingress egress ingressDeny egressDeny enableDefaultDeny labels description log",
  ),
  enableDefaultDeny: shape("enableDefaultDeny", "ingress egress"),
  log: shape("log", "value"),
  authentication: shape("authentication", "mode"),
  ruleLabel: shape("an item of labels", "key value source"),
  selector: shape("a selector", "matchLabels matchExpressions"),
  expression: shape("an item of matchExpressions", "key operator values"),
  ingress: shape(
    "an item of ingress",
    "fromEndpoints fromEntities fromCIDR fromCIDRSet fromNodes fromGroups toPorts icmps authentication",
    "fromRequires",
  ),
  egress: shape(
    "an item of egress",
    "toEndpoints toEntities toCIDR toCIDRSet toNodes toGroups toServices toFQDNs toPorts icmps authentication",
    "toRequires",
  ),
  ingressDeny: shape(
    "an item of ingressDeny",
    "fromEndpoints fromEntities fromCIDR fromCIDRSet fromNodes fromGroups toPorts icmps",
    "fromRequires",
  ),
  egressDeny: shape(
    "an item of egressDeny",
    "toEndpoints toEntities toCIDR toCIDRSet toNodes toGroups toServices toPorts icmps tsilium",
    "toRequires",
  ),
  egressDenyExtensions: shape("tsilium", "toFQDNs"),
  cloudGroup: shape("an item of fromGroups or toGroups", "aws"),
  awsGroup: shape("aws", "labels securityGroupsIds securityGroupsNames region"),
  service: shape("an item of toServices", "k8sService k8sServiceSelector"),
  serviceName: shape("k8sService", "serviceName namespace"),
  serviceSelector: shape("k8sServiceSelector", "selector namespace"),
  dnsName: shape("a name in DNS", "matchName matchPattern"),
  cidrRule: shape("an item of a CIDR set", "cidr except cidrGroupRef cidrGroupSelector"),
  portRule: shape("an item of toPorts", "ports rules terminatingTLS originatingTLS serverNames listener"),
  portDenyRule: shape("an item of toPorts", "ports"),
  tls: shape("a TLS context", "secret trustedCA certificate privateKey"),
  secret: shape("secret", "namespace name"),
  listener: shape("listener", "envoyConfig name priority"),
  envoyConfig: shape("envoyConfig", "kind name"),
  port: shape("an item of ports", "port endPort protocol"),
  l7: shape("rules", "http dns kafka l7proto l7 tsilium"),
  http: shape("an item of http", "method path host headers headerMatches tsilium"),
  httpExtensions: shape("tsilium", "rateLimit"),
  rateLimit: shape("rateLimit", "requests per burst"),
  headerMatch: shape("an item of headerMatches", "name value secret mismatch"),
  kafka: shape("an item of kafka", "role apiKey apiVersion clientID topic"),
  l7Extensions: shape("tsilium", "ftp smtp grpc custom"),
  ftp: shape("an item of ftp", "command path user"),
  smtp: shape("an item of smtp", "command from to maxSize"),
  grpc: shape("an item of grpc", "service method headers headerMatches"),
  custom: shape("custom", "parser rules"),
  icmp: shape("an item of icmps", "fields"),
  icmpField: shape("an item of fields", "family type"),
  kubeSpec: shape("a NetworkPolicy's spec", "podSelector policyTypes ingress egress"),
  kubeIngress: shape("an item of ingress", "from ports"),
  kubeEgress: shape("an item of egress", "to ports"),
  kubePeer: shape("a peer", "podSelector namespaceSelector ipBlock"),
  ipBlock: shape("ipBlock", "cidr except"),
  clusterSpec: shape("a ClusterNetworkPolicy's spec", "tier priority subject ingress egress"),
  adminSpec: shape("an AdminNetworkPolicy's spec", "priority subject ingress egress"),
  baselineSpec: shape("a BaselineAdminNetworkPolicy's spec", "subject ingress egress"),
  clusterSubject: shape("a subject", "namespaces pods"),
  namespacedPod: shape("pods", "namespaceSelector podSelector"),
  clusterIngress: shape("an item of ingress", "name action from protocols"),
  clusterEgress: shape("an item of egress", "name action to protocols"),
  adminIngress: shape("an item of ingress", "name action from ports"),
  adminEgress: shape("an item of egress", "name action to ports"),
  clusterTransport: shape("a protocol", "destinationPort"),
  clusterPort: shape("destinationPort", "number range"),
  clusterRange: shape("range", "start end"),
  adminPort: shape("portNumber", "protocol port"),
  adminRange: shape("portRange", "protocol start end"),
} as const satisfies Readonly<Record<string, Shape>>;

/** Name of a shape. */
export type ShapeName = keyof typeof shapes;

/** Where a field of Cilium's language lives, for keys found elsewhere: shape -> path as people say it. */
const homes: Readonly<Partial<Record<ShapeName, string>>> = {
  spec: "spec",
  ingress: "spec.ingress[]",
  egress: "spec.egress[]",
  selector: "endpointSelector, or an item of fromEndpoints or toEndpoints",
  cidrRule: "an item of fromCIDRSet or toCIDRSet",
  portRule: "toPorts[]",
  port: "toPorts[].ports[]",
  l7: "toPorts[].rules",
  http: "toPorts[].rules.http[]",
  l7Extensions: "toPorts[].rules.tsilium",
  httpExtensions: "toPorts[].rules.http[].tsilium",
  expression: "matchExpressions[]",
};
const kubeHomes: Readonly<Partial<Record<ShapeName, string>>> = {
  kubeSpec: "spec",
  kubeIngress: "spec.ingress[]",
  kubeEgress: "spec.egress[]",
  kubePeer: "an item of from or to",
  port: "ports[]",
  selector: "a selector",
  expression: "matchExpressions[]",
};

const clusterHomes: Readonly<Partial<Record<ShapeName, string>>> = {
  clusterSpec: "spec",
  clusterIngress: "spec.ingress[]",
  clusterEgress: "spec.egress[]",
  adminIngress: "spec.ingress[] of an AdminNetworkPolicy",
  adminEgress: "spec.egress[] of an AdminNetworkPolicy",
  clusterSubject: "subject, or an item of from or to",
  namespacedPod: "pods",
  selector: "a selector",
  expression: "matchExpressions[]",
};
const homesByLanguage = { cilium: homes, kubernetes: kubeHomes, cluster: clusterHomes };

/** Which group of kinds an object is of: words mean different things there. */
export type Language = keyof typeof homesByLanguage;

/** Field names of Kubernetes' own policy and what Cilium calls them, and other names that people try. */
const aliases: Readonly<Record<string, string>> = {
  from: "fromEndpoints",
  to: "toEndpoints",
  podSelector: "endpointSelector",
  policyTypes: "enableDefaultDeny",
  ipBlock: "fromCIDRSet",
  ports: "toPorts",
  endpoints: "fromEndpoints",
  entities: "fromEntities",
  fromIPs: "fromCIDR",
  toIPs: "toCIDR",
  toDomains: "toFQDNs",
  icmp: "icmps",
  paths: "path",
  methods: "method",
  hosts: "host",
  ingressdeny: "ingressDeny",
};

/** The places where a key is at home; empty if it is nowhere. */
export function homesOf(key: string, language: Language): readonly string[] {
  return Object.entries(homesByLanguage[language]).flatMap(([name, home]) =>
    Object.hasOwn(shapes[name as ShapeName].fields, key) ? [home] : [],
  );
}

/** The known field that was probably meant: another spelling, an alias, or at most two letters away. */
export function nearestField(key: string, of: Shape): string | undefined {
  const fields = Object.keys(of.fields);
  const folded = fields.find((field) => field.toLowerCase() === key.toLowerCase());
  if (folded !== undefined) return folded;
  const alias = Object.hasOwn(aliases, key) ? aliases[key] : undefined;
  if (alias !== undefined && fields.includes(alias)) return alias;
  return nearest(key, fields);
}

/** The candidate at the smallest edit distance, if it is near enough to be a slip of the pen. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const limit = word.length <= 4 ? 1 : word.length <= 9 ? 2 : 3;
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { candidate, distance };
  }
  return best?.candidate;
}

/** Damerau-Levenshtein distance (optimal string alignment): a swap of neighbours counts as one slip. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let distance = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        distance = Math.min(distance, before[j - 2]! + 1);
      row.push(distance);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
