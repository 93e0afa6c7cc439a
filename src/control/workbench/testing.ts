/**
 * For tests: small worlds, and random ones.
 * @module
 */
import { Random, randomWorld } from "#control/policy/testing";
import type { RequestJudge } from "./connection.ts";
import type { WorldObject } from "./world.ts";

/** A pod with labels, and ports as `name:80/TCP` or `80`. */
export function pod(name: string, labels: Readonly<Record<string, string>>, ...ports: readonly string[]): WorldObject {
  const [own = "", namespace = "default"] = name.split("/").reverse();
  const read = (text: string) => {
    const match = /^(?:([a-z]+):)?(\d+)(?:\/([A-Z]+))?$/.exec(text)!;
    return {
      ...(match[1] === undefined ? {} : { name: match[1] }),
      containerPort: Number(match[2]),
      protocol: match[3] ?? "TCP",
    };
  };
  const containers = [{ name: "c", ports: ports.map(read) }];
  return {
    object: { apiVersion: "v1", kind: "Pod", metadata: { name: own, namespace, labels }, spec: { containers } },
  };
}

/** A CiliumNetworkPolicy; its fields stand at `NAME.yaml PATH`. */
export function policy(name: string, spec: object): WorldObject {
  const [own = "", namespace = "default"] = name.split("/").reverse();
  const object = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: own, namespace }, spec };
  return { object, locate: (path) => `${own}.yaml ${path}` };
}

/** Pods and policies over small alphabets, so that they meet. Equal seeds, equal worlds. */
export function randomObjects(seed: number): WorldObject[] {
  const random = new Random(seed);
  const { objects } = randomWorld(random);
  const pods = random.list(2, 6, (i) =>
    pod(
      `${random.pick(["default", "shop"])}/p${i}`,
      {
        app: random.pick(["web", "db", "cache"]),
        ...(random.chance(60) ? { env: random.pick(["prod", "test"]) } : {}),
      },
      ...(random.chance(70) ? [`web:${random.pick([53, 80, 443, 8080])}/TCP`] : []),
    ),
  );
  return [...pods, ...objects.map((object) => ({ object }))];
}

/** Lets every request pass: for tests that are about connections. */
export const admitRequests: RequestJudge = () => ({ allowed: true, rules: [] });
