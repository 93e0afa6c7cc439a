/**
 * For tests: what must be refused, and what must not, by whoever judges HTTP/1, the proxy or the kernel.
 * @module
 */

/** One request, or several in a row, from a client that knows no manners. Policy: anything at /public and below. */
export interface StrictnessRow {
  readonly name: string;
  readonly send: string;
  /** Statuses that the client gets, in order; none = closed without a word. */
  readonly statuses: readonly number[];
  /** What the server takes for requests. */
  readonly seen: readonly string[];
}

const H = "Host: a\r\n";
const good = `GET /public HTTP/1.1\r\n${H}\r\n`;
const bad = `GET /private HTTP/1.1\r\n${H}\r\n`;
const refused = (name: string, send: string, status = 400): StrictnessRow => ({
  name,
  send,
  statuses: [status],
  seen: [],
});
const allowed = (name: string, send: string, seen: string): StrictnessRow => ({
  name,
  send,
  statuses: [200],
  seen: [seen],
});
const deniedRow = (name: string, send: string): StrictnessRow => ({ name, send, statuses: [403], seen: [] });
const post = (headers: string, body = "") => `POST /public HTTP/1.1\r\n${H}${headers}\r\n${body}`;
const chunked = (body: string) => post("Transfer-Encoding: chunked\r\n", body);
const get = (target: string) => `GET ${target} HTTP/1.1\r\n${H}\r\n`;

