/** Flows as text: one line each (compact), key-value pairs (dict), a table, or JSON lines. */
import picocolors from "picocolors";
import {
  dropReasonText,
  type Endpoint,
  type Flow,
  formatResponse,
  type GetFlowsResponse,
  L7FlowType,
  type LostEvent,
  LostEventSource,
  MessageType,
  type Policy,
  policyMatchName,
  TrafficDirection,
  tracePointName,
  Verdict,
  verdictName,
} from "#contracts/hubble";
import { type NumericIdentity, reservedName } from "#core/model";
import { wrapProse } from "#core/runtime";
import { formatMoment, type TimeFormat } from "./moment.ts";

/** Formats of `-o`. */
export const flowFormats = ["compact", "json", "jsonpb", "dict", "tab", "table"] as const;
/** One of {@link flowFormats}. */
export type FlowFormat = (typeof flowFormats)[number];

/** How to print. */
export interface PrinterOptions {
  readonly format: FlowFormat;
  readonly colour: boolean;
  readonly nodeName?: boolean;
  readonly policyNames?: boolean;
  /** Addresses instead of pod names. */
  readonly numeric?: boolean;
  readonly timeFormat?: TimeFormat;
  /** Width for the sentences below a denial; without it, each stands on one line. */
  readonly columns?: number | undefined;
}

/** Makes text of answers; each text ends in a newline. */
export interface FlowPrinter {
  print(response: GetFlowsResponse): string;
  /** What is left to print at the end: a table can't be aligned before. */
  end(): string;
}

/** Creates a printer. */
export function createFlowPrinter(options: PrinterOptions): FlowPrinter {
  switch (options.format) {
    case "json":
    case "jsonpb":
      return { print: (response) => `${formatResponse(response)}\n`, end: () => "" };
    case "compact": {
      const words = createWords(options);
      return { print: (response) => compact(response, words, options), end: () => "" };
    }
    case "dict":
      return dictPrinter(options);
    case "tab":
    case "table":
      return tablePrinter(options);
  }
}

type Words = ReturnType<typeof createWords>;

/** The parts of a flow in words, with colours where these are wanted. */
function createWords({ colour, policyNames = false, numeric = false }: PrinterOptions) {
  const colours = picocolors.createColors(colour);

  const host = (endpoint: Endpoint | undefined, address: string, names: readonly string[] = [], port = 0): string => {
    const { namespace = "", pod_name: pod = "" } = endpoint ?? {};
    const name = numeric
      ? address
      : pod !== ""
        ? [namespace, pod].filter((part) => part !== "").join("/")
        : names.length > 0
          ? names.join(",")
          : address;
    if (port === 0) return colours.cyan(clean(name));
    return `${colours.cyan(clean(name.includes(":") ? `[${name}]` : name))}:${colours.yellow(String(port))}`;
  };

  const verdict = (flow: Flow): string => {
    const isPolicy = flow.event_type?.type === MessageType["policy-verdict"];
    const egress = flow.traffic_direction === TrafficDirection.EGRESS;
    const by = (ingressPolicies: readonly Policy[] = [], egressPolicies: readonly Policy[] = []): string =>
      policyNames ? namesOf(egress ? egressPolicies : ingressPolicies) : "";
    const code = flow.verdict ?? Verdict.VERDICT_UNKNOWN;
    switch (code) {
      case Verdict.FORWARDED:
      case Verdict.REDIRECTED:
        return colours.green(
          isPolicy ? `ALLOWED${by(flow.ingress_allowed_by, flow.egress_allowed_by)}` : verdictName(code),
        );
      case Verdict.DROPPED:
      case Verdict.ERROR:
        return colours.red(isPolicy ? `DENIED${by(flow.ingress_denied_by, flow.egress_denied_by)}` : verdictName(code));
      case Verdict.AUDIT:
        return colours.yellow(isPolicy ? "AUDITED" : "AUDIT");
      default:
        return verdictName(code);
    }
  };

  return {
    ends: (flow: Flow): readonly [source: string, destination: string] => {
      const { source: from = "", destination: to = "" } = flow.IP ?? flow.ethernet ?? {};
      const [sourcePort, destinationPort] = portsOf(flow);
      return [
        host(flow.source, from, flow.source_names, sourcePort),
        host(flow.destination, to, flow.destination_names, destinationPort),
      ];
    },
    identity: (endpoint: Endpoint | undefined): string => {
      const identity = endpoint?.identity ?? 0;
      const name = reservedName(identity as NumericIdentity);
      return colours.magenta(name === undefined ? `(ID:${identity})` : `(${name})`);
    },
    verdict,
    dim: colours.dim,
    red: colours.red,
  };
}

