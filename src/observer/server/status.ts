/** How full the observer's buffer is, and how fast it fills. */

/** The observer's numbers. */
export interface ObserverStatus {
  /** In the buffer. */
  readonly flows: number;
  readonly capacity: number;
  /** Since the start. */
  readonly flowsSeen: number;
  /** A second, over the last minute or the buffer, whichever is shorter. */
  readonly flowsPerSecond: number;
  readonly uptimeNs: bigint;
}
