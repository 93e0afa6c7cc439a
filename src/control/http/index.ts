/**
 * HTTP rules as the kernel judges requests by them: regular expressions -> one automaton for all rules of a port -> a program's
 * bytes. What can't be told exactly as the proxy does is refused with the reason. Pure.
 * @module
 */
export { type Compiled, compileRules, type RequestRule } from "./program.ts";
