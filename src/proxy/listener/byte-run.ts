/** Adjacent slices of one buffer as one write: what passes unchanged is passed in as few system calls as it came. */
import type { Socket } from "node:net";

const nothing = Buffer.alloc(0);

export class ByteRun {
  #bytes: Buffer = nothing;
  #from = 0;
  #to = 0;

  /** Adds `bytes[from .. to)`, writing out what it doesn't continue. */
  add(socket: Socket, bytes: Buffer, from: number, to: number): void {
    if (bytes === this.#bytes && from === this.#to) {
      this.#to = to;
      return;
    }
    this.flush(socket);
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
  }

  /** Writes out what was added. */
  flush(socket: Socket): void {
    const bytes = this.#bytes;
    if (this.#to > this.#from)
      socket.write(this.#from === 0 && this.#to === bytes.length ? bytes : bytes.subarray(this.#from, this.#to));
    this.#bytes = nothing;
    this.#from = 0;
    this.#to = 0;
  }
}
