/** `tsilium observe`: flags as of `hubble observe`, so that what people know works. */
import { type Command, InvalidArgumentError, Option } from "commander";
import picocolors from "picocolors";
import { instancePaths, proseColumns } from "#core/runtime";
import { usageError } from "../failure.ts";
import { FilterBuilder } from "./flow-filters.ts";
import { type TimeFormat, timeFormats } from "./moment.ts";
import { createFlowPrinter, type FlowFormat, flowFormats } from "./printer.ts";
import { buildRequest, type SelectionFlags } from "./request.ts";

interface ObserveFlags extends SelectionFlags {
  readonly output: FlowFormat;
  readonly printNodeName?: boolean;
  readonly printPolicyNames?: boolean;
  readonly numeric?: boolean;
  readonly ipTranslation: boolean;
  readonly timeFormat: TimeFormat;
  readonly color: "auto" | "always" | "never";
  readonly server?: string;
}

/** Filter flags that take a value: flag, its argument, what it does. */
const valued: readonly (readonly [flags: string, description: string])[] = [
  ["--pod <[namespace/]prefix>", "either end is such a pod"],
  ["--from-pod <[namespace/]prefix>", "the source is such a pod"],
  ["--to-pod <[namespace/]prefix>", "the destination is such a pod"],
  ["-n, --namespace <name>", "either end is in the namespace"],
  ["--from-namespace <name>", "the source is in the namespace"],
  ["--to-namespace <name>", "the destination is in the namespace"],
  ["-l, --label <selector>", "either end has the labels, e.g. app=web or reserved:world"],
  ["--from-label <selector>", "the source has the labels"],
  ["--to-label <selector>", "the destination has the labels"],
  ["--ip <address>", "either end has the address, or one of the prefix"],
  ["--from-ip <address>", "the source has the address"],
  ["--to-ip <address>", "the destination has the address"],
  ["--snat-ip <address>", "masqueraded as the address"],
  ["--ip-version <version>", "v4, v6 or none"],
  ["--fqdn <name>", "either end has the DNS name; * stands for any part"],
  ["--from-fqdn <name>", "the source has the DNS name"],
  ["--to-fqdn <name>", "the destination has the DNS name"],
  ["--port <port>", "either end has the port"],
  ["--from-port <port>", "the source has the port"],
  ["--to-port <port>", "the destination has the port"],
  ["--identity <identity>", "either end has the identity, by number or reserved name"],
  ["--from-identity <identity>", "the source has the identity"],
  ["--to-identity <identity>", "the destination has the identity"],
  ["--workload <[kind/]name>", "either end belongs to the workload"],
  ["--from-workload <[kind/]name>", "the source belongs to the workload"],
  ["--to-workload <[kind/]name>", "the destination belongs to the workload"],
  ["--verdict <verdict>", "FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED, TRANSLATED"],
  ["--drop-reason-desc <reason>", "e.g. POLICY_DENIED"],
  ["--protocol <protocol>", "tcp, udp, sctp, icmp, icmpv4, icmpv6, http, dns"],
  ["-t, --type <type[:subtype]>", "drop (with denied policy verdicts), trace, policy-verdict, l7"],
  ["--tcp-flags <flags>", "all of these are set, e.g. syn,ack"],
  ["--traffic-direction <direction>", "ingress or egress"],
  ["--http-method <method>", "e.g. GET"],
  ["--http-path <regexp>", "RE2, found anywhere in the path"],
  ["--http-url <regexp>", "RE2, found anywhere in the URL"],
  ["--http-status <status>", "e.g. 404 or 5+"],
  ["--http-header <name:value>", "the request has the header"],
  ["--node-name <pattern>", "seen on the node; * stands for any part"],
  ["--node-label <selector>", "seen on a node with the labels"],
  ["--interface <name>", "seen at the interface"],
  ["--trace-id <id>", "part of the trace"],
  ["--uuid <uuid>", "the one flow"],
];

/** Filter flags without a value. */
const bare: readonly (readonly [flags: string, description: string])[] = [
  ["-A, --all-namespaces", "either end is a pod of any namespace"],
  ["--from-all-namespaces", "the source is a pod of any namespace"],
  ["--to-all-namespaces", "the destination is a pod of any namespace"],
  ["-4, --ipv4", "IPv4"],
  ["-6, --ipv6", "IPv6"],
  ["--reply", "against the direction of its connection"],
  ["--not-reply", "in the direction of its connection"],
];

/** Adds the command. Its action throws what went wrong; Ctrl-C while following is a normal end. */
export function registerObserve(program: Command): void {
  const filters = new FilterBuilder();
  const command = program
    .command("observe")
    .description("watch flows: who talked to whom, what became of it, and why")
    .allowExcessArguments(false);

  command.optionsGroup("Which part of the buffer:");
  command
    .option("-f, --follow", "go on with new flows until Ctrl-C")
    .addOption(new Option("--last <n>", "the last n flows that match (default: 20)").argParser(parseCount))
    .addOption(new Option("--first <n>", "the first n flows that match").argParser(parseCount))
    .option("--all", "all flows of the buffer")
    .option("--since <time>", "flows since then: how long ago (3s, 4m, 1h43m) or a date (RFC 3339)")
    .option("--until <time>", "flows until then");

  command.optionsGroup("Filters (values of one flag: any of them; different flags: all of them):");
  command.option("--not", "turn the next filter: flows that match it are left out");
  command.on("option:not", () => filters.not());
  for (const [flags, description] of [...valued, ...bare]) {
    const option = new Option(flags, description);
    command.addOption(option);
    const name = option.long!.slice(2);
    // In the order of the command line: --not belongs to what comes behind it.
    command.on(`option:${name}`, (value: string | null) => filters.set(name, value ?? ""));
  }
  command
    .option("--allowlist <json>", "a filter as JSON; one of all filters must match (repeatable)", collect)
    .option("--denylist <json>", "a filter as JSON; none must match (repeatable)", collect);

  command.optionsGroup("Output:");
  command
    .addOption(
      new Option("-o, --output <format>", "json and jsonpb: one JSON object a line")
        .choices(flowFormats)
        .default("compact"),
    )
    .option("--print-node-name", "show the node")
    .option("--print-policy-names", "show the policies that decided")
    .option("--numeric", "addresses only")
    .option("--no-ip-translation", "addresses instead of names")
    .addOption(new Option("--time-format <format>", "how times are shown").choices(timeFormats).default("StampMilli"))
    .addOption(new Option("--color <when>", "colours").choices(["auto", "always", "never"]).default("auto"))
    .option("--server <address>", "socket's path, unix:PATH or HOST:PORT; without it, this instance's observer");

  command.action(async (flags: ObserveFlags) => {
    const { output, server = instancePaths().hubbleSocket } = flags;
    if ((output === "tab" || output === "table") && flags.follow === true)
      throw usageError("a table can't be aligned before it ends; use another format with --follow");
    const request = buildRequest(flags, filters);
    const printer = createFlowPrinter({
      format: output,
      colour:
        flags.color === "auto"
          ? picocolors.isColorSupported && process.stdout.isTTY === true
          : flags.color === "always",
      nodeName: flags.printNodeName === true,
      policyNames: flags.printPolicyNames === true,
      numeric: flags.numeric === true || !flags.ipTranslation,
      timeFormat: flags.timeFormat,
      columns: proseColumns(process.stdout),
    });
    const { observe } = await import("./observe.ts");
    await observe(server, request, printer);
  });
}

function parseCount(text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count === 0) throw new InvalidArgumentError("It takes a number of flows, 1 or more.");
  return count;
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
