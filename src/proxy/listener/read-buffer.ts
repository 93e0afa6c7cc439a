/** Where a socket's bytes land. Without this Node allocates 64 KiB for every read, and the collector gets to clean up behind it. */
import type { OnReadOpts } from "node:net";

const smallBytes = 4 * 1024;
const largeBytes = 64 * 1024;

/**
 * Node's `onread`: one buffer, used again for the next read if nobody holds on to it any more. It starts small, as most
 * responses are; a read that fills it makes it large, and small again once reads are.
 */
export class ReadBuffer implements OnReadOpts {
  readonly buffer: () => Buffer;
  readonly callback: (bytesRead: number, into: Uint8Array) => boolean;

  /** `take` gets the bytes of each read; `released` says right behind it whether they have all been written out or copied. */
  constructor(take: (bytes: Buffer) => void, released: () => boolean) {
    let current: Buffer | undefined;
    let lastBytes = 0;
    this.buffer = () => {
      const wanted = current !== undefined && lastBytes >= smallBytes ? largeBytes : smallBytes;
      if (current === undefined || current.length !== wanted || !released()) current = Buffer.allocUnsafeSlow(wanted);
      return current;
    };
    this.callback = (bytesRead, into) => {
      lastBytes = bytesRead;
      take((into as Buffer).subarray(0, bytesRead));
      return true;
    };
  }
}