/** Names come from the network: control characters must not reach the terminal. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}

function namesOf(policies: readonly Policy[]): string {
  const names = policies.filter(({ name, kind }) => name && kind).map(({ name, kind }) => `${name} (${kind})`);
  return names.length === 0 ? "" : ` BY ${clean(names.join(", "))}`;
}

function portsOf({ l4 }: Flow): readonly [number, number] {
  switch (l4?.protocol?.$case) {
    case "TCP":
    case "UDP":
    case "SCTP":
      return [l4.protocol.value.source_port ?? 0, l4.protocol.value.destination_port ?? 0];
    default:
      return [0, 0];
  }
}

function typeOf(flow: Flow): string {
  if (flow.l7 !== undefined) {
    const type =
      flow.l7.type === L7FlowType.RESPONSE ? "response" : flow.l7.type === L7FlowType.REQUEST ? "request" : "sample";
    return `${flow.l7.record?.$case ?? "l7"}-${type}`;
  }
  const { type = 0, sub_type: subType = 0 } = flow.event_type ?? {};
  switch (type) {
    case MessageType.trace:
      return tracePointName(subType);
    case MessageType.drop:
      return dropReasonText(subType);
    case MessageType["policy-verdict"]:
      return `policy-verdict:${policyMatchName(flow.policy_match_type ?? 0)} ${flow.traffic_direction === TrafficDirection.EGRESS ? "EGRESS" : "INGRESS"}`;
    default:
      return "UNKNOWN";
  }
}

/** The reason, then what would help; the latter may be a policy in YAML, whose lines stay lines. */
function whyLines({ why }: Flow): string[] {
  if (why?.sentence === undefined || why.sentence === "") return [];
  return [why.sentence, ...(why.hint === undefined || why.hint === "" ? [] : why.hint.split("\n"))].map(clean);
}

function lostText({
  num_events_lost: count = 0n,
  source = LostEventSource.UNKNOWN_LOST_EVENT_SOURCE,
}: LostEvent): string {
  const where = Object.entries(LostEventSource).find(([, code]) => code === source)?.[0] ?? String(source);
  return `${where} ${count}`;
}

function compact(response: GetFlowsResponse, words: Words, options: PrinterOptions): string {
  const types = response.response_types;
  const { timeFormat } = options;
  switch (types?.$case) {
    case "flow": {
      const flow = types.value;
      let [source, destination] = words.ends(flow);
      let [from, to] = [words.identity(flow.source), words.identity(flow.destination)];
      let arrow = flow.is_reply === undefined ? "<>" : "->";
      if (flow.is_reply === true) {
        // The one who opened the connection stands on the left.
        [source, destination, from, to, arrow] = [destination, source, to, from, "<-"];
      }
      const node = options.nodeName === true ? ` [${clean(flow.node_name ?? "")}]` : "";
      const head = `${formatMoment(flow.time, timeFormat)}${node}: ${source} ${from} ${arrow} ${destination} ${to}`;
      const line = `${head} ${typeOf(flow)} ${words.verdict(flow)} (${clean(flow.Summary ?? "")})`;
      return [line, ...whyLines(flow).map((text) => words.dim(wrapProse(`    ${text}`, options.columns))), ""].join(
        "\n",
      );
    }
    case "lost_events":
      return `${formatMoment(response.time, timeFormat)} ${words.red("EVENTS LOST:")} ${lostText(types.value)}\n`;
    case "node_status":
      return `${formatMoment(response.time, timeFormat)} [${clean((types.value.node_names ?? []).join(", "))}] ${clean(types.value.message ?? "")}\n`;
    default:
      return "";
  }
}

function dictPrinter(options: PrinterOptions): FlowPrinter {
  const words = createWords(options);
  let count = 0;
  return {
    print(response) {
      const types = response.response_types;
      const pairs: [string, string][] = [];
      if (types?.$case === "flow") {
        const flow = types.value;
        const [source, destination] = words.ends(flow);
        pairs.push(["TIMESTAMP", formatMoment(flow.time, options.timeFormat)]);
        if (options.nodeName === true) pairs.push(["NODE", clean(flow.node_name ?? "")]);
        pairs.push(["SOURCE", source], ["DESTINATION", destination], ["TYPE", typeOf(flow)]);
        pairs.push(["VERDICT", words.verdict(flow)], ["SUMMARY", clean(flow.Summary ?? "")]);
        const why = whyLines(flow);
        if (why.length > 0) pairs.push(["WHY", why.join(`\n${" ".repeat(13)}`)]);
      } else if (types?.$case === "lost_events") {
        pairs.push(["TIMESTAMP", formatMoment(response.time, options.timeFormat)], ["TYPE", "EVENTS LOST"]);
        pairs.push(["SUMMARY", lostText(types.value)]);
      } else {
        return "";
      }
      const separator = count++ === 0 ? "" : "------------\n";
      return `${separator}${pairs.map(([key, value]) => `${key.padStart(11)}: ${value}\n`).join("")}`;
    },
    end: () => "",
  };
}

function tablePrinter(options: PrinterOptions): FlowPrinter {
  const words = createWords({ ...options, colour: false });
  const node = options.nodeName === true;
  const rows: string[][] = [
    ["TIMESTAMP", ...(node ? ["NODE"] : []), "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"],
  ];
  return {
    print(response) {
      const types = response.response_types;
      const time = formatMoment(response.time, options.timeFormat);
      const nodes = node ? [clean(response.node_name ?? "")] : [];
      if (types?.$case === "flow") {
        const flow = types.value;
        const [why = ""] = whyLines(flow);
        const summary = [clean(flow.Summary ?? ""), why].filter((part) => part !== "").join("; ");
        rows.push([time, ...nodes, ...words.ends(flow), typeOf(flow), words.verdict(flow), summary]);
      } else if (types?.$case === "lost_events") {
        rows.push([time, ...nodes, "-", "-", "EVENTS LOST", "-", lostText(types.value)]);
      }
      return "";
    },
    end() {
      if (rows.length === 1) return "";
      const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
      const line = (row: readonly string[]): string =>
        row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("   ")
          .trimEnd();
      return `${rows.map(line).join("\n")}\n`;
    },
  };
}
