/**
 * The third oracle of the case files: one node, a workload per endpoint, real sockets, and what the observer tells of them.
 * Addresses and identities of workloads are the node's own; the world's addresses are the cases'.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseAllDocuments, stringify as toYaml } from "yaml";
import { type Flow, type GetFlowsResponse, openObserverClient } from "#contracts/hubble";
import type { KubeObject } from "#contracts/kube";
import { podLabelKeys } from "#control/identity";
import { formatAddress, formatLabels, protocolName, protocolNumbers } from "#core/model";
import type { CaseEndpoint, CaseFile, CaseFlow, CaseParty } from "../cases/case-file.ts";
import { type Peer, TestNode, type TestWorkload } from "./node.ts";

/** How long a connection may take that must come about, how long one is given that must not, and how long labels take. */
const patience = { allowedMs: 3000, deniedMs: 300, identityMs: 5000 } as const;

/** Apart from all addresses of the case files. */
const addresses = { node4: "100.64.0.1", node6: "fd64::1", world4: "100.64.0.2", world6: "fd64::2" } as const;

/** A case that is set: its endpoints, servers and policies are there. */
export interface Scene {
  readonly file: CaseFile;
  readonly workloads: ReadonlyMap<string, TestWorkload>;
}

/** What became of a flow. */
export interface Performance {
  /** `connected`, `answered`, the status of an HTTP answer, or an error: `timeout`... */
  readonly outcome: string;
  /** What the observer has told so far of the flow's own packets and requests, in order; answers are left out. */
  observed(): readonly Flow[];
}

/** A running node that plays cases, one after the other. */
export class CaseStage {
  readonly #node: TestNode;
  readonly #host: Peer;
  readonly #world: Peer;
  readonly #workloads = new Map<string, Promise<TestWorkload>>();
  /** Labels of each namespace as JSON. */
  readonly #namespaceLabels = new Map<string, string>();
  /** By process, protocol and port. */
  readonly #servers = new Map<string, Promise<unknown>>();
  #flows: Flow[] = [];
  #endObserving: () => void = () => undefined;
  #lastPort = 20_000;

  private constructor(node: TestNode, host: Peer, world: Peer) {
    this.#node = node;
    this.#host = host;
    this.#world = world;
  }

