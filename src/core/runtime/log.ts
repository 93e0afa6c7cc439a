/** Logging: one JSON line per entry, constant message, values as fields. Per-packet facts are flows, not log lines. */
import { createRequire } from "node:module";
import type { pino as Pino } from "pino";

/** What modules log through. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A logger to stderr for one component; the level comes from TSILIUM_LOG_LEVEL (debug, info, warn, error; default info). */
export function createLogger(component: string): Logger {
  // Loaded by the first logger: a short-lived command that logs nothing would spend a tenth of its time on it.
  const { pino } = createRequire(import.meta.url)("pino") as { pino: typeof Pino };
  return pino(
    {
      base: { component },
      level: process.env.TSILIUM_LOG_LEVEL ?? "info",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: the last line before an exit is the one that is needed.
    pino.destination({ dest: 2, sync: true }),
  );
}
