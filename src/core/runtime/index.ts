/**
 * What every program is built from: watchable tables, reconcilers, errors, time, paths, logs. Knows nothing of networks.
 * @module
 */
export { builtinHttp } from "./builtin-http.ts";
export { type Clock, systemClock, type Timer } from "./clock.ts";
export { type ErrorDetails, errorCode, errorMessage, TsiliumError } from "./errors.ts";
export { returnIdleMemory } from "./idle-memory.ts";
export { createLogger, type Logger } from "./log.ts";
export { type InstancePaths, instancePaths } from "./paths.ts";
export { proseColumns, wrapProse } from "./prose.ts";
export { type Backoff, createReconciler, type Operations, type Reconciler, type RowStatus } from "./reconciler.ts";
export { type Change, type ReadableTable, Table } from "./table.ts";
