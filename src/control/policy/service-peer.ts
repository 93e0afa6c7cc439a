/** Services as peers: what stands behind them is put in their places before rules are resolved. */
import { formatPrefix, hostPrefix, type IpAddress } from "#core/model";
import { clusterKey, namespaceKey } from "./parse-peers.ts";
import type { Peer, Rule, ServicePeer } from "./rule.ts";
import { createSelector, equals, indexLabels, selects } from "./selector.ts";

/** A Service, as far as policies are concerned. */
export interface PolicyService {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Labels of the pods behind it; without any it stands for `addresses`. */
  readonly selector: Readonly<Record<string, string>>;
  /** Of its EndpointSlices. */
  readonly addresses: readonly IpAddress[];
}

/** `namespace/name`. */
export function serviceKey({ namespace, name }: Pick<PolicyService, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

/** Whether the rules name a service, there or not. */
export function mentionsServices(rules: readonly Rule[]): boolean {
  return servicePeers(rules).length > 0;
}

/** Whether the rules name this service, by its name or its labels. */
export function mentionsService(rules: readonly Rule[], service: PolicyService): boolean {
  return servicePeers(rules).some((peer) => isService(peer, service));
}

/** Services that rules name and that are not there. */
export function unresolvedServices(
  rules: readonly Rule[],
  services: ReadonlyMap<string, PolicyService>,
): ServicePeer[] {
  return servicePeers(rules).filter((peer) => ![...services.values()].some((service) => isService(peer, service)));
}

/** The rules with what stands behind services among their peers. A service that is not there selects nothing. */
export function bindServices(
  rules: readonly Rule[],
  services: ReadonlyMap<string, PolicyService>,
  clusterName: string,
): readonly Rule[] {
  if (!mentionsServices(rules)) return rules;
  return rules.map((rule) => ({
    ...rule,
    statements: rule.statements.map((statement) => {
      const { services: named, peers } = statement;
      if (named === undefined || peers === "any") return statement;
      return { ...statement, peers: [...peers, ...named.flatMap((peer) => peersBehind(peer, services, clusterName))] };
    }),
  }));
}

function servicePeers(rules: readonly Rule[]): ServicePeer[] {
  return rules.flatMap(({ statements }) => statements.flatMap(({ services }) => services ?? []));
}

function isService({ namespace, service: meant }: ServicePeer, service: PolicyService): boolean {
  if (namespace !== undefined && namespace !== service.namespace) return false;
  if (typeof meant === "string") return meant === service.name;
  const labels = Object.entries(service.labels).map(([key, value]) => ({ source: "k8s", key, value }));
  return selects(meant, indexLabels(labels));
}

function peersBehind(
  peer: ServicePeer,
  services: ReadonlyMap<string, PolicyService>,
  clusterName: string,
): readonly Peer[] {
  return [...services.values()]
    .filter((service) => isService(peer, service))
    .sort((a, b) => (serviceKey(a) < serviceKey(b) ? -1 : 1))
    .flatMap((service) => behind(service, peer.path, clusterName));
}

function behind({ namespace, selector, addresses }: PolicyService, path: string, clusterName: string): Peer[] {
  const labels = Object.entries(selector);
  if (labels.length === 0) {
    const prefixes = new Map(addresses.map(hostPrefix).map((prefix) => [formatPrefix(prefix), prefix]));
    return [...prefixes.values()].map((prefix) => ({ kind: "cidr", prefix, except: [], path }));
  }
  const requirements = [
    ...labels.map(([key, value]) => equals(`k8s:${key}`, value)),
    equals(`k8s:${namespaceKey}`, namespace),
    equals(`k8s:${clusterKey}`, clusterName),
  ];
  return [{ kind: "labels", selector: createSelector(requirements), path }];
}
