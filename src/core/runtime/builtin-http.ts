/** Node's HTTP module without what it brings along. */

/**
 * `node:http`. An `import` of it reads every name that it exports, and that loads undici: 14 MB of resident memory in every
 * program, and 25 ms of `tsilium run`. Asked for as a whole, it loads only itself.
 */
export function builtinHttp(): typeof import("node:http") {
  return process.getBuiltinModule("node:http");
}
