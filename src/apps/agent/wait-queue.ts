/** Waiting for a condition that some part of the agent makes true. */

/** Conditions that are looked at again on each {@link WaitQueue.notify}. */
export interface WaitQueue {
  /** Resolves true when the condition holds, false when the time is over. */
  until(condition: () => boolean, timeoutMs: number): Promise<boolean>;
  /** Something changed. */
  notify(): void;
}

/** An empty queue. */
export function createWaitQueue(): WaitQueue {
  const waiting = new Set<() => void>();
  return {
    until(condition, timeoutMs) {
      if (condition()) return Promise.resolve(true);
      return new Promise((resolve) => {
        const end = (result: boolean) => {
          waiting.delete(look);
          clearTimeout(timer);
          resolve(result);
        };
        const look = () => {
          if (condition()) end(true);
        };
        const timer = setTimeout(() => end(condition()), timeoutMs);
        waiting.add(look);
      });
    },
    notify() {
      for (const look of [...waiting]) look();
    },
  };
}
