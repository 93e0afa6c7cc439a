/** `tsilium apply` and `delete`: checked here first, then sent. */
import { isDeepStrictEqual } from "node:util";
import colours from "picocolors";
import type { KubeClient, KubeObject, Status } from "#contracts/kube";
import { formatProblems, type Problem, readSources, type Source } from "#contracts/manifest";
import { isPolicyKind } from "#control/policy";
import { proseColumns, TsiliumError, wrapProse } from "#core/runtime";
import { connectKube, withKube } from "../connect.ts";
import { ExitCode } from "../exit-codes.ts";
import { reportFailure, usageError } from "../failure.ts";
import { withAgent } from "../inspect/endpoint.ts";
import { note, print } from "../output.ts";
import { checkSources, formatCheck, hasErrors } from "../policy/check.ts";
import { notFound } from "./get.ts";
import { findKind, objectTitle } from "./kinds.ts";
import { readObjects, type WrittenObject } from "./manifests.ts";

/** Flags of `apply`. */
export interface ApplyFlags {
  readonly filename: readonly string[];
  readonly namespace?: string;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly dryRun?: boolean;
  readonly kubeconfig?: string;
}

const fieldManager = "tsilium";
/** Kinds that the agent makes policy of: what `--wait` waits for. */
const isWaitedFor = (kind: string): boolean => isPolicyKind(kind) || kind === "CiliumCIDRGroup";

/** Creates or updates every object of the files. If one is refused by the check, nothing is sent. */
export async function apply(flags: ApplyFlags): Promise<number> {
  const sources = await readSources(flags.filename);
  const result = await checkSources(sources, true);
  // What is merely worth knowing is for `policy check`.
  const telling = result.problems.filter(({ severity }) => severity !== "info");
  const found = formatCheck({ ...result, problems: telling }, sources);
  if (found !== "") process.stderr.write(wrapProse(found, proseColumns(process.stderr)));
  if (hasErrors(result)) {
    note(`${colours.red("refused:")} nothing was applied; what was in force stays in force`);
    return ExitCode.failed;
  }
  const client = await connectKube(flags.kubeconfig);
  let code: number = ExitCode.ok;
  const applied: { readonly written: WrittenObject; readonly object: KubeObject }[] = [];
  try {
    for (const written of inOrder(result.objects)) {
      try {
        const { object, change } = await applyOne(client, written, flags);
        applied.push({ written, object });
        print(
          `${objectTitle(written.resource, object.metadata.name ?? "")} ${change}${flags.dryRun === true ? " (dry run)" : ""}`,
        );
      } catch (error) {
        code = reportRefusal(error, written, sources);
      }
    }
  } finally {
    client.close();
  }
  if (flags.wait === true && flags.dryRun !== true && code === ExitCode.ok)
    return waitUntilEnforced(applied, flags.timeout);
  return code;
}

/** Namespaces and service accounts first, so that what needs them finds them. */
function inOrder(objects: readonly WrittenObject[]): WrittenObject[] {
  const rank = ({ resource }: WrittenObject) => ["Namespace", "ServiceAccount"].indexOf(resource.kind);
  return objects.toSorted((a, b) => (rank(a) < 0 ? 9 : rank(a)) - (rank(b) < 0 ? 9 : rank(b)));
}

async function applyOne(
  client: KubeClient,
  { object, resource }: WrittenObject,
  flags: Pick<ApplyFlags, "namespace" | "dryRun">,
): Promise<{ readonly object: KubeObject; readonly change: "created" | "configured" | "unchanged" }> {
  const ref = { name: object.metadata.name!, ...namespaceOf(object, resource.namespaced, flags.namespace) };
  const before = await client.get(resource.kind, ref);
  const wanted = { ...object, metadata: { ...object.metadata, ...ref } };
  const after: KubeObject = await client.patch(resource.kind, ref, wanted, {
    type: "apply",
    fieldManager,
    force: true,
    ...(flags.dryRun === true ? { dryRun: true } : {}),
  });
  if (before === undefined) return { object: after, change: "created" };
  return { object: after, change: sameContent(before, after) ? "unchanged" : "configured" };
}

/** Whether two versions say the same; who owns which field is book-keeping. */
function sameContent(a: KubeObject, b: KubeObject): boolean {
  const content = ({ metadata, ...rest }: KubeObject) => {
    const { managedFields: _fields, resourceVersion: _version, ...kept } = metadata;
    return { ...rest, metadata: kept };
  };
  return isDeepStrictEqual(content(a), content(b));
}

function namespaceOf(
  object: KubeObject,
  namespaced: boolean,
  flag: string | undefined,
): { readonly namespace?: string } {
  if (!namespaced) return {};
  const own = object.metadata.namespace;
  if (own !== undefined && flag !== undefined && own !== flag) {
    throw usageError(`the object ${object.metadata.name} is in namespace ${own}, but -n says ${flag}`);
  }
  return { namespace: own ?? flag ?? "default" };
}

