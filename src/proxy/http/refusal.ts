/** Why a head or a body was refused: the closed list of reasons, with the status that answers each. */

/** Reasons for which a message is not forwarded, because two readers could understand it differently or it is too large. */
export const refusals = {
  "bad-method": { status: 400, text: "the method is not a token of at most 32 characters" },
  "bad-target": { status: 400, text: "the request target holds a character that is not allowed there" },
  "bad-percent-encoding": {
    status: 400,
    text: "the path holds a percent sign that encodes nothing, or an overlong UTF-8 form",
  },
  "absolute-form": {
    status: 400,
    text: "the request target must start with a slash: absolute form is for forward proxies",
  },
  "bad-version": { status: 400, text: "the version is neither HTTP/1.1 nor HTTP/1.0" },
  "bad-request-line": { status: 400, text: "the request line is not METHOD SP TARGET SP VERSION CRLF" },
  "bad-status-line": { status: 400, text: "the status line is not HTTP/1.x SP NNN [SP REASON] CRLF" },
  "http2-preface": { status: 400, text: "HTTP/2 with prior knowledge is not spoken here" },
  "tls-client-hello": { status: 0, text: "TLS where HTTP was expected" },
  "bare-lf": { status: 400, text: "a line ends in LF without CR" },
  "bare-cr": { status: 400, text: "CR without LF" },
  "control-character": { status: 400, text: "a control character in a header" },
  "obs-fold": { status: 400, text: "a header line starts with white space" },
  "bad-header-name": { status: 400, text: "a header name is empty or holds a character that is not allowed there" },
  "space-before-colon": { status: 400, text: "white space between header name and colon" },
  "ambiguous-header-name": { status: 400, text: "a header name that some servers take for a framing header" },
  "ambiguous-white-space": { status: 400, text: "unusual white space around the value of a framing header" },
  "missing-host": { status: 400, text: "HTTP/1.1 needs a Host header" },
  "duplicate-host": { status: 400, text: "more than one Host header" },
  "bad-host": { status: 400, text: "the Host header is not host[:port]" },
  "bad-content-length": { status: 400, text: "Content-Length is not a plain decimal number" },
  "duplicate-content-length": { status: 400, text: "more than one Content-Length" },
  "length-and-chunked": { status: 400, text: "both Content-Length and Transfer-Encoding" },
  "bad-transfer-encoding": { status: 400, text: "Transfer-Encoding is not exactly 'chunked', once" },
  "transfer-encoding-in-1.0": { status: 400, text: "Transfer-Encoding in HTTP/1.0" },
  "bad-connection": { status: 400, text: "Connection is not a list of tokens, or names a framing header" },
  "bad-upgrade": { status: 400, text: "an upgrade in HTTP/1.0, without its Upgrade header, or with a body" },
  "bad-expect": { status: 417, text: "an expectation other than 100-continue" },
  "bad-chunk": { status: 400, text: "the chunked body is malformed" },
  "bad-trailer": { status: 400, text: "a trailer that would change the framing" },
  "target-too-long": { status: 414, text: "the request target is longer than 16 KiB" },
  "head-too-large": { status: 431, text: "the head is longer than 64 KiB" },
  "too-many-headers": { status: 431, text: "more than 256 headers" },
  "unexpected-status": { status: 502, text: "the response has a status that this request cannot be answered with" },
} as const satisfies Record<string, { status: number; text: string }>;

/** The reason, as a stable word. */
export type Refusal = keyof typeof refusals;
