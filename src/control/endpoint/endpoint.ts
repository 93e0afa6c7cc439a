/** An endpoint: the attachment of a workload to our network, its states, and what it wants of the kernel. */
import {
  type EndpointId,
  formatPrefix,
  hostPrefix,
  type IpAddress,
  type Labels,
  labelsKey,
  type NumericIdentity,
} from "#core/model";

/**
 * Where an endpoint stands. The one way forward: creating -> waiting-for-identity -> ready; any -> disconnecting -> gone.
 * - `creating`: has number and addresses; its interface is being made. The kernel drops everything.
 * - `waiting-for-identity`: the interface is there; its labels have no number yet. The kernel drops everything.
 * - `ready`: identity known, policy decides.
 * - `disconnecting`: being taken down.
 * - `failed`: the interface could not be made; retried by the reconciler, ends in `waiting-for-identity` or by deletion.
 */
export type EndpointState =
  | { readonly kind: "creating" }
  | { readonly kind: "waiting-for-identity" }
  | { readonly kind: "ready"; readonly identity: NumericIdentity }
  | { readonly kind: "disconnecting" }
  | { readonly kind: "failed"; readonly message: string };

/** What never changes in an endpoint's life, and what a restart needs to know of it. */
export interface EndpointFacts {
  readonly id: EndpointId;
  /** Who asked for it: a container's id, or `workload:NAMESPACE/NAME`. */
  readonly containerId: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly netnsPath: string;
  /** Interface inside the workload. */
  readonly interfaceName: string;
  readonly mac: string;
  readonly hostMac: string;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly createdAtMs: number;
}

/** An endpoint as the control plane sees it now. `labels` are the identity-relevant ones; undefined until the pod is known. */
export interface Endpoint extends EndpointFacts {
  readonly labels: Labels | undefined;
  /** Index of the host side; undefined until it was made. */
  readonly ifindex: number | undefined;
  readonly state: EndpointState;
}

/** What can happen to an endpoint. */
export type EndpointEvent =
  | { readonly kind: "labelled"; readonly labels: Labels }
  | { readonly kind: "interface-up"; readonly ifindex: number }
  | { readonly kind: "interface-failed"; readonly message: string }
  | { readonly kind: "identified"; readonly labels: Labels; readonly identity: NumericIdentity }
  | { readonly kind: "disconnected" };

/** A new endpoint. */
export function createEndpoint(facts: EndpointFacts): Endpoint {
  return { ...facts, labels: undefined, ifindex: undefined, state: { kind: "creating" } };
}

/** The endpoint after an event; the same object if the event changes nothing (an identity for labels it no longer has, anything after `disconnected`). */
export function advanceEndpoint(endpoint: Endpoint, event: EndpointEvent): Endpoint {
  const { state } = endpoint;
  if (state.kind === "disconnecting") return endpoint;
  switch (event.kind) {
    case "labelled":
      if (endpoint.labels && labelsKey(endpoint.labels) === labelsKey(event.labels)) return endpoint;
      // An endpoint that was ready keeps its old identity in force until the new one is known: no gap for its connections.
      return { ...endpoint, labels: event.labels };
    case "interface-up":
      if (endpoint.ifindex === event.ifindex && state.kind !== "failed") return endpoint;
      return {
        ...endpoint,
        ifindex: event.ifindex,
        state: state.kind === "ready" ? state : { kind: "waiting-for-identity" },
      };
    case "interface-failed":
      return { ...endpoint, state: { kind: "failed", message: event.message } };
    case "identified":
      if (!endpoint.labels || labelsKey(endpoint.labels) !== labelsKey(event.labels)) return endpoint;
      if (state.kind === "creating" || state.kind === "failed") return endpoint;
      if (state.kind === "ready" && state.identity === event.identity) return endpoint;
      return { ...endpoint, state: { kind: "ready", identity: event.identity } };
    case "disconnected":
      return { ...endpoint, state: { kind: "disconnecting" } };
  }
}

/** The endpoint's own addresses as prefixes with text: keys of its ipcache rows. */
export function endpointPrefixes(endpoint: EndpointFacts): string[] {
  return [endpoint.ipv4, endpoint.ipv6].filter((a) => a !== undefined).map((a) => formatPrefix(hostPrefix(a)));
}
