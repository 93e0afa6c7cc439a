// One HTTP request: prints the answer on one line. Exit codes as curl has them: 0 success, 22 refused with a status of 400 or more,
// 28 no answer in time, 7 no connection, 2 not a request.
//   tsilium run --service-account client -- examples/demo/request GET http://10.217.0.2:3555/mypath
import { request } from "node:http";

const [method = "GET", url = ""] = process.argv.slice(2);
const timeoutMs = 1000;
if (!URL.canParse(url)) {
  console.error("usage: request METHOD URL");
  process.exit(2);
}

const outgoing = request(url, { method, timeout: timeoutMs, agent: false }, (response) => {
  response.setEncoding("utf8");
  let body = "";
  response.on("data", (chunk: string) => {
    body += chunk;
  });
  response.on("end", () => {
    clearTimeout(deadline);
    console.log(`${response.statusCode} ${response.statusMessage}: ${body.trim()}`);
    process.exitCode = (response.statusCode ?? 500) >= 400 ? 22 : 0;
  });
});
const deadline = setTimeout(() => {
  console.log(`no answer within ${timeoutMs / 1000} s`);
  process.exitCode = 28;
  outgoing.destroy();
}, timeoutMs);
outgoing.on("error", (error: NodeJS.ErrnoException) => {
  clearTimeout(deadline);
  if (process.exitCode === 28) return;
  console.log(`no connection: ${error.code ?? error.message}`);
  process.exitCode = 7;
});
outgoing.end();