/** Malformed and ambiguous requests, and some that only look so. The server forgives much. */
export const strictnessRows: readonly StrictnessRow[] = [
  // ---- what is right passes
  allowed("a plain request", good, "GET /public"),
  deniedRow("a plain request that policy denies", bad),
  allowed("a query is part of the path", get("/public/x?a=b"), "GET /public/x?a=b"),
  allowed("a body of known length", post("Content-Length: 5\r\n", "hello"), "POST /public"),
  allowed("a body that looks like a request", post(`Content-Length: ${bad.length}\r\n`, bad), "POST /public"),
  allowed("a chunked body", chunked("5\r\nhello\r\n0\r\n\r\n"), "POST /public"),
  allowed("chunk extensions", chunked('5;a=b;c="d;e"\r\nhello\r\n0;x\r\n\r\n'), "POST /public"),
  allowed("trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), "POST /public"),
  allowed(
    "a chunk that looks like a request",
    chunked(`${bad.length.toString(16)}\r\n${bad}\r\n0\r\n\r\n`),
    "POST /public",
  ),
  allowed("HTTP/1.0 without Host", "GET /public HTTP/1.0\r\n\r\n", "GET /public"),
  allowed("bytes above 127 in a value", `GET /public HTTP/1.1\r\n${H}X: \xff\xfe\r\n\r\n`, "GET /public"),
  allowed("an empty value", `GET /public HTTP/1.1\r\n${H}X:\r\n\r\n`, "GET /public"),
  { name: "two pipelined requests", send: good + good, statuses: [200, 200], seen: ["GET /public", "GET /public"] },
  {
    name: "denied between allowed, pipelined",
    send: good + bad + good,
    statuses: [200, 403, 200],
    seen: ["GET /public", "GET /public"],
  },
  { name: "denied first, then allowed", send: bad + good, statuses: [403, 200], seen: ["GET /public"] },
  {
    name: "a denied request's body is no request",
    send: `POST /private HTTP/1.1\r\n${H}Content-Length: ${good.length}\r\n\r\n${good}${good}`,
    statuses: [403, 200],
    seen: ["GET /public"],
  },
  {
    name: "a denied chunked body is no request",
    send: `POST /private HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n${good.length.toString(16)}\r\n${good}\r\n0\r\n\r\n${good}`,
    statuses: [403, 200],
    seen: ["GET /public"],
  },
  {
    name: "malformed behind good, pipelined",
    send: `${good}GET /public HTTP/1.1\nHost: a\n\n`,
    statuses: [200, 400],
    seen: ["GET /public"],
  },
  {
    name: "nothing is read behind Connection: close",
    send: `GET /public HTTP/1.1\r\n${H}Connection: close\r\n\r\n${good}`,
    statuses: [200],
    seen: ["GET /public"],
  },
  {
    name: "nothing is read behind HTTP/1.0",
    send: `GET /public HTTP/1.0\r\n\r\n${good}`,
    statuses: [200],
    seen: ["GET /public"],
  },

  // ---- framing
  refused(
    "Content-Length and Transfer-Encoding",
    post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${bad}`),
  ),
  refused(
    "Transfer-Encoding and Content-Length",
    post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `0\r\n\r\n${bad}`),
  ),
  refused("differing Content-Lengths", post("Content-Length: 0\r\nContent-Length: 40\r\n", bad)),
  refused("equal Content-Lengths", post("Content-Length: 2\r\nContent-Length: 2\r\n", "ok")),
  refused("a list of Content-Lengths", post("Content-Length: 2, 2\r\n", "ok")),
  refused("a signed Content-Length", post("Content-Length: +2\r\n", "ok")),
  refused("a negative Content-Length", post("Content-Length: -1\r\n", "")),
  refused("a hexadecimal Content-Length", post("Content-Length: 0x2\r\n", "ok")),
  refused("an octal-looking Content-Length", post("Content-Length: 010\r\n", "12345678")),
  refused("an empty Content-Length", post("Content-Length:\r\n")),
  refused("a Content-Length of words", post("Content-Length: two\r\n", "ok")),
  refused("a Content-Length with a space inside", post("Content-Length: 1 0\r\n", "0123456789")),
  refused("a Content-Length beyond 2^53", post("Content-Length: 99999999999999999\r\n")),
  refused("a Content-Length behind a tab", post("Content-Length:\t2\r\n", "ok")),
  refused("a Content-Length before a space", post("Content-Length: 2 \r\n", "ok")),
  refused("a Content_Length", post(`Content_Length: ${bad.length}\r\n`, bad)),
  refused("Transfer-Encoding: identity", post("Transfer-Encoding: identity\r\n")),
  refused("Transfer-Encoding: xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding: gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding: chunked, chunked", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding: chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding: Chunked", post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n")),
  refused(
    "Transfer-Encoding twice",
    post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
  ),
  refused("Transfer-Encoding behind a tab", post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding behind two spaces", post("Transfer-Encoding:  chunked\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding before a tab", post("Transfer-Encoding: chunked\t\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding in quotes", post('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n")),
  refused("an empty Transfer-Encoding", post("Transfer-Encoding:\r\n", "0\r\n\r\n")),
  refused("Transfer-Encoding with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
  refused("a Transfer_Encoding", post("Transfer_Encoding: chunked\r\n", `0\r\n\r\n${bad}`)),
  refused("Transfer-Encoding in HTTP/1.0", `POST /public HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
  refused("Connection names Content-Length", post("Connection: content-length\r\nContent-Length: 2\r\n", "ok")),
  refused("Connection names Host", `GET /public HTTP/1.1\r\n${H}Connection: host\r\n\r\n`),

  // ---- lines
  refused("bare LF everywhere", "GET /public HTTP/1.1\nHost: a\n\n"),
  refused("bare LF behind the request line", "GET /public HTTP/1.1\nHost: a\r\n\r\n"),
  refused("bare LF behind a header", "GET /public HTTP/1.1\r\nHost: a\n\r\n"),
  refused("bare LF as the empty line", "GET /public HTTP/1.1\r\nHost: a\r\n\n"),
  refused("bare CR behind the request line", `GET /public HTTP/1.1\rX: y\r\n${H}\r\n`),
  refused("bare CR in a value", `GET /public HTTP/1.1\r\nX: a\rTransfer-Encoding: chunked\r\n${H}\r\n`),
  refused("bare CR as the empty line", `GET /public HTTP/1.1\r\n${H}\rX`),
  refused("a folded header", `GET /public HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`),
  refused("a folded header with a tab", `GET /public HTTP/1.1\r\n${H}X: a\r\n\tb\r\n\r\n`),
  refused("a folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
  refused("white space before the first header", `GET /public HTTP/1.1\r\n X: y\r\n${H}\r\n`),
  refused("a space before the colon", `GET /public HTTP/1.1\r\n${H}X : y\r\n\r\n`),
  refused("a space before the colon of Content-Length", post("Content-Length : 2\r\n", "ok")),
  refused("a tab before the colon of Transfer-Encoding", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n")),
  refused("a line without a colon", `GET /public HTTP/1.1\r\n${H}nonsense\r\n\r\n`),
  refused("an empty header name", `GET /public HTTP/1.1\r\n${H}: x\r\n\r\n`),
  refused("a header name with a bracket", `GET /public HTTP/1.1\r\n${H}X[0]: x\r\n\r\n`),
  refused("a header name beyond ASCII", `GET /public HTTP/1.1\r\n${H}\xc3\xa4: x\r\n\r\n`),
  refused("NUL in a value", `GET /public HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`),
  refused("NUL in a name", `GET /public HTTP/1.1\r\n${H}X\0: b\r\n\r\n`),
  refused("ESC in a value", `GET /public HTTP/1.1\r\n${H}X: \x1b[2J\r\n\r\n`),
  refused("DEL in a value", `GET /public HTTP/1.1\r\n${H}X: \x7f\r\n\r\n`),
  refused("an empty line before the request", `\r\n${good}`),
  refused("too many headers", `GET /public HTTP/1.1\r\n${H}${"X: y\r\n".repeat(256)}\r\n`, 431),
  refused("a head beyond 64 KiB", `GET /public HTTP/1.1\r\n${H}X: ${"y".repeat(66_000)}\r\n\r\n`, 431),
  refused("a target beyond 16 KiB", get(`/public/${"y".repeat(17_000)}`), 414),

  // ---- request line
  refused("HTTP/0.9", "GET /public\r\n"),
  refused("HTTP/1.2", `GET /public HTTP/1.2\r\n${H}\r\n`),
  refused("HTTP/2.0 in text", `GET /public HTTP/2.0\r\n${H}\r\n`),
  refused("HTTP/01.1", `GET /public HTTP/01.1\r\n${H}\r\n`),
  refused("http in lower case", `GET /public http/1.1\r\n${H}\r\n`),
  refused("words behind the version", `GET /public HTTP/1.1 x\r\n${H}\r\n`),
  refused("two spaces before the target", `GET  /public HTTP/1.1\r\n${H}\r\n`),
  refused("two spaces behind the target", `GET /public  HTTP/1.1\r\n${H}\r\n`),
  refused("a tab instead of the space", `GET\t/public HTTP/1.1\r\n${H}\r\n`),
  refused("a space behind the version", `GET /public HTTP/1.1 \r\n${H}\r\n`),
  refused("a space inside the target", `GET /public /private HTTP/1.1\r\n${H}\r\n`),
  refused("a method with a slash", `GE/T /public HTTP/1.1\r\n${H}\r\n`),
  refused("a method in brackets", `(GET) /public HTTP/1.1\r\n${H}\r\n`),
  refused("an endless method", `${"G".repeat(40)} /public HTTP/1.1\r\n${H}\r\n`),
  refused("a leading space", ` GET /public HTTP/1.1\r\n${H}\r\n`),
  refused("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  { name: "a TLS ClientHello", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", statuses: [], seen: [] },
  refused("NUL in the target", get("/public\0/x")),
  refused("a byte above 127 in the target", get("/public/\xe4")),
  refused("a fragment", get("/public#/../private")),
  refused("absolute form", `GET http://a/public HTTP/1.1\r\n${H}\r\n`),
  refused("absolute form that contradicts Host", `GET http://b/public HTTP/1.1\r\n${H}\r\n`),
  refused("absolute form of another scheme", `GET file:///public HTTP/1.1\r\n${H}\r\n`),
  refused("a target without a slash", get("public")),
  refused("asterisk form with GET", get("*")),
  deniedRow("asterisk form with OPTIONS", `OPTIONS * HTTP/1.1\r\n${H}\r\n`),
  deniedRow("CONNECT", `CONNECT a:80 HTTP/1.1\r\n${H}\r\n`),
  refused("CONNECT to a path", `CONNECT /public HTTP/1.1\r\n${H}\r\n`),

  // ---- Host
  refused("no Host", "GET /public HTTP/1.1\r\n\r\n"),
  refused("two Hosts", `GET /public HTTP/1.1\r\n${H}Host: b\r\n\r\n`),
  refused("two equal Hosts", `GET /public HTTP/1.1\r\n${H}${H}\r\n`),
  refused("an empty Host", "GET /public HTTP/1.1\r\nHost:\r\n\r\n"),
  refused("a Host with a path", "GET /public HTTP/1.1\r\nHost: a/b\r\n\r\n"),
  refused("a Host with a user", "GET /public HTTP/1.1\r\nHost: x@a\r\n\r\n"),
  refused("a list of Hosts", "GET /public HTTP/1.1\r\nHost: a,b\r\n\r\n"),
  refused("a Host with a space", "GET /public HTTP/1.1\r\nHost: a b\r\n\r\n"),
  refused("a Host with words for a port", "GET /public HTTP/1.1\r\nHost: a:http\r\n\r\n"),
  refused("a Host behind a tab", "GET /public HTTP/1.1\r\nHost:\ta\r\n\r\n"),
  allowed("an IPv6 Host", "GET /public HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /public"),

  // ---- paths that servers resolve
  deniedRow("dot segments out of the allowed tree", get("/public/../private")),
  deniedRow("encoded dots", get("/public/%2e%2e/private")),
  deniedRow("half encoded dots", get("/public/.%2E/private")),
  deniedRow("encoded slashes", get("/public/..%2fprivate")),
  deniedRow("encoded dots and slashes", get("/public/%2e%2e%2fprivate")),
  deniedRow("a backslash", get("/public/..\\private")),
  deniedRow("an encoded backslash", get("/public/..%5Cprivate")),
  deniedRow("parameters on dots", get("/public/..;x=y/private")),
  deniedRow("dots at the end", get("/public/..")),
  deniedRow("an encoded letter in a denied path", get("/%70rivate")),
  deniedRow("an encoded letter in an allowed path, as no rule allows it as written", get("/%70ublic")),
  deniedRow("a doubled slash", get("//public")),
  allowed("an encoded letter below the allowed tree", get("/public/%61"), "GET /public/%61"),
  allowed("dot segments that stay inside", get("/public/a/../b"), "GET /public/a/../b"),
  allowed("a doubled slash inside", get("/public//a"), "GET /public//a"),
  allowed("an encoded NUL inside", get("/public/a%00b"), "GET /public/a%00b"),
  allowed("an encoded space", get("/public/a%20b"), "GET /public/a%20b"),
  refused("a percent sign that encodes nothing", get("/public/%zz")),
  refused("a percent sign at the end", get("/public/%2")),
  refused("IIS's %u encoding", get("/public/%u002e%u002e/private")),
  refused("overlong UTF-8 for a slash", get("/public/..%c0%afprivate")),
  allowed("a lone percent sign in the query", get("/public?q=100%"), "GET /public?q=100%"),

  // ---- chunked bodies
  {
    name: "a chunk size with a space",
    send: chunked("5 \r\nhello\r\n0\r\n\r\n"),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "a chunk size with a sign",
    send: chunked("+5\r\nhello\r\n0\r\n\r\n"),
    statuses: [400],
    seen: ["POST /public"],
  },
  { name: "a chunk size with 0x", send: chunked("0x5\r\nhello\r\n0\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  { name: "a negative chunk size", send: chunked("-1\r\nhello\r\n0\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  { name: "an empty chunk size", send: chunked("\r\nhello\r\n0\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  {
    name: "an overflowing chunk size",
    send: chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "a chunk size that ends in LF",
    send: chunked(`5\nhello\r\n0\r\n\r\n${bad}`),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "a chunk longer than its size",
    send: chunked(`5\r\nhelloworld\r\n0\r\n\r\n${bad}`),
    statuses: [400],
    seen: ["POST /public"],
  },
  { name: "a chunk without its CRLF", send: chunked("5\r\nhello0\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  { name: "a chunk ended by LF", send: chunked("5\r\nhello\n0\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  {
    name: "LF in a chunk extension",
    send: chunked(`5;x\nhello\r\n0\r\n\r\n${bad}`),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "a space before a chunk extension",
    send: chunked("5 ;x=y\r\nhello\r\n0\r\n\r\n"),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "an endless chunk extension",
    send: chunked(`5;${"x".repeat(2000)}\r\nhello\r\n0\r\n\r\n`),
    statuses: [400],
    seen: ["POST /public"],
  },
  {
    name: "a Content-Length in the trailers",
    send: chunked("0\r\nContent-Length: 5\r\n\r\n"),
    statuses: [400],
    seen: ["POST /public"],
  },
  { name: "a folded trailer", send: chunked("0\r\nX: y\r\n z\r\n\r\n"), statuses: [400], seen: ["POST /public"] },
  { name: "LF behind the last chunk", send: chunked(`0\r\n\n${bad}`), statuses: [400], seen: ["POST /public"] },

  // ---- Expect, Upgrade
  refused("an unknown expectation", `GET /public HTTP/1.1\r\n${H}Expect: miracles\r\n\r\n`, 417),
  deniedRow(
    "an upgrade to h2c",
    `GET /public HTTP/1.1\r\n${H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
  ),
  deniedRow("an upgrade to TLS", `GET /public HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n`),
  refused("Connection: upgrade without Upgrade", `GET /public HTTP/1.1\r\n${H}Connection: Upgrade\r\n\r\n`),
  refused("an upgrade with a body", post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "ok")),
];
