/** What the node's network namespace holds, seen through netlink, as the node's plan wants it. */
import { routerAddress } from "#control/endpoint";
import { type NodeObservation, type NodePlan, planNode } from "#control/node";
import { type IpAddress, parsePrefix, prefixContains } from "#core/model";
import type { Kernel } from "#datapath/linux";
import type { AgentOptions } from "./options.ts";

/** Never reach beyond their link. */
const narrow = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"].map((text) => parsePrefix(text)!);

/** Looks once. */
export function observeNode(kernel: Kernel, options: AgentOptions): NodePlan {
  const netlink = kernel.netlink();
  try {
    const seen: NodeObservation = {
      links: netlink.links().map(({ index, name }) => ({ ifindex: index, name })),
      addresses: netlink.addresses().map((one) => ({ ...one, global: isGlobal(one.address) })),
      defaultRoutes: ([4, 6] as const).flatMap((family) =>
        netlink
          .routes(family)
          .filter((route) => route.destination.length === 0)
          // The kernel lists routes to one destination in the order in which it prefers them.
          .map((route, metric) => ({ family, ifindex: route.ifindex, metric })),
      ),
    };
    const { podCidr4, podCidr6, worldDevice, masquerade } = options;
    return planNode(
      seen,
      { podCidr4, podCidr6, masquerade, ...(worldDevice !== undefined && { worldDevice }) },
      { router4: routerAddress(podCidr4), router6: routerAddress(podCidr6) },
    );
  } finally {
    netlink.close();
  }
}

function isGlobal(address: IpAddress): boolean {
  return !narrow.some((prefix) => prefixContains(prefix, address));
}
