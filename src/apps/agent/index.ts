/**
 * The agent of a node: sees objects through the API, enforces them in the kernel, answers on a local socket.
 * @module
 */
export { type AgentReady, cleanupNode, runAgent } from "./run.ts";
