/** Hubble's flow filters: a filter's fields are ANDed, a field's values ORed, filters of a list ORed. */
import { RE2JS } from "re2js";
import {
  type Endpoint,
  type Flow,
  type FlowFilter,
  type HTTP,
  MessageType,
  type TCPFlags,
  Verdict,
} from "#contracts/hubble";
import { formatAddress, parseAddress, parsePrefix, prefixContains } from "#core/model";
import { errorMessage, TsiliumError } from "#core/runtime";
import { parseLabelSelector } from "./label-selector.ts";
import { compileNamePatterns, compileNodePatterns } from "./name-pattern.ts";

/** Whether a flow passes. */
export type FlowPredicate = (flow: Flow) => boolean;

function filterProblem(message: string): TsiliumError {
  return new TsiliumError("BAD_FLOW_FILTER", message);
}

/** A flow passes if there is no whitelist or one of its filters matches, and no filter of the blacklist does. Throws BAD_FLOW_FILTER. */
export function compileFilters(whitelist: readonly FlowFilter[], blacklist: readonly FlowFilter[]): FlowPredicate {
  const white = whitelist.map(compileFilter);
  const black = blacklist.map(compileFilter);
  if (white.length === 0 && black.length === 0) return () => true;
  return (flow) =>
    (white.length === 0 || white.some((matches) => matches(flow))) && !black.some((matches) => matches(flow));
}

/** How each field of a filter is compiled. A field that is not here can't be given by accident: the type demands them all. */
const compilers: {
  readonly [F in keyof Required<FlowFilter>]: (values: NonNullable<FlowFilter[F]>) => FlowPredicate;
} = {
  source_ip: (ips) => byAddress(ips, (flow) => flow.IP?.source),
  source_ip_xlated: (ips) => byAddress(ips, (flow) => flow.IP?.source_xlated),
  destination_ip: (ips) => byAddress(ips, (flow) => flow.IP?.destination),
  source_pod: (names) => byNamespacedName(names, (flow) => podOf(flow.source)),
  destination_pod: (names) => byNamespacedName(names, (flow) => podOf(flow.destination)),
  source_service: (names) => byNamespacedName(names, ({ source_service: s }) => [s?.namespace ?? "", s?.name ?? ""]),
  destination_service: (names) =>
    byNamespacedName(names, ({ destination_service: s }) => [s?.namespace ?? "", s?.name ?? ""]),
  source_fqdn: (patterns) => byNames(patterns, (flow) => flow.source_names),
  destination_fqdn: (patterns) => byNames(patterns, (flow) => flow.destination_names),
  source_label: (selectors) => byLabels(selectors, (flow) => flow.source?.labels),
  destination_label: (selectors) => byLabels(selectors, (flow) => flow.destination?.labels),
  node_labels: (selectors) => byLabels(selectors, (flow) => flow.node_labels),
  source_workload: (workloads) => byWorkload(workloads, (flow) => flow.source),
  destination_workload: (workloads) => byWorkload(workloads, (flow) => flow.destination),
  source_cluster_name: (patterns) => byNames(patterns, (flow) => clusterOf(flow.source)),
  destination_cluster_name: (patterns) => byNames(patterns, (flow) => clusterOf(flow.destination)),
  source_identity: (ids) => (flow) => flow.source !== undefined && ids.includes(flow.source.identity ?? 0),
  destination_identity: (ids) => (flow) =>
    flow.destination !== undefined && ids.includes(flow.destination.identity ?? 0),
  source_port: (ports) => byPort(ports, "source_port"),
  destination_port: (ports) => byPort(ports, "destination_port"),
  verdict: (verdicts) => (flow) => verdicts.includes(flow.verdict ?? Verdict.VERDICT_UNKNOWN),
  drop_reason_desc: (reasons) => (flow) => reasons.includes(flow.drop_reason_desc ?? 0),
  event_type: (types) => (flow) => types.some((wanted) => matchesType(flow, wanted)),
  protocol: (protocols) => byProtocol(protocols),
  // Drops may not know whether they were replies; they count as not.
  reply: (wanted) => (flow) =>
    (flow.is_reply !== undefined || flow.verdict === Verdict.DROPPED) && wanted.includes(flow.is_reply ?? false),
  tcp_flags: (wanted) => (flow) => {
    const flags = flow.l4?.protocol?.$case === "TCP" ? flow.l4.protocol.value.flags : undefined;
    return flags !== undefined && wanted.some((all) => hasFlags(flags, all));
  },
  node_name: (patterns) => {
    const matches = valid(compileNodePatterns(patterns), "node name");
    return (flow) => (flow.node_name ?? "") !== "" && matches(flow.node_name!);
  },
  ip_version: (versions) => (flow) => versions.includes(flow.IP?.ipVersion ?? 0),
  traffic_direction: (directions) => (flow) => directions.includes(flow.traffic_direction ?? 0),
  uuid: (uuids) => (flow) => uuids.includes(flow.uuid ?? ""),
  trace_id: (ids) => (flow) => ids.includes(flow.trace_context?.parent?.trace_id ?? ""),
  interface:
    (wanted) =>
    ({ interface: at }) =>
      at !== undefined &&
      wanted.some(
        ({ index = 0, name = "" }) => (index === 0 || index === at.index) && (name === "" || name === at.name),
      ),
  encrypted: (wanted) => (flow) => wanted.includes(flow.IP?.encrypted ?? false),
  http_status_code: byStatus,
  http_method: (methods) => {
    const upper = methods.map((method) => method.toUpperCase());
    return (flow) => upper.includes(httpOf(flow)?.method?.toUpperCase() ?? "\0");
  },
  http_path: (expressions) => byExpression(expressions, "http path", (flow) => pathOf(httpOf(flow)?.url)),
  http_url: (expressions) => byExpression(expressions, "http url", (flow) => httpOf(flow)?.url),
  http_header: (wanted) => (flow) =>
    (httpOf(flow)?.headers ?? []).some((header) =>
      wanted.some(({ key = "", value = "" }) => key === header.key && value === header.value),
    ),
  dns_query: (expressions) =>
    byExpression(expressions, "DNS query", ({ l7 }) =>
      l7?.record?.$case === "dns" ? l7.record.value.query : undefined,
    ),
  ip_trace_id: () => () => false,
  experimental: ({ cel_expression: expressions = [] }) => {
    if (expressions.length > 0) throw filterProblem("CEL expressions in filters are not supported by this server");
    return () => true;
  },
};

