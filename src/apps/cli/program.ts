/**
 * The command tree: names, arguments, flags, help. What a command does is in its own file, loaded when it is called, so that
 * `tsilium run` starts in tens of milliseconds. docs/reference/cli.md is generated from this tree.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { errorMessage } from "#core/runtime";
import { usageError } from "./failure.ts";
import { listFormats } from "./output.ts";
import { collectPair, parseDurationMs } from "./run/flags.ts";

/** Takes the exit code of the command that ran. */
export type Finish = (exitCode: number) => void;

/** Turns what our parsers throw into what commander reports as a usage error. */
function parsed<T>(parse: (text: string, before?: T) => T): (text: string, before: T | undefined) => T {
  return (text, before) => {
    try {
      return parse(text, before);
    } catch (error) {
      throw new InvalidArgumentError(errorMessage(error));
    }
  };
}

const namespaceFlag = () => new Option("-n, --namespace <name>", "namespace").default("default");
const anyNamespaceFlag = () => new Option("-n, --namespace <name>", "namespace");
const listFlag = () => new Option("-o, --output <format>", "how to print").choices(listFormats).default("table");
const textFlag = () =>
  new Option("-o, --output <format>", "how to print").choices(["text", "json", "yaml"]).default("text");
const kubeconfigFlag = () =>
  new Option("--kubeconfig <file>", "API server to talk to; without it, the one of this instance");
const materialFlag = () =>
  new Option("-f, --filename <path>", "manifests of workloads and policies: file, folder or - (repeatable)").argParser(
    collect,
  );
const liveFlag = () => new Option("--live", "workloads and policies of the API server; what -f gives comes on top");
const observerFlag = () =>
  new Option(
    "--server <address>",
    "observer to ask: socket's path, unix:PATH or HOST:PORT; without it, this instance's",
  );
const failOnFlag = () =>
  new Option("--fail-on <change>", "exit code 1 if there is such a change").choices(["gain", "loss", "any"]);
const matrixFormatFlag = () =>
  new Option("-o, --output <format>", "how to print; html is a page that needs nothing else")
    .choices(["text", "json", "yaml", "html"])
    .default("text");
const timeoutFlag = (milliseconds: number) =>
  new Option("--timeout <duration>", "how long --wait waits, e.g. 10s or 500ms")
    .argParser(parsed(parseDurationMs("--timeout")))
    .default(milliseconds, `${milliseconds / 1000}s`);
const envFlag = () =>
  new Option("-e, --env <key=value>", "variable for the command (repeatable)").argParser(parsed(collectPair("--env")));

/**
 * Builds the tree. `finish` gets the exit code of whatever command runs; `registerObserve` adds the command for flows, which is
 * a module of its own.
 */
