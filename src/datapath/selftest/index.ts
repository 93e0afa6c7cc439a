/**
 * Proofs, on the running kernel, of what is too intricate to be taken for granted: the programs in namespaces of their own, with
 * real sockets at both ends. Nothing of the node is touched.
 * @module
 */
export { type HttpSelfTest, testKernelHttp } from "./http.ts";