function compileFilter(filter: FlowFilter): FlowPredicate {
  const isHttp = [filter.http_status_code, filter.http_method, filter.http_path, filter.http_url, filter.http_header];
  const types = filter.event_type ?? [];
  if (
    types.length > 0 &&
    isHttp.some((values) => (values?.length ?? 0) > 0) &&
    !types.some(({ type }) => type === MessageType.l7)
  )
    throw filterProblem("a filter on HTTP fields and on event types must have the type l7 among these");
  const predicates: FlowPredicate[] = [];
  for (const field of Object.keys(compilers) as (keyof typeof compilers)[]) {
    const values = filter[field];
    if (values === undefined || (Array.isArray(values) && values.length === 0)) continue;
    predicates.push((compilers[field] as (values: unknown) => FlowPredicate)(values));
  }
  return (flow) => predicates.every((matches) => matches(flow));
}

function valid<T>(compiled: T | string, what: string): T {
  if (typeof compiled === "string") throw filterProblem(`invalid ${what} filter: ${compiled}`);
  return compiled;
}

function byAddress(texts: readonly string[], of: (flow: Flow) => string | undefined): FlowPredicate {
  const addresses = new Set<string>();
  const prefixes = texts.flatMap((text) => {
    if (text.includes("/")) return [valid(parsePrefix(text) ?? `"${text}" is no prefix`, "IP")];
    addresses.add(formatAddress(valid(parseAddress(text) ?? `"${text}" is no address`, "IP")));
    return [];
  });
  return (flow) => {
    const text = of(flow);
    if (text === undefined || text === "") return false;
    if (addresses.has(text)) return true;
    if (prefixes.length === 0) return false;
    const address = parseAddress(text);
    return address !== undefined && prefixes.some((prefix) => prefixContains(prefix, address));
  };
}

const podOf = (endpoint: Endpoint | undefined): readonly [string, string] => [
  endpoint?.namespace ?? "",
  endpoint?.pod_name ?? "",
];

function clusterOf(endpoint: Endpoint | undefined): string[] {
  return endpoint?.cluster_name === undefined ? [] : [endpoint.cluster_name];
}

function byNamespacedName(
  texts: readonly string[],
  of: (flow: Flow) => readonly [namespace: string, name: string],
): FlowPredicate {
  const wanted = texts.map((text) => {
    if (text === "") throw filterProblem("invalid name filter: a name must not be empty");
    const slash = text.indexOf("/");
    return slash < 0
      ? { namespace: "default", prefix: text }
      : { namespace: text.slice(0, slash), prefix: text.slice(slash + 1) };
  });
  return (flow) => {
    const [namespace, name] = of(flow);
    if (namespace === "" && name === "") return false;
    return wanted.some((w) => name.startsWith(w.prefix) && (w.namespace === "" || w.namespace === namespace));
  };
}

