/** The two ends of a latency measurement: a server that answers at once, and a client that asks in a closed loop. One process each. */
import { connect, createServer, type Socket } from "node:net";
import { TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";

/** What a client saw. Times in microseconds. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  /** By percentile, as text: `50`, `99.9`. */
  readonly latencyUs: Readonly<Record<string, number>>;
}

/** The percentiles that are told, in order. */
export const percentiles = ["50", "75", "90", "99", "99.9"] as const;

const answer = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nok\n");
/** Beyond, one second would not hold more. */
const samplesMax = 4_000_000;

/** Answers every request on the port with 200, until it is ended. Resolves never. */
export function serve(port: number): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    let waiting = "";
    socket.on("data", (data) => {
      waiting += data.toString("latin1");
      for (let end = waiting.indexOf("\r\n\r\n"); end >= 0; end = waiting.indexOf("\r\n\r\n")) {
        waiting = waiting.slice(end + 4);
        socket.write(answer);
      }
    });
    // A client that went away is no failure of the server.
    socket.on("error", () => socket.destroy());
  });
  return new Promise((_, reject) => {
    server.once("error", reject);
    server.listen(port, "::", () => process.stdout.write("ready\n"));
  });
}

/** Asks `http://HOST:PORT/PATH` over so many connections for so long, and prints the result as JSON. Throws BENCH_FAILED if an answer is not 200. */
export async function load(url: string, connections: number, seconds: number): Promise<number> {
  print(JSON.stringify(await ask(url, connections, seconds)));
  return ExitCode.ok;
}

async function ask(url: string, connections: number, seconds: number): Promise<LoadResult> {
  const { hostname, port, pathname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const request = Buffer.from(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  const samples = new Float64Array(samplesMax);
  let count = 0;
  const endMs = performance.now() + seconds * 1000;
  const oneConnection = () =>
    new Promise<void>((done, reject) => {
      const socket: Socket = connect({ host, port: Number(port), noDelay: true });
      const fail = (why: string) => {
        socket.destroy();
        reject(new TsiliumError("BENCH_FAILED", `${url}: ${why}`));
      };
      let size = 0;
      let received = 0;
      let sentMs = 0;
      const send = () => {
        received = 0;
        sentMs = performance.now();
        socket.write(request);
      };
      socket.setTimeout(5000, () => fail("no answer within 5 s"));
      socket.once("connect", send);
      socket.once("error", (error) => fail(error.message));
      socket.on("data", (data) => {
        if (received === 0 && data.toString("latin1", 9, 12) !== "200")
          return fail(`answered ${data.toString("latin1", 0, 40)}`);
        // All answers are alike: the first one tells how long they are.
        if (size === 0) size = sizeOf(data);
        received += data.length;
        if (size === 0 || received < size) return;
        const nowMs = performance.now();
        if (count < samplesMax) samples[count++] = (nowMs - sentMs) * 1000;
        if (nowMs < endMs) return send();
        socket.destroy();
        done();
      });
      socket.once("close", () => performance.now() < endMs && fail("the connection was closed"));
    });
  await Promise.all(Array.from({ length: connections }, oneConnection));
  const sorted = samples.subarray(0, count).sort();
  return {
    requestsPerSecond: Math.round(count / seconds),
    latencyUs: Object.fromEntries(
      percentiles.map((name) => [
        name,
        Math.round(10 * sorted[Math.min(count - 1, Math.floor((count * Number(name)) / 100))]!) / 10,
      ]),
    ),
  };
}

/** Of a whole answer with a Content-Length whose head came in one piece; 0 otherwise. */
function sizeOf(data: Buffer): number {
  const text = data.toString("latin1");
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
  const end = text.indexOf("\r\n\r\n");
  return length === undefined || end < 0 ? 0 : end + 4 + Number(length);
}