export function createProgram(finish: Finish, registerObserve?: (program: Command) => void): Command {
  const program = new Command("tsilium")
    .description("eBPF networking, policy and observability for Linux workloads")
    .enablePositionalOptions()
    .showHelpAfterError("(--help shows what there is)")
    .addHelpCommand(new Command("help").argument("[command]").description("help for a command").helpGroup("About:"))
    .configureHelp({ showGlobalOptions: false });

  /** An action that finishes with the exit code its work yields. */
  const does =
    <A extends unknown[]>(work: (...args: A) => Promise<number>) =>
    async (...args: A): Promise<void> =>
      finish(await work(...args));

  program.commandsGroup("Node:");
  program
    .command("up")
    .description("start the node in the foreground: API server, agent, proxy; Ctrl-C ends it and cleans everything up")
    .option("--api-port <port>", "port of the API server on 127.0.0.1", parsed(parsePort), 6443)
    .option("--pod-cidr-ipv4 <prefix>", "addresses for workloads; without it, 10.217.0.0/24")
    .option("--pod-cidr-ipv6 <prefix>", "addresses for workloads; without it, fd10:217::/112")
    .option("--world-device <name>", "device to the world; without it, that of the default route")
    .option("--no-masquerade", "leave source addresses alone on the way to the world")
    .option("--node-name <name>", "name of the Node object; without it, the host's name")
    .addOption(
      new Option("--policy-enforcement <mode>", "who is in default deny: whom policies select, everybody, or nobody")
        .choices(["default", "always", "never"])
        .default("default"),
    )
    .option("--policy-audit", "let through what would be denied, and report it with verdict AUDIT")
    .option(
      "--policy-map-max <entries>",
      "entries that all policies together may have in the kernel; without it, 1048576",
    )
    .addOption(
      new Option(
        "--attach <way>",
        "how programs are attached to devices; without it, TCX where this kernel has it",
      ).choices(["tcx", "clsact"]),
    )
    .option("--socket-redirect", "short-cut TCP between all workloads of this node, not only those annotated for it")
    .option("--keep", "on Ctrl-C leave enforcement and workloads in place, for a restart")
    .option("-v, --verbose", "show what the programs log, not only warnings")
    .action(does(async (flags) => (await import("#apps/standalone")).up(flags)));
  program
    .command("status")
    .description("the agent's state, and what is wrong with it")
    .option("--wait", "wait until it is ready")
    .addOption(timeoutFlag(30_000))
    .addOption(textFlag())
    .action(does(async (flags) => (await import("./inspect/status.ts")).status(flags)));
  program
    .command("doctor")
    .description("what this kernel and this machine can and cannot do, by trying, and what each missing thing costs")
    .addOption(textFlag())
    .action(does(async (flags) => (await import("./node/doctor.ts")).doctor(flags)));
  program
    .command("cleanup")
    .description(
      "remove every trace: workloads, programs, maps, links, routes (the stored objects stay unless --objects)",
    )
    .option("--objects", "remove the stored objects, keys and certificates too")
    .action(does(async (flags) => (await import("./node/cleanup.ts")).cleanup(flags)));
  program
    .command("kubeconfig")
    .description("print the admin's kubeconfig, for kubectl")
    .option("--path", "print where the file is instead")
    .action(does(async (flags) => (await import("./node/kubeconfig.ts")).kubeconfig(flags)));
  program
    .command("demo")
    .description("a story on the terminal: a policy decides over real packets and real HTTP requests")
    .option("--once", "end by itself; exit code 0 only if every result was as told")
    .option("--no-pause", "do not wait between the steps")
    .action(does(async (flags) => (await import("#apps/demo")).demo(flags)));

  const bench = program.command("bench").description("measure on this machine");
  bench
    .command("latency")
    .description(
      "latency by percentile between two workloads: no policy, HTTP rules, installed proxies; needs a running node",
    )
    .addOption(
      new Option("-c, --connections <n,...>", "how many at a time")
        .argParser(parsed(parseCounts("--connections")))
        .default([1, 32], "1,32"),
    )
    .option("--seconds <n>", "how long each measurement takes", parsed(parseCount("--seconds")), 2)
    .option("--rounds <n>", "how often each is repeated; medians count", parsed(parseCount("--rounds")), 3)
    .option("--html <file>", "also draw a picture")
    .addOption(new Option("-o, --output <format>", "how to print").choices(["text", "json"]).default("text"))
    .action(does(async (flags) => (await import("./bench/latency.ts")).benchLatency(flags)));
  // The two ends that `latency` starts in workloads.
  bench
    .command("serve", { hidden: true })
    .argument("<port>", "", parsed(parsePort))
    .action(does(async (port) => (await import("./bench/load.ts")).serve(port)));
  bench
    .command("load", { hidden: true })
    .argument("<url>")
    .argument("<connections>", "", parsed(parseCount("connections")))
    .argument("<seconds>", "", parsed(parseCount("seconds")))
    .action(
      does(async (url, connections, seconds) => (await import("./bench/load.ts")).load(url, connections, seconds)),
    );

  program.commandsGroup("Workloads:");
  program
    .command("run")
    .description("run a command as a workload: own network namespace, address, identity, policy")
    .usage("[options] -- <command...>")
    .argument("<command...>", "command and its arguments, best behind --")
    .option("--name <name>", "name of its Pod; without it, made from the command")
    .addOption(namespaceFlag())
    .addOption(new Option("-l, --label <key=value>", "label (repeatable)").argParser(parsed(collectPair("--label"))))
    .addOption(
      new Option("--annotation <key=value>", "annotation (repeatable)").argParser(parsed(collectPair("--annotation"))),
    )
    .option("--service-account <name>", "service account", "default")
    .addOption(envFlag())
    .option("-d, --detach", "run in the background; prints addresses, pid and the file with the output")
    .option("--keep", "keep the workload when the command has ended")
    .passThroughOptions()
    .action(does(async (command, flags) => (await import("./run/run.ts")).run(command, flags)));
  program
    .command("exec")
    .description("run another command inside a running workload")
    .usage("[options] <name> -- <command...>")
    .argument("<name>", "name of the workload's Pod")
    .argument("<command...>", "command and its arguments, best behind --")
    .addOption(namespaceFlag())
    .addOption(envFlag())
    .passThroughOptions()
    .action(
      does(async (name, words: readonly string[], flags) => {
        // Behind the first argument commander takes "--" for a word of the command.
        const command = words[0] === "--" ? words.slice(1) : words;
        if (command.length === 0) throw usageError("exec takes a command behind --");
        return (await import("./run/run.ts")).exec(name, command, flags);
      }),
    );
  program
    .command("stop")
    .description("end workloads")
    .argument("[names...]", "names of their Pods")
    .addOption(namespaceFlag())
    .option("-a, --all", "all workloads of the node")
    .addOption(
      new Option("--grace <duration>", "time between asking the processes to end and killing them")
        .argParser(parsed(parseDurationMs("--grace")))
        .default(10_000, "10s"),
    )
    .action(does(async (names, flags) => (await import("./run/run.ts")).stop(names, flags)));

  program.commandsGroup("Objects:");
  program
    .command("apply")
    .description("create or update objects; policies are checked first, and nothing is sent if one is refused")
    .requiredOption("-f, --filename <path>", "file, folder or - (repeatable)", collect)
    .addOption(anyNamespaceFlag())
    .option("--wait", "wait until the kernel enforces the policies")
    .addOption(timeoutFlag(10_000))
    .option("--dry-run", "let the API server check, but not store")
    .addOption(kubeconfigFlag())
    .action(does(async (flags) => (await import("./objects/apply.ts")).apply(flags)));
  program
    .command("get")
    .description("show objects")
    .argument("<kind>", "pods, cnp, ccnp, netpol, services, serviceaccounts, namespaces, nodes, cep, ...")
    .argument("[names...]", "only these")
    .addOption(namespaceFlag())
    .option("-A, --all-namespaces", "of all namespaces")
    .option("-l, --selector <query>", "only those with these labels, e.g. app=web,tier!=db")
    .option("--field-selector <query>", "only those with these fields, e.g. status.phase=Running")
    .addOption(listFlag())
    .addOption(kubeconfigFlag())
    .action(does(async (kind, names, flags) => (await import("./objects/get.ts")).get(kind, names, flags)));
  program
    .command("delete")
    .description("delete objects")
    .usage("[options] <kind> <name...> | <kind/name...> | -f <path>")
    .argument("[words...]", "KIND NAME... or KIND/NAME...")
    .option("-f, --filename <path>", "the objects of this file or folder (repeatable)", collect)
    .addOption(anyNamespaceFlag())
    .option("--ignore-not-found", "what is not there is no failure")
    .option("--wait", "wait until the kernel enforces it")
    .addOption(timeoutFlag(10_000))
    .addOption(kubeconfigFlag())
    .action(does(async (words, flags) => (await import("./objects/apply.ts")).deleteObjects(words, flags)));

  const policy = program.command("policy").description("check policies, ask what they do, and see what became of them");
  policy
    .command("check")
    .description("find what is wrong with policies, with place and repair; needs neither root nor a running node")
    .argument("<files...>", "files, folders or -")
    .addOption(
      new Option(
        "-o, --output <format>",
        "how to print; github and sarif mark the places in a pull request, repaired prints only what was meant",
      )
        .choices(["text", "json", "yaml", "github", "sarif", "repaired"])
        .default("text"),
    )
    .option("--fix", "show, as a diff, the files with broken policies as they were probably meant, comments kept")
    .option("--write", "with --fix: write them")
    .addOption(
      new Option(
        "--target <system>",
        "also what plain Cilium would refuse, ignore or read differently: cilium (1.20), cilium@1.19, cilium@1.20",
      ).argParser(parsed(parseTarget)),
    )
    .addOption(materialFlag())
    .addOption(liveFlag())
    .addOption(kubeconfigFlag())
    .action(
      does(async (files, flags) => {
        if (flags.fix) return (await import("./policy/fix.ts")).policyFix(files, flags.write === true);
        if (flags.write) throw usageError("--write goes with --fix");
        return (await import("./policy/check.ts")).policyCheck(files, flags);
      }),
    );
  policy
    .command("explain")
    .description("may A reach B, which rule decides, and what would have to be said instead; needs no node")
    .requiredOption(
      "--from <who>",
      "workload (NAMESPACE/NAME), labels (app=web,tier=db), world, host, ..., address or CIDR",
    )
    .requiredOption("--to <who>", "likewise")
    .option("--port <port>", "destination port: 80/tcp, 53/udp, or a name that the destination gives it")
    .option("--icmp [type]", "ICMP instead of a port; without a type, the echo request")
    .option("--http <request>", 'also judge an HTTP request, e.g. "GET /path"')
    .option("--header <header>", 'a header of it, "Name: value" (repeatable)', collect)
    .addOption(namespaceFlag())
    .addOption(materialFlag())
    .addOption(liveFlag())
    .addOption(kubeconfigFlag())
    .addOption(textFlag())
    .action(does(async (flags) => (await import("./policy/explain.ts")).policyExplain(flags)));
  policy
    .command("simulate")
    .description("who reaches whom on which ports: a matrix of all workloads, the host and the world; needs no node")
    .addOption(materialFlag())
    .addOption(liveFlag())
    .addOption(kubeconfigFlag())
    .addOption(matrixFormatFlag())
    .action(does(async (flags) => (await import("./policy/simulate.ts")).policySimulate(flags)));
  policy
    .command("diff")
    .description(
      "who gains and loses what between two sets of policies; with -f or --live and one path, what applying it changes",
    )
    .usage("[options] OLD NEW | -f BASE NEW | --live NEW")
    .argument("<paths...>", "OLD and NEW: files or folders")
    .addOption(materialFlag())
    .addOption(liveFlag())
    .addOption(kubeconfigFlag())
    .addOption(failOnFlag())
    .addOption(matrixFormatFlag())
    .action(does(async (paths, flags) => (await import("./policy/simulate.ts")).policyDiff(paths, flags)));
  policy
    .command("test")
    .description("hold policies against expectations: who may reach whom, by which rule; needs no node")
    .argument("<tests...>", "test files: YAML, or programs that use node:test and tsilium/policy/testing")
    .addOption(
      new Option(
        "-f, --filename <path>",
        "manifests that come on top of those that the tests name (repeatable)",
      ).argParser(collect),
    )
    .addOption(new Option("--live", "workloads and policies of the API server; what the tests name comes on top"))
    .addOption(kubeconfigFlag())
    .addOption(
      new Option("-o, --output <format>", "how to print")
        .choices(["text", "tap", "junit", "json", "yaml"])
        .default("text"),
    )
    .action(does(async (files, flags) => (await import("./policy/test.ts")).policyTest(files, flags)));
  policy
    .command("replay")
    .description("recorded flows against policies: every flow whose verdict would change, and what can't be judged")
    .usage("[options] -f POLICIES [flows.json...]")
    .argument("[flows...]", "files of `observe -o json`, or - ; without any, what the node's observer still holds")
    .addOption(materialFlag())
    .addOption(liveFlag())
    .addOption(kubeconfigFlag())
    .addOption(observerFlag())
    .addOption(failOnFlag())
    .addOption(
      new Option("-o, --output <format>", "how to print").choices(["text", "table", "json", "yaml"]).default("text"),
    )
    .action(does(async (paths, flags) => (await import("./policy/replay.ts")).policyReplay(paths, flags)));
  policy
    .command("suggest")
    .description("least-privilege policies from recorded flows, each rule with the evidence that it rests on")
    .usage("[options] [flows.json...]")
    .argument("[flows...]", "files of `observe -o json`, or - ; without any, what the node's observer still holds")
    .option("--http", "HTTP rules where requests were recorded; ids in paths are generalised")
    .addOption(new Option("-n, --namespace <name>", "only policies for workloads of the namespace"))
    .addOption(
      new Option("-f, --filename <path>", "manifests of more workloads, to be told apart (repeatable)").argParser(
        collect,
      ),
    )
    .addOption(new Option("--live", "the same from the API server"))
    .addOption(kubeconfigFlag())
    .addOption(observerFlag())
    .addOption(new Option("-o, --output <format>", "how to print").choices(["yaml", "json"]).default("yaml"))
    .action(does(async (paths, flags) => (await import("./policy/suggest.ts")).policySuggest(paths, flags)));
  policy
    .command("get")
    .description("the policies as the agent took them: state, problems, subjects")
    .argument("[name]", "only this one")
    .addOption(anyNamespaceFlag())
    .addOption(listFlag())
    .action(does(async (name, flags) => (await import("./objects/policy-get.ts")).getPolicies(name, flags)));

  program.commandsGroup("Flows:");
  registerObserve?.(program);

  program.commandsGroup("Inside:");
  const endpoint = program.command("endpoint").description("attachments of workloads to the network");
  endpoint
    .command("list")
    .description("all endpoints of the node")
    .addOption(listFlag())
    .action(does(async (flags) => (await import("./inspect/endpoint.ts")).listEndpoints(flags)));
  endpoint
    .command("get")
    .description("one endpoint: addresses, identity, labels, and each policy entry with the rules it comes from")
    .argument("<endpoint>", "number, POD or NAMESPACE/POD")
    .addOption(namespaceFlag())
    .addOption(textFlag())
    .action(does(async (wanted, flags) => (await import("./inspect/endpoint.ts")).getEndpoint(wanted, flags)));
  program
    .command("identity")
    .description("numeric identities")
    .command("list")
    .description("all identities that the agent knows, and the labels they stand for")
    .addOption(listFlag())
    .action(does(async (flags) => (await import("./inspect/endpoint.ts")).listIdentities(flags)));
  const map = program.command("map").description("what the kernel's maps hold");
  map
    .command("list")
    .description("all maps")
    .addOption(listFlag())
    .action(does(async (flags) => (await import("./inspect/map.ts")).listMaps(flags)));
  map
    .command("show")
    .description("every entry of a map, decoded")
    .argument("<name>", "policy, ipcache, endpoints, ct4, ct6, ...")
    .addOption(listFlag())
    .action(does(async (name, flags) => (await import("./inspect/map.ts")).showMap(name, flags)));

  program.commandsGroup("About:");
  program
    .command("version")
    .description("versions of tsilium, Node and the kernel")
    .addOption(textFlag())
    .action(does(async (flags) => (await import("./node/version.ts")).version(flags)));
  program
    .command("completion")
    .description("a script that completes commands: source <(tsilium completion bash)")
    .argument("<shell>", "bash")
    .action(
      does(async (shell: string) => {
        if (shell !== "bash")
          program.error(`error: there is completion for bash only, not for ${shell}`, { exitCode: 2 });
        process.stdout.write((await import("./completion.ts")).bashCompletion(program));
        return 0;
      }),
    );
  return program;
}

const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

function parseTarget(text: string): string {
  const version = { cilium: "1.20", "cilium@1.19": "1.19", "cilium@1.20": "1.20" }[text];
  if (version === undefined) throw new InvalidArgumentError("a target is cilium, cilium@1.19 or cilium@1.20");
  return version;
}

/** A whole number from 1 to 1000. */
function parseCount(what: string) {
  return (text: string): number => {
    if (!/^[0-9]{1,4}$/.test(text) || Number(text) < 1 || Number(text) > 1000)
      throw usageError(`${what} takes a whole number from 1 to 1000, but was given "${text}"`);
    return Number(text);
  };
}

/** Several of them, parted by commas. */
function parseCounts(what: string) {
  return (text: string): number[] => text.split(",").map(parseCount(what));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535)
    throw new InvalidArgumentError("a port is a number from 1 to 65535");
  return port;
}
