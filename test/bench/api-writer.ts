/**
 * Writes objects through the API server of a node, from inside the node's network namespace: the API listens on loopback there.
 * One order per line on stdin, one answer per line on stdout; started by `startApiWriter`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { createKubeClient, type Kind, type KubeObject } from "#contracts/kube";

/** What is to be done with objects; many are written side by side. */
interface Order {
  readonly op: "create" | "update" | "delete";
  readonly objects: readonly KubeObject[];
}

/** When the first request was handed to the client and when the last answer was there: nanoseconds of the monotonic clock. */
export interface Written {
  readonly sentNs: number;
  readonly answeredNs: number;
}

/** A process that writes objects. */
export interface ApiWriter {
  write(op: Order["op"], ...objects: readonly KubeObject[]): Promise<Written>;
  close(): void;
}

const root = join(import.meta.dirname, "../..");
const sideBySide = 8;

/** Starts a writer in a network namespace. */
export async function startApiWriter(netns: string, kubeconfig: string): Promise<ApiWriter> {
  const command = [`--net=/run/netns/${netns}`, join(root, "tools/node"), import.meta.filename, kubeconfig];
  const child: ChildProcess = spawn("nsenter", command, { stdio: ["pipe", "pipe", "inherit"] });
  const lines: Interface = createInterface({ input: child.stdout! });
  await once(lines, "line");
  return {
    async write(op, ...objects) {
      child.stdin!.write(`${JSON.stringify({ op, objects } satisfies Order)}\n`);
      const answer = JSON.parse(String((await once(lines, "line"))[0])) as Written & { readonly error?: string };
      if (answer.error !== undefined) throw new Error(`the API server did not take it: ${answer.error}`);
      return answer;
    },
    close() {
      child.stdin!.end();
      child.kill("SIGKILL");
    },
  };
}

if (import.meta.main) {
  const client = await createKubeClient({ kubeconfig: process.argv[2] ?? "" });
  // The connection stands before anything is measured.
  await client.ready();
  const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const one = async (op: Order["op"], object: KubeObject): Promise<unknown> => {
    const kind = object.kind as Kind;
    const { name = "", namespace } = object.metadata;
    if (op === "delete") return client.delete(kind, { name, ...(namespace !== undefined && { namespace }) });
    return op === "create" ? client.create(kind, object) : client.update(kind, object);
  };
  const lines = createInterface({ input: process.stdin });
  say({ ready: true });
  for await (const line of lines) {
    const { op, objects } = JSON.parse(line) as Order;
    const sentNs = Number(process.hrtime.bigint());
    try {
      const left = [...objects];
      const work = async () => {
        for (let object = left.shift(); object; object = left.shift()) await one(op, object);
      };
      await Promise.all(Array.from({ length: Math.min(sideBySide, objects.length) }, work));
      say({ sentNs, answeredNs: Number(process.hrtime.bigint()) });
    } catch (error) {
      say({ error: error instanceof Error ? error.message : String(error) });
    }
  }
  process.exit(0);
}