function byNames(patterns: readonly string[], of: (flow: Flow) => readonly string[] | undefined): FlowPredicate {
  const matches = valid(compileNamePatterns(patterns), "name");
  return (flow) => (of(flow) ?? []).some(matches);
}

function byLabels(selectors: readonly string[], of: (flow: Flow) => readonly string[] | undefined): FlowPredicate {
  const predicates = selectors.map((text) => valid(parseLabelSelector(text), "label"));
  return (flow) => {
    const labels = of(flow) ?? [];
    return predicates.some((matches) => matches(labels));
  };
}

function byWorkload(
  wanted: NonNullable<FlowFilter["source_workload"]>,
  of: (flow: Flow) => Endpoint | undefined,
): FlowPredicate {
  return (flow) =>
    (of(flow)?.workloads ?? []).some((workload) =>
      wanted.some(
        ({ name = "", kind = "" }) =>
          (name === "" || name === workload.name) && (kind === "" || kind === workload.kind),
      ),
    );
}

function byPort(texts: readonly string[], side: "source_port" | "destination_port"): FlowPredicate {
  const ports = texts.map((text) => {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
    if (!(port <= 65535)) throw filterProblem(`invalid port filter: "${text}" is no port`);
    return port;
  });
  return (flow) => {
    const l4 = flow.l4?.protocol;
    switch (l4?.$case) {
      case "TCP":
      case "UDP":
      case "SCTP":
        return ports.includes(l4.value[side] ?? 0);
      default:
        return false;
    }
  };
}

const layer4 = { tcp: "TCP", udp: "UDP", sctp: "SCTP", icmpv4: "ICMPv4", icmpv6: "ICMPv6", vrrp: "VRRP", igmp: "IGMP" };

function byProtocol(names: readonly string[]): FlowPredicate {
  const wanted = new Set(
    names.flatMap((text): string[] => {
      const name = text.toLowerCase();
      if (name === "icmp") return ["ICMPv4", "ICMPv6"];
      if (name === "dns" || name === "http" || name === "kafka") return [name];
      if (name in layer4) return [layer4[name as keyof typeof layer4]];
      throw filterProblem(`invalid protocol filter: "${text}" is no protocol that flows have`);
    }),
  );
  return (flow) => wanted.has(flow.l4?.protocol?.$case ?? "") || wanted.has(flow.l7?.record?.$case ?? "");
}

/** A denied policy verdict is a drop too: the datapath reports it once, where Cilium's sends an event of each type. */
function matchesType(flow: Flow, wanted: NonNullable<FlowFilter["event_type"]>[number]): boolean {
  const { type = 0, sub_type: subType = 0 } = flow.event_type ?? {};
  const isDeniedVerdict = type === MessageType["policy-verdict"] && flow.verdict === Verdict.DROPPED;
  const asDrop = isDeniedVerdict && wanted.type === MessageType.drop;
  if ((wanted.type ?? 0) !== 0 && wanted.type !== type && !asDrop) return false;
  if (!wanted.match_sub_type) return true;
  return (wanted.sub_type ?? 0) === (asDrop ? (flow.drop_reason_desc ?? 0) : subType);
}

function hasFlags(flags: TCPFlags, wanted: TCPFlags): boolean {
  return (Object.keys(wanted) as (keyof TCPFlags)[]).every((name) => !wanted[name] || flags[name] === true);
}

function httpOf(flow: Flow): HTTP | undefined {
  return flow.l7?.record?.$case === "http" ? flow.l7.record.value : undefined;
}

function byStatus(texts: readonly string[]): FlowPredicate {
  const prefixes = texts.map((text) => {
    if (/^[1-5]\d{2}$/.test(text)) return text;
    if (/^[1-5]\d?\+$/.test(text)) return text.slice(0, -1);
    throw filterProblem(`invalid http status code filter: "${text}" is neither a status nor a prefix such as 4+`);
  });
  return (flow) => {
    const code = httpOf(flow)?.code ?? 0;
    return code !== 0 && prefixes.some((prefix) => String(code).padStart(3, "0").startsWith(prefix));
  };
}

function byExpression(
  expressions: readonly string[],
  what: string,
  of: (flow: Flow) => string | undefined,
): FlowPredicate {
  const compiled = expressions.map((expression) => {
    try {
      return RE2JS.compile(expression);
    } catch (error) {
      throw filterProblem(`invalid ${what} filter: ${expression}: ${errorMessage(error)}`);
    }
  });
  return (flow) => {
    const text = of(flow);
    return text !== undefined && text !== "" && compiled.some((expression) => expression.matcher(text).find());
  };
}

/** The path of a URL, decoded where it can be. */
function pathOf(url: string | undefined): string | undefined {
  const path = url?.replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
  if (path === undefined || !path.includes("%")) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not UTF-8: matched as it was sent
  }
}
