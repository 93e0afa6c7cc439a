/**
 * HTTP/1.1 as a firewall has to read it: streaming, over bytes, strict. Whatever two readers could understand differently is
 * refused, so that what was judged is what the server sees (RFC 9110, RFC 9112). Knows no sockets and no policy.
 *
 * Stricter than the RFC on purpose: no bare LF, no obs-fold, no empty line before a request, one Host of ordinary characters, `chunked` in lower
 * case as the only transfer coding and never beside Content-Length, no white space but one leading space in framing headers, no bytes above 127
 * and no fragment in targets, valid percent-encodings in paths, no absolute form.
 * @module
 */
export { BodyReader } from "./body-reader.ts";
export type { Framing } from "./fields.ts";
export { HeadReader, headLimits } from "./head-reader.ts";
export { judgedTargets } from "./paths.ts";
export { type Refusal, refusals } from "./refusal.ts";
export { parseRequestHead, type RequestHead } from "./request-head.ts";
export { parseResponseHead, type ResponseContext, type ResponseHead } from "./response-head.ts";
