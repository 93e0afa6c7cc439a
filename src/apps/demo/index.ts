/**
 * The story on the terminal behind `npm run demo`.
 * @module
 */
export { type DemoFlags, demo } from "./demo.ts";