  /** Starts the node. The host behind its device gets all addresses of the world that the cases name. */
  static async open(cases: readonly CaseFile[], ...agentArgs: string[]): Promise<CaseStage> {
    const node = await TestNode.start(addresses, ...agentArgs);
    const ip = (...args: string[]) => execFileSync("ip", ["-n", node.worldNetns, ...args]);
    const parties = cases.flatMap(({ flows }) => flows.flatMap(({ from, to }) => [from, to]));
    const named = parties.flatMap((party) => (party.kind === "address" ? [formatAddress(party.address)] : []));
    for (const address of new Set(named))
      ip("addr", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : []));
    ip("route", "add", "10.217.0.0/24", "via", addresses.node4);
    ip("route", "add", "fd10:217::/112", "via", addresses.node6);
    const stage = new CaseStage(node, ...(await Promise.all([node.peer("node"), node.peer("world")])));
    await stage.#observe();
    return stage;
  }

  async #observe(): Promise<void> {
    const client = await openObserverClient(this.#node.paths.hubbleSocket);
    const stream = client.getFlows({ follow: true });
    stream.on("data", ({ response_types: response }: GetFlowsResponse) => {
      if (response?.$case === "flow") this.#flows.push(response.value);
    });
    // Cancelling is an error to the stream; one that breaks shows in the flows that are missing.
    stream.on("error", () => undefined);
    this.#endObserving = () => {
      stream.cancel();
      client.close();
    };
  }

  /** Brings a case about. Workloads of former cases stay, silently. */
  async set(file: CaseFile): Promise<Scene> {
    await this.#namespaces(file);
    const started = file.endpoints.map(async (one) => [one.name, await this.#workload(one)] as const);
    const scene = { file, workloads: new Map(await Promise.all(started)) };
    await Promise.all([this.#identified(scene), ...file.flows.map((flow) => this.#serve(scene, flow))]);
    if (file.policy.trim() !== "") await this.#node.apply(file.policy);
    this.#flows = [];
    return scene;
  }

  /** Removes a case's policies, as far as they came to be. */
  async clear(file: CaseFile): Promise<void> {
    for (const document of parseAllDocuments(file.policy)) {
      const object = document.toJS() as KubeObject | null;
      if (object) await this.#node.delete(object.kind!, object.metadata.name!, object.metadata.namespace);
    }
  }

  /** Sends what the flow says, from a port of its own. */
  async perform(scene: Scene, flow: CaseFlow, isAllowed: boolean): Promise<Performance> {
    const port = ++this.#lastPort;
    const host = this.#addressOf(scene, flow.to, flow.family);
    const timeoutMs = isAllowed ? patience.allowedMs : patience.deniedMs;
    const flows = this.#flows;
    if (isIcmp(flow)) {
      const from = this.#addressOf(scene, flow.from, flow.family);
      const isOf = ({ IP, l4 }: Flow) => IP?.source === from && IP.destination === host && icmpTypeOf(l4) === flow.port;
      return {
        outcome: await this.#sendIcmp(scene, flow, host, port, timeoutMs),
        observed: () => flows.filter(isOf),
      };
    }

    const source = { port, ...(flow.from.kind === "address" && { address: formatAddress(flow.from.address) }) };
    const to = { host, port: flow.port, source, timeoutMs };
    const peer = this.#peerOf(scene, flow.from);
    const send = async () => {
      if (flow.protocol === protocolNumbers.UDP) {
        const { error } = await peer.tell({ op: "udp", ...to, text: "datagram" });
        return error ?? "answered";
      }
      const { error, text = "" } = await peer.tell({ op: "exchange", ...to, text: requestText(flow) });
      return error ?? (flow.request.kind === "http" ? (text.split(" ")[1] ?? text) : "connected");
    };
    return {
      outcome: await send(),
      observed: () => flows.filter((seen) => seen.IP?.destination === host && sourcePortOf(seen) === port),
    };
  }

  async close(): Promise<readonly string[]> {
    this.#endObserving();
    return this.#node.close();
  }

  #workload(endpoint: CaseEndpoint): Promise<TestWorkload> {
    const { name, namespace, account, podLabels, namedPorts } = endpoint;
    const key = JSON.stringify([namespace, account, podLabels, namedPorts]);
    const known = this.#workloads.get(key);
    if (known) return known;
    const workload = this.#start(`${name}-${this.#workloads.size + 1}`, endpoint);
    this.#workloads.set(key, workload);
    return workload;
  }

  async #start(name: string, endpoint: CaseEndpoint): Promise<TestWorkload> {
    const { namespace, account, podLabels, namedPorts } = endpoint;
    const more = { namespace, ...(account !== undefined && { serviceAccount: account }) };
    const workload = await this.#node.workload(name, podLabels, more);
    if (namedPorts.length === 0) return workload;
    const ports = namedPorts.map((one) => ({
      name: one.name,
      protocol: protocolName(one.protocol),
      containerPort: one.port,
    }));
    const containers = [{ name: "workload", image: "host", ports }];
    const metadata = { name, namespace, labels: podLabels };
    await this.#node.apply(toYaml({ apiVersion: "v1", kind: "Pod", metadata, spec: { containers } }));
    return workload;
  }

  /** Gives the case's namespaces their labels. */
  async #namespaces(file: CaseFile): Promise<void> {
    for (const { namespace: name, namespaceLabels: labels } of file.endpoints) {
      const text = JSON.stringify(labels);
      if ((this.#namespaceLabels.get(name) ?? (name === "default" ? "{}" : "")) === text) continue;
      this.#namespaceLabels.set(name, text);
      await this.#node.apply(toYaml({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }));
    }
  }

  /** Labels of a namespace or a pod change the identity a moment later than they were written. */
  async #identified({ file, workloads }: Scene): Promise<void> {
    const isSettled = async (): Promise<boolean> => {
      const [endpoints, identities] = await Promise.all([
        this.#node.client.endpoints(),
        this.#node.client.identities(),
      ]);
      return file.endpoints.every(({ name, labels }) => {
        const endpoint = endpoints.find(({ id }) => id === workloads.get(name)!.workload.id);
        const found = identities.find(({ id }) => id === endpoint?.identity)?.labels ?? [];
        return isSameIdentity(formatLabels(labels), found);
      });
    };
    for (const end = performance.now() + patience.identityMs; !(await isSettled()); await sleep(20))
      if (performance.now() > end) throw new Error("the workloads did not get their identities");
    await this.#node.waitEnforced();
  }

  /** Somebody has to listen where a flow goes, or a connection that is let through would come to nothing. */
  async #serve(scene: Scene, { to, protocol, port, family }: CaseFlow): Promise<void> {
    if (protocol !== protocolNumbers.TCP && protocol !== protocolNumbers.UDP) return;
    const peer = this.#peerOf(scene, to);
    const isUdp = protocol === protocolNumbers.UDP;
    // The world has many addresses: an answer must come from the one that was asked.
    const host = isUdp && to.kind === "address" ? this.#addressOf(scene, to, family) : "::";
    const key = `${peer.pid} ${protocol} ${host} ${port}`;
    let server = this.#servers.get(key);
    if (!server) {
      server = peer.tell(isUdp ? { op: "serve-udp", port, host } : { op: "serve-http", port });
      this.#servers.set(key, server);
    }
    const { error } = (await server) as { error?: string };
    if (error !== undefined) throw new Error(`nobody serves port ${port}: ${error}`);
  }

  #peerOf({ workloads }: Scene, party: CaseParty): Peer {
    switch (party.kind) {
      case "endpoint":
        return workloads.get(party.name)!;
      case "host":
        return this.#host;
      case "address":
        return this.#world;
    }
  }

  #addressOf({ workloads }: Scene, party: CaseParty, family: 4 | 6): string {
    switch (party.kind) {
      case "endpoint":
        return workloads.get(party.name)![family === 4 ? "ipv4" : "ipv6"];
      case "host":
        return family === 4 ? addresses.node4 : addresses.node6;
      case "address":
        return formatAddress(party.address);
    }
  }

  /** A message of any type, for which Node has no sockets. */
  async #sendIcmp(scene: Scene, flow: CaseFlow, host: string, id: number, timeoutMs: number): Promise<string> {
    const { pid } = this.#peerOf(scene, flow.from);
    const args = [host, flow.port, id, timeoutMs / 1000].map(String);
    const child = spawn("nsenter", [`--net=/proc/${pid}/ns/net`, "python3", "-c", icmpSender, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [chunks] = await Promise.all([child.stdout.toArray(), once(child, "exit")]);
    return Buffer.concat(chunks).toString().trim();
  }
}

