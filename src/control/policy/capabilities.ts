/** Parts of the language that not every node can enforce: what a rule needs, and what is missing. */

import type { Problem } from "#contracts/manifest";
import type { HttpMatch } from "#contracts/proxy";
import { protocolNumbers } from "#core/model";
import { portlessProtocols } from "./parse-port.ts";
import type { PortList, Rule, Statement } from "./rule.ts";

/** A part of the language, with what has to be there to enforce it. */
export const capabilities = {
  "node-policies": "policies for nodes",
  "node-peers": "peers that are nodes by their labels",
  services: "peers that are services",
  "fqdn-peers": "destinations by their DNS name",
  "fqdn-deny": "denied destinations by their DNS name",
  authentication: "mutual authentication",
  listeners: "listeners of Envoy",
  "extended-protocols": "protocols without ports",
  dns: "rules for DNS",
  kafka: "rules for Kafka",
  ftp: "rules for FTP",
  smtp: "rules for SMTP",
  custom: "rules for parsers from outside",
  grpc: "rules for gRPC",
  "rate-limits": "limits of requests",
  "header-actions": "actions on headers that don't match",
  "header-secrets": "headers whose value is in a Secret",
  "server-names": "server names of TLS",
  "tls-inspection": "TLS that the proxy terminates or originates",
} as const;

/** Name of such a part. What is not listed every node enforces. */
export type Capability = keyof typeof capabilities;

/** One place of a rule, and what it needs. */
export interface Need {
  readonly capability: Capability;
  /** Field path in the object. */
  readonly path: string;
}

/** Everything that the rules need beyond what every node enforces, in the order in which it is written. */
export function needsOf(rules: readonly Rule[]): Need[] {
  return rules.flatMap((rule) => [
    ...(rule.ofNodes ? [{ capability: "node-policies", path: `${rule.path}.nodeSelector` } as const] : []),
    ...rule.statements.flatMap(needsOfStatement),
  ]);
}

/** What of the rules can't be enforced with these capabilities, as problems that refuse them. Empty: all can be. */
export function unenforceable(rules: readonly Rule[], available: ReadonlySet<Capability>): Problem[] {
  return needsOf(rules)
    .filter(({ capability }) => !available.has(capability))
    .map(({ capability, path }) => ({
      path,
      code: "unsupported-field",
      severity: "error",
      message: `${capabilities[capability]}: not enforced by this version; refusing rather than failing open`,
      hint: hints[capability] ?? "remove it, or keep this policy for a version that enforces it",
    }));
}

const hints: Readonly<Partial<Record<Capability, string>>> = {
  "fqdn-peers": "name the addresses with toCIDR, or allow toEntities: [world] on the ports that are needed",
  services: "select the pods behind the service with toEndpoints; outside of the cluster use toCIDR",
  "node-peers": "use entities: host, remote-node",
  dns: "allow port 53 without dns rules: names are then not filtered",
  "node-policies": "use endpointSelector",
};

function needsOfStatement({ action, peers, services, ports, authentication, ref }: Statement): Need[] {
  const out: Need[] = [];
  const need = (capability: Capability, path: string) => out.push({ capability, path });
  for (const peer of peers === "any" ? [] : peers) {
    if (peer.kind === "labels" && peer.ofNodes) need("node-peers", peer.path);
    if (peer.kind === "fqdn") need(action === "deny" ? "fqdn-deny" : "fqdn-peers", peer.path);
  }
  for (const { path } of services ?? []) need("services", path);
  if (authentication !== undefined && authentication !== "disabled")
    need("authentication", `${ref.path}.authentication`);
  for (const list of ports === "any" ? [] : ports) out.push(...needsOfPorts(list));
  return out;
}

const portless: ReadonlySet<number> = new Set(portlessProtocols.map((name) => protocolNumbers[name]));

function needsOfPorts({ path, matches, l7, tls, listener }: PortList): Need[] {
  const out: Need[] = [];
  const need = (capability: Capability, place: string) => out.push({ capability, path: place });
  for (const match of matches) if (portless.has(match.protocol)) need("extended-protocols", match.path);
  if (l7?.protocol === "http") for (const rule of l7.rules) out.push(...needsOfRequest(rule, rule.place));
  else if (l7 !== undefined) need(l7.protocol, l7.rules[0]?.place.replace(/\[\d+\]$/, "") ?? path);
  if (tls?.serverNames !== undefined) need("server-names", `${path}.serverNames`);
  if (tls?.terminating !== undefined) need("tls-inspection", `${path}.terminatingTLS`);
  if (tls?.originating !== undefined) need("tls-inspection", `${path}.originatingTLS`);
  if (listener !== undefined) need("listeners", `${path}.listener`);
  return out;
}

function needsOfRequest({ grpc, rateLimit, headers = [] }: HttpMatch, place: string): Need[] {
  const out: Need[] = [];
  if (grpc !== undefined) out.push({ capability: "grpc", path: place });
  if (rateLimit !== undefined) out.push({ capability: "rate-limits", path: `${place}.tsilium.rateLimit` });
  if (headers.some(({ mismatch }) => mismatch !== undefined)) out.push({ capability: "header-actions", path: place });
  if (headers.some(({ secret }) => secret !== undefined)) out.push({ capability: "header-secrets", path: place });
  return out;
}
