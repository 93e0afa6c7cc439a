/**
 * For tests that fill the kernel's maps without an agent: the agent's own conversion.
 * @module
 */
export { kernelPolicy } from "./kernel-policy.ts";
export { createRequestJudges } from "./request-judges.ts";
