/**
 * May this request pass? Holds what the agent has told (policy sets, endpoints, ipcache) and judges requests by it. Pure: no sockets, no clock.
 *
 * Patterns are RE2 and match the whole value; the path includes the query. A target that servers may resolve to another
 * path must be allowed both as written and as resolved (see `judgedTargets` of #proxy/http). CONNECT passes only a rule that
 * names the method, an upgrade to a protocol that carries HTTP again (h2c, TLS) only an allow without HTTP rules.
 * @module
 */
export { ConnectionPolicy, type Denial, type KnownPeer, type Permit } from "./judge.ts";
export { checkRegex, compilePattern, type Pattern } from "./pattern.ts";
export { type PolicySession, type PolicySizes, PolicyStore } from "./store.ts";
export { judgeRequest } from "./workbench-judge.ts";
