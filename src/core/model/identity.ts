/** Reserved identities, numbers and names as in Cilium (pkg/identity/numericidentity.go). */
import { createLabels, type Labels } from "./labels.ts";
import type { NumericIdentity } from "./numbers.ts";

/** The reserved identities by name. World is split by family: the datapath is always dual stack. */
export const Reserved = {
  unknown: 0 as NumericIdentity,
  host: 1 as NumericIdentity,
  world: 2 as NumericIdentity,
  unmanaged: 3 as NumericIdentity,
  health: 4 as NumericIdentity,
  init: 5 as NumericIdentity,
  "remote-node": 6 as NumericIdentity,
  "kube-apiserver": 7 as NumericIdentity,
  ingress: 8 as NumericIdentity,
  "world-ipv4": 9 as NumericIdentity,
  "world-ipv6": 10 as NumericIdentity,
} as const;

/** Name of a reserved identity. */
export type ReservedName = keyof typeof Reserved;

/** First and last number given to label sets of the cluster, and of the node-local ones: prefixes, and from `namesMin` on what DNS names led to. */
export const identityRanges = {
  clusterMin: 256,
  clusterMax: 65535,
  localMin: 0x0100_0001,
  namesMin: 0x0180_0000,
  localMax: 0x01ff_ffff,
} as const;

/** The reserved identity's name, if the number is one. */
export function reservedName(identity: NumericIdentity): ReservedName | undefined {
  return (Object.keys(Reserved) as ReservedName[]).find((name) => Reserved[name] === identity);
}

/** The labels that a reserved identity has: `reserved:NAME`; kube-apiserver is a remote node too. */
export function reservedLabels(name: ReservedName): Labels {
  const label = (key: string) => ({ source: "reserved", key, value: "" });
  return createLabels(name === "kube-apiserver" ? [label(name), label("remote-node")] : [label(name)]);
}

/** What an identity is: its number, its labels and, for a node-local one, the prefix it stands for. */
export interface Identity {
  readonly id: NumericIdentity;
  readonly labels: Labels;
  /** For CIDR identities: `address/length`. */
  readonly prefix?: string;
}