const icmpSender = `
import socket, struct, sys, time
host, kind, number, timeout = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
v6 = ":" in host
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 58 if v6 else 1)
message = struct.pack("!BBHHH", kind, 0, 0, number, 1) + bytes(12)
if not v6:
    total = sum(struct.unpack("!10H", message))
    total = (total & 0xffff) + (total >> 16)
    message = message[:2] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + message[4:]
s.sendto(message, (host, 0))
end = time.monotonic() + timeout
while True:
    left = end - time.monotonic()
    if left <= 0:
        print("timeout")
        break
    s.settimeout(left)
    try:
        got, _ = s.recvfrom(2048)
    except socket.timeout:
        continue
    header = got if v6 else got[(got[0] & 15) * 4:]
    if header[0] == (129 if v6 else 0) and header[4:6] == message[4:6]:
        print("answered")
        break
`;

/** What a case does not speak of: service accounts that it leaves out, and the name that every namespace has as a label. */
const unspoken = new RegExp(
  `^k8s:(${podLabelKeys.serviceAccount}|${podLabelKeys.namespaceLabels}\\.kubernetes\\.io/.*)=`,
);

function isSameIdentity(wanted: readonly string[], found: readonly string[]): boolean {
  const spoken = found.filter((label) => wanted.includes(label) || !unspoken.test(label));
  return wanted.length === spoken.length && wanted.every((label) => spoken.includes(label));
}

function isIcmp({ protocol }: CaseFlow): boolean {
  return protocol === protocolNumbers.ICMP || protocol === protocolNumbers.ICMPV6;
}

function requestText({ request }: CaseFlow): string {
  if (request.kind === "packet") return "";
  const { method, target, host, headers } = request;
  const lines = [...headers].filter(([name]) => name !== "host").map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${target} HTTP/1.1`, `Host: ${host}`, "Content-Length: 0", ...lines, "", ""].join("\r\n");
}

function sourcePortOf({ l4 }: Flow): number | undefined {
  const protocol = l4?.protocol;
  return protocol?.$case === "TCP" || protocol?.$case === "UDP" ? protocol.value.source_port : undefined;
}

function icmpTypeOf(l4: Flow["l4"]): number | undefined {
  const protocol = l4?.protocol;
  return protocol?.$case === "ICMPv4" || protocol?.$case === "ICMPv6" ? (protocol.value.type ?? 0) : undefined;
}
