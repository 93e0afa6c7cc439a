/**
 * For tests: a naive evaluator to hold the engine against, and random worlds to do it in.
 * @module
 */
export { judgeNaively, type NaiveFlow } from "./naive.ts";
export { Random, type RandomWorld, randomFlow, randomWorld } from "./random-world.ts";
