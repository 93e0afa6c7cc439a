/** What latency is measured through: ways of tsilium, and proxies that this machine has. Each is a server's address for its clients. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Port of every server and proxy. */
export const port = 8080;
/** What clients ask for. */
export const path = "/public/item";

/** A way from a client to the server. */
export interface Contender {
  readonly name: string;
  /** For people: what is in between. */
  readonly meaning: string;
  /** Annotations of both ends. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Path pattern of an HTTP rule that the server's policy has. */
  readonly rule?: string;
  /** A proxy that stands in between in a workload of its own; yields its command. */
  readonly proxy?: (server: string, directory: string) => readonly string[];
}

const ours: readonly Contender[] = [
  { name: "direct", meaning: "no policy" },
  {
    name: "socket redirect",
    meaning: "no policy, from socket to socket",
    annotations: { "tsilium.io/socket-redirect": "true" },
  },
  { name: "tsilium, in the kernel", meaning: "an HTTP rule, judged in the kernel", rule: "/public/.*" },
  // Word boundaries are beyond the kernel's automata: the same rule, for the proxy.
  { name: "tsilium, proxy", meaning: "an HTTP rule, judged by tsilium's proxy", rule: "/\\bpublic/.*" },
];

const bracketed = (address: string) => (address.includes(":") ? `[${address}]` : address);

const others: readonly (Contender & { readonly program: string })[] = [
  {
    name: "nginx",
    program: "nginx",
    meaning: "the same rule in nginx, one worker",
    proxy: (server, directory) => {
      const file = write(
        join(directory, "nginx.conf"),
        `daemon off; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr error;
events {}
http {
  access_log off; keepalive_requests 1000000000; client_body_temp_path ${directory}; proxy_temp_path ${directory};
  fastcgi_temp_path ${directory}; uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
  upstream server { server ${bracketed(server)}:${port}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen [::]:${port} ipv6only=off reuseport;
    location ~ ^/public/ { proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; }
    location / { return 403; }
  }
}
`,
      );
      return ["nginx", "-c", file, "-p", directory];
    },
  },
  {
    name: "haproxy",
    program: "haproxy",
    meaning: "the same rule in haproxy, one thread",
    proxy: (server, directory) => {
      const file = write(
        join(directory, "haproxy.cfg"),
        `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind :::${port} v4v6
  http-request deny unless { path_reg ^/public/ }
  default_backend out
backend out
  http-reuse always
  server server ${bracketed(server)}:${port}
`,
      );
      return ["haproxy", "-db", "-q", "-f", file];
    },
  },
  {
    name: "envoy",
    program: "envoy",
    meaning: "the same rule in envoy, one thread",
    proxy: (server, directory) => {
      const address = (host: string) => ({ socket_address: { address: host, port_value: port } });
      const file = write(join(directory, "envoy.json"), JSON.stringify(envoyConfig(address, server)));
      return ["envoy", "-c", file, "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"];
    },
  },
];

function envoyConfig(address: (host: string) => object, server: string): object {
  const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
  const manager = {
    "@type": type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
    stat_prefix: "in",
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            { match: { safe_regex: { regex: "/public/.*" } }, route: { cluster: "server" } },
            { match: { prefix: "/" }, direct_response: { status: 403 } },
          ],
        },
      ],
    },
    http_filters: [
      { name: "envoy.filters.http.router", typed_config: { "@type": type("filters.http.router.v3.Router") } },
    ],
  };
  const filter = { name: "envoy.filters.network.http_connection_manager", typed_config: manager };
  return {
    static_resources: {
      listeners: [{ name: "in", address: address("0.0.0.0"), filter_chains: [{ filters: [filter] }] }],
      clusters: [
        {
          name: "server",
          type: "STATIC",
          load_assignment: {
            cluster_name: "server",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(server) } }] }],
          },
        },
      ],
    },
  };
}

function write(file: string, text: string): string {
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

/** Those that this machine can measure, and the names of those that it lacks. */
export function contenders(searchPath = process.env.PATH ?? ""): { found: Contender[]; missing: string[] } {
  const installed = (program: string) =>
    [...searchPath.split(":"), "/usr/sbin"].some((directory) => existsSync(join(directory, program)));
  return {
    found: [...ours, ...others.filter(({ program }) => installed(program))],
    missing: others.filter(({ program }) => !installed(program)).map(({ name }) => name),
  };
}
