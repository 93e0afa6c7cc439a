/** What is judged on a connection, in words. */
import type { TlsRules } from "#contracts/proxy";
import { showDnsMatch } from "./peers.ts";
import type { HttpRule, L7Rules } from "./rule.ts";

/** `only requests GET /x or POST /y`. */
export function describeL7(l7: L7Rules): string {
  switch (l7.protocol) {
    case "http":
      return `only requests ${l7.rules.map(describeHttpRule).join(" or ")}`;
    case "dns":
      return `only for names ${l7.rules.map(showDnsMatch).join(" or ")}`;
    case "kafka":
    case "ftp":
    case "smtp":
      return `only ${l7.protocol.toUpperCase()} ${l7.rules.map(describeFields).join(" or ")}`;
    case "custom":
      return `only what parser ${l7.parser} finds ${l7.rules.map(({ match }) => describeFields(match)).join(" or ")}`;
  }
}

/** What is asked of TLS, one phrase each. */
export function describeTls({ serverNames, terminating, originating }: TlsRules): string[] {
  const secret = ({ namespace, name }: { readonly namespace: string; readonly name: string }) => `${namespace}/${name}`;
  return [
    ...(serverNames === undefined ? [] : [`only TLS for ${serverNames.join(" or ")}`]),
    ...(terminating === undefined ? [] : [`TLS terminated with ${secret(terminating.secret)}`]),
    ...(originating === undefined ? [] : [`TLS originated with ${secret(originating.secret)}`]),
  ];
}

function describeHttpRule({ method, path, host, headers, grpc, rateLimit }: HttpRule): string {
  const parts =
    grpc === undefined
      ? [method ?? "any method", path ?? "any path"]
      : [`gRPC ${grpc.service ?? "any service"}/${grpc.method ?? "any method"}`];
  if (host !== undefined) parts.push(`host ${host}`);
  for (const { name, value, secret, mismatch } of headers ?? []) {
    const wanted = secret === undefined ? value : `the value of secret ${secret.namespace}/${secret.name}`;
    const action = mismatch === undefined ? "" : ` (else ${mismatch})`;
    parts.push(`header ${name}${wanted === undefined ? "" : `: ${wanted}`}${action}`);
  }
  if (rateLimit !== undefined) parts.push(`at most ${rateLimit.requests} in ${rateLimit.perMs} ms`);
  return parts.join(" ");
}

/** `command=RETR path=/pub/.*`; `anything` if nothing is asked. */
function describeFields(fields: object): string {
  const asked = Object.entries(fields).filter(([key, value]) => key !== "place" && value !== undefined);
  return asked.map(([key, value]) => `${key}=${value}`).join(" ") || "anything";
}
