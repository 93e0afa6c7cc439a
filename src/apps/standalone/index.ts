/**
 * One node in one terminal: the supervisor behind `tsilium up`.
 * @module
 */
export { type UpFlags, up } from "./up.ts";
