/** This node: from what its network namespace holds to what the datapath must know of it. */
import { formatAddress, type IpAddress, maskAddress, type Prefix, prefixContains } from "#core/model";

/** What was found in the network namespace. */
export interface NodeObservation {
  readonly links: readonly { readonly ifindex: number; readonly name: string }[];
  readonly addresses: readonly {
    readonly ifindex: number;
    readonly address: IpAddress;
    /** Of its subnet, in bits. */
    readonly length: number;
    /** Usable beyond the link: not `scope link` or `scope host`. */
    readonly global: boolean;
  }[];
  /** Default routes of the main table. */
  readonly defaultRoutes: readonly { readonly family: 4 | 6; readonly ifindex: number; readonly metric: number }[];
}

/** What a person may settle. */
export interface NodeSettings {
  readonly podCidr4: Prefix;
  readonly podCidr6: Prefix;
  /** Device towards the world; default: that of the default route with the smallest metric, IPv4 before IPv6. */
  readonly worldDevice?: string;
  /** Default true. */
  readonly masquerade?: boolean;
}

/** What the datapath must know of the node. */
export interface NodePlan {
  readonly podCidr4: Prefix;
  readonly podCidr6: Prefix;
  readonly router4: IpAddress;
  readonly router6: IpAddress;
  readonly world?: { readonly ifindex: number; readonly name: string };
  /** Sources of masqueraded packets: the world device's first global address of the family. */
  readonly masquerade4?: IpAddress;
  readonly masquerade6?: IpAddress;
  /** Every address under which the node is reached, routers' included: identity host. Sorted by text. */
  readonly ownAddresses: readonly IpAddress[];
  /** What limits this node, for people. */
  readonly warnings: readonly string[];
}

/**
 * An address and the one that all hosts of its subnet share (IPv4: broadcast; IPv6: the routers' anycast, RFC 4291 2.6.1): who
 * sends there reaches the node too. Subnets of two hosts have none.
 */
function addressesBehind({ address, length }: { readonly address: IpAddress; readonly length: number }): IpAddress[] {
  if (length > (address.family === 4 ? 30 : 126)) return [address];
  const { family, bytes } = maskAddress(address, length);
  if (family === 6) return [address, { family, bytes }];
  const broadcast = bytes.map((byte, i) => (i < 4 ? byte | (0xff >> Math.min(8, Math.max(0, length - 8 * i))) : byte));
  return [address, { family, bytes: broadcast }];
}

/** The plan for a node. `routers` are the first addresses of the pod CIDRs. */
export function planNode(
  seen: NodeObservation,
  settings: NodeSettings,
  routers: { readonly router4: IpAddress; readonly router6: IpAddress },
): NodePlan {
  const { podCidr4, podCidr6 } = settings;
  const warnings: string[] = [];
  const route = [...seen.defaultRoutes].sort((a, b) => a.family - b.family || a.metric - b.metric)[0];
  const world =
    settings.worldDevice === undefined
      ? seen.links.find((link) => link.ifindex === route?.ifindex)
      : seen.links.find((link) => link.name === settings.worldDevice);
  if (settings.worldDevice !== undefined && !world)
    warnings.push(`there is no device ${settings.worldDevice}; the world is reached without masquerading`);
  const masquerade = (family: 4 | 6): IpAddress | undefined =>
    world && settings.masquerade !== false
      ? seen.addresses.find((a) => a.ifindex === world.ifindex && a.global && a.address.family === family)?.address
      : undefined;
  const own = new Map<string, IpAddress>();
  for (const address of [...seen.addresses.flatMap(addressesBehind), routers.router4, routers.router6])
    own.set(formatAddress(address), address);
  for (const { address } of seen.addresses) {
    const inside = [podCidr4, podCidr6].some((cidr) => prefixContains(cidr, address));
    const router = [routers.router4, routers.router6].some((r) => formatAddress(r) === formatAddress(address));
    if (inside && !router)
      warnings.push(
        `the node's own address ${formatAddress(address)} lies inside the pods' prefix; choose another one`,
      );
  }
  const masquerade4 = masquerade(4);
  const masquerade6 = masquerade(6);
  return {
    podCidr4,
    podCidr6,
    ...routers,
    ...(world && { world: { ifindex: world.ifindex, name: world.name } }),
    ...(masquerade4 && { masquerade4 }),
    ...(masquerade6 && { masquerade6 }),
    ownAddresses: [...own.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, address]) => address),
    warnings,
  };
}

/** Whether two plans want the same of the datapath. */
export function sameNodePlan(a: NodePlan, b: NodePlan): boolean {
  return describe(a) === describe(b);
}

function describe(plan: NodePlan): string {
  const text = (address: IpAddress | undefined) => (address ? formatAddress(address) : "");
  return JSON.stringify([
    plan.world,
    [plan.router4, plan.router6, plan.masquerade4, plan.masquerade6, ...plan.ownAddresses].map(text),
    [plan.podCidr4, plan.podCidr6].map((p) => `${formatAddress(p)}/${p.length}`),
    plan.warnings,
  ]);
}
