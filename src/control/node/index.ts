/**
 * This node: its addresses, its pod CIDRs, its device towards the world. Pure.
 * @module
 */
export { type NodeObservation, type NodePlan, type NodeSettings, planNode, sameNodePlan } from "./node.ts";
