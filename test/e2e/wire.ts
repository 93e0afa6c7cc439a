/**
 * A tap on a device of some namespace: puts frames on it as they are, and keeps what arrives. What workloads with raw sockets
 * can do, and what they get to see.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

// Node has no packet sockets; Python brings them everywhere. Lines of hexadecimal digits, both ways.
const program = `
import socket, sys, threading
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
s.bind((sys.argv[1], 0))
def receive():
    while True:
        try:
            frame, (_, _, kind, _, _) = s.recvfrom(65535)
        except OSError:
            return
        if kind != socket.PACKET_OUTGOING:
            sys.stdout.write(frame.hex() + "\\n")
            sys.stdout.flush()
threading.Thread(target=receive, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    try:
        s.send(bytes.fromhex(line))
    except OSError as error:
        print("error " + str(error), file=sys.stderr, flush=True)
`;

/** An open tap. */
export interface Wire {
  send(...frames: readonly Uint8Array[]): void;
  /** Frames that have arrived since the last call. */
  take(): Buffer[];
  close(): void;
}

/** Opens a tap on a device; `netns` is a name under /run/netns. */
export function openWire(netns: string, device = "eth0"): Promise<Wire> {
  const child: ChildProcess = spawn("nsenter", [`--net=/run/netns/${netns}`, "python3", "-c", program, device], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let frames: Buffer[] = [];
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the tap on ${device} of ${netns} ended with ${code}`)));
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (line !== "ready") frames.push(Buffer.from(line, "hex"));
      else
        resolve({
          send(...sent) {
            for (const frame of sent) child.stdin!.write(`${Buffer.from(frame).toString("hex")}\n`);
          },
          take() {
            const taken = frames;
            frames = [];
            return taken;
          },
          close: () => void child.kill("SIGKILL"),
        });
    });
  });
}
