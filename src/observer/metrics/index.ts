/**
 * Counters over all flows, in Hubble's names. Counting is a few array increments per event; the Prometheus library is
 * loaded by the first scrape.
 * @module
 */
export { createFlowMetrics, type FlowMetrics, type LostSource } from "./metrics.ts";
