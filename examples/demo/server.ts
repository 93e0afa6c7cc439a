// A small HTTP server: says hello on every path. The demo runs it as a workload; so can you:
//   tsilium run --name server --service-account server -- examples/demo/server
import { createServer } from "node:http";

const port = Number(process.argv[2] ?? 3555);
const name = process.argv[3] ?? "the server";

const server = createServer((request, response) => {
  console.log(`${request.method} ${request.url} from ${request.socket.remoteAddress}`);
  request.resume();
  response.writeHead(200, { "content-type": "text/plain" });
  response.end(`hello from ${name}: ${request.method} ${request.url}\n`);
});

// IPv4 and IPv6; "::" takes both.
server.listen(port, "::", () => console.log(`listening on port ${port}`));

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