/** A refusal of the API server names fields; they are shown in the text they came from. */
function reportRefusal(
  error: unknown,
  { manifest, root, object, resource }: WrittenObject,
  sources: readonly Source[],
): number {
  const causes =
    error instanceof TsiliumError ? (error.details.status as Status | undefined)?.details?.causes : undefined;
  const problems: Problem[] = (causes ?? [])
    .filter((cause) => cause.field !== undefined)
    .map((cause) => ({
      path: root === "" ? cause.field! : `${root}.${cause.field}`,
      code: (cause.reason ?? "invalid").replace(/^FieldValue/, "").toLowerCase(),
      severity: "error",
      message: cause.message ?? "refused",
      hint: "",
    }));
  if (problems.length === 0) return reportFailure(error);
  const texts = new Map(sources.map(({ file, text }) => [file, text]));
  process.stderr.write(formatProblems(manifest.locateProblems(problems), texts));
  const title = objectTitle(resource, object.metadata.name ?? "");
  note(`${colours.red("refused:")} the API server did not take ${title}; what it had stays`);
  return ExitCode.failed;
}

async function waitUntilEnforced(
  applied: readonly { readonly written: WrittenObject; readonly object: KubeObject }[],
  timeoutMs: number,
): Promise<number> {
  const policies = applied.filter(({ written }) => isWaitedFor(written.resource.kind));
  return withAgent(async (agent) => {
    let code: number = ExitCode.ok;
    for (const { written, object } of policies) {
      const { name, namespace, resourceVersion } = object.metadata;
      const result = await agent.waitForPolicy({
        kind: written.resource.kind,
        ...(namespace === undefined ? {} : { namespace }),
        ...(name === undefined ? {} : { name }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
        timeoutMs,
      });
      const title = objectTitle(written.resource, name ?? "");
      if (result.enforced) {
        print(`${title} enforced`);
        continue;
      }
      const { missing, problems } = result;
      code = reportFailure(
        missing === undefined
          ? new TsiliumError(
              "POLICY_NOT_ENFORCED",
              `${title} is stored, but not all of it is enforced; \`tsilium status\` says when that changes`,
              { details: { problems } },
            )
          : new TsiliumError(
              "TIMED_OUT",
              `${title} is not enforced after ${result.waitedMs} ms: waiting for ${[missing, ...problems].join("; ")}`,
            ),
      );
    }
    return code;
  });
}

/** Flags of `delete`. */
export interface DeleteFlags {
  readonly filename?: readonly string[];
  readonly namespace?: string;
  readonly ignoreNotFound?: boolean;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly kubeconfig?: string;
}

/** Deletes objects named on the command line (`KIND NAME...` or `KIND/NAME...`) or in files. Exit code 1 if one was not there. */
export async function deleteObjects(words: readonly string[], flags: DeleteFlags): Promise<number> {
  const targets =
    flags.filename === undefined ? namedTargets(words, flags.namespace) : await writtenTargets(words, flags);
  const code = await withKube(flags.kubeconfig, async (client) => {
    let worst: number = ExitCode.ok;
    for (const { resource, name, namespace } of targets) {
      const there = await client.delete(resource.kind, { name, ...(namespace === undefined ? {} : { namespace }) });
      if (there) print(`${objectTitle(resource, name)} deleted`);
      else if (flags.ignoreNotFound !== true) worst = reportFailure(notFound(objectTitle(resource, name), namespace));
    }
    return worst;
  });
  if (flags.wait !== true || code !== ExitCode.ok) return code;
  return withAgent(async (agent) => {
    for (const { resource, name, namespace } of targets.filter(({ resource }) => isWaitedFor(resource.kind))) {
      const result = await agent.waitForPolicy({
        kind: resource.kind,
        name,
        ...(namespace === undefined ? {} : { namespace }),
        absent: true,
        timeoutMs: flags.timeout,
      });
      if (!result.enforced) {
        return reportFailure(
          new TsiliumError(
            "TIMED_OUT",
            `${objectTitle(resource, name)} still acts after ${result.waitedMs} ms: ${result.missing ?? ""}`,
          ),
        );
      }
    }
    return ExitCode.ok;
  });
}

interface Target {
  readonly resource: WrittenObject["resource"];
  readonly name: string;
  readonly namespace?: string;
}

function namedTargets(words: readonly string[], namespace = "default"): Target[] {
  const pairs: (readonly [kind: string, name: string])[] = words.every((word) => word.includes("/"))
    ? words.map((word) => [word.slice(0, word.indexOf("/")), word.slice(word.indexOf("/") + 1)])
    : words.slice(1).map((name) => [words[0]!, name]);
  if (pairs.length === 0) throw usageError("delete takes KIND NAME..., KIND/NAME... or -f FILE");
  return pairs.map(([kind, name]) => {
    const resource = findKind(kind);
    return { resource, name, ...(resource.namespaced ? { namespace } : {}) };
  });
}

async function writtenTargets(words: readonly string[], flags: DeleteFlags): Promise<Target[]> {
  if (words.length > 0) throw usageError("delete takes either names or -f FILE");
  const sources = await readSources(flags.filename ?? []);
  const { objects, problems } = readObjects(sources);
  if (problems.some(({ severity }) => severity === "error")) {
    process.stderr.write(formatProblems(problems, new Map(sources.map(({ file, text }) => [file, text]))));
    throw new TsiliumError("MANIFEST_UNREADABLE", "nothing was deleted: not every object of the files can be named");
  }
  return objects.map(({ object, resource }) => ({
    resource,
    name: object.metadata.name!,
    ...namespaceOf(object, resource.namespaced, flags.namespace),
  }));
}
