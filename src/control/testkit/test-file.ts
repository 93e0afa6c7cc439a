/** Test files: expectations as YAML. Problems have field paths; the reader of the file knows the lines. */
import type { Problem } from "#contracts/manifest";
import { nearest } from "#control/policy";
import { parseRequest, type RequestJudge, type World } from "#control/workbench";
import { ExpectationError, type Expected, type ExpectedEnd, expectIn } from "./expectation.ts";
import type { CaseResult } from "./report.ts";

/** One expectation; where several ends or ports are given, it holds for each combination. */
export interface PolicyTest {
  readonly name: string;
  readonly namespace: string;
  readonly from: readonly ExpectedEnd[];
  readonly to: readonly ExpectedEnd[];
  readonly on: readonly string[];
  /** `METHOD TARGET`. */
  readonly http?: string;
  /** `Name: value`. */
  readonly headers: readonly string[];
  readonly expect: Expected;
  /** Where it stands in the file. */
  readonly path: string;
}

/** What a test file says. */
export interface TestFile {
  /** Files and folders of policies and workloads, relative to the file. */
  readonly manifests: readonly string[];
  readonly tests: readonly PolicyTest[];
}

const fileFields = ["manifests", "namespace", "tests"];
const testFields = ["name", "namespace", "from", "to", "on", "http", "headers", "expect"];
const expectations = ["allowed", "denied"];

/** Reads a document; a test file with any problem is not run. Never throws. */
export function parseTestFile(value: unknown): { readonly file?: TestFile; readonly problems: readonly Problem[] } {
  const reader = new Reader();
  const fields = reader.map(value, "", "a test file", fileFields);
  if (fields === undefined) return { problems: reader.problems };
  const manifests = reader.texts(fields.manifests, "manifests");
  const namespace = reader.text(fields.namespace, "namespace") ?? "default";
  const items = Array.isArray(fields.tests) ? fields.tests : [];
  if (items.length === 0)
    reader.error(
      "tests",
      "missing-field",
      "there is no test",
      "add tests: [{from: ..., to: ..., on: 80/tcp, expect: allowed}]",
    );
  const tests = items.flatMap((item, i) => reader.test(item, `tests[${i}]`, namespace) ?? []);
  if (reader.problems.length > 0) return { problems: reader.problems };
  return { file: { manifests, tests }, problems: [] };
}

/** Holds every test against a world; one result for each combination of ends and ports. */
export function runTests(
  world: World,
  { tests }: TestFile,
  judge: RequestJudge,
  file: string,
  locate: (path: string) => number,
): CaseResult[] {
  return tests.flatMap((one) => {
    const combinations = one.from.flatMap((from) => one.to.flatMap((to) => one.on.map((on) => ({ from, to, on }))));
    return combinations.map(({ from, to, on }): CaseResult => {
      const several = combinations.length > 1 ? ` (${endText(from)} to ${endText(to)} ${on})` : "";
      const base = { file, line: locate(one.path), name: `${one.name}${several}` };
      try {
        expectOne(world, judge, one, from, to, on);
        return { ...base, ok: true };
      } catch (error) {
        if (error instanceof ExpectationError) return { ...base, ok: false, message: error.message };
        // Words that mean nothing in this world: a workload or a port that is not there.
        if (error instanceof TypeError) return { ...base, ok: false, message: error.message };
        throw error;
      }
    });
  });
}

function expectOne(
  world: World,
  judge: RequestJudge,
  { namespace, http, headers, expect }: PolicyTest,
  from: ExpectedEnd,
  to: ExpectedEnd,
  on: string,
): void {
  const connection = expectIn(world, judge, namespace).from(from).to(to).on(on);
  if (http === undefined) return void connection.is(expect);
  const request = parseRequest(http, headers);
  if (typeof request === "string") throw new TypeError(request);
  const { method, target, host } = request;
  connection.http(method, target, { host, headers: Object.fromEntries(request.headers) }).is(expect);
}

function endText(end: ExpectedEnd): string {
  if (typeof end === "string") return end;
  return Object.entries(end)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

class Reader {
  readonly problems: Problem[] = [];

  error(path: string, code: string, message: string, hint = ""): undefined {
    this.problems.push({ path, code, severity: "error", message, hint });
  }

  map(
    value: unknown,
    path: string,
    what: string,
    known: readonly string[],
  ): Readonly<Record<string, unknown>> | undefined {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return this.error(path, "wrong-type", `${what} is a map with ${known.join(", ")}`);
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      const near = nearest(key, known);
      const hint = near === undefined ? `known: ${known.join(", ")}` : `write ${near}`;
      this.error(path === "" ? key : `${path}.${key}`, "unknown-field", `${what} has no field "${key}"`, hint);
    }
    return value as Readonly<Record<string, unknown>>;
  }

  text(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value === "string" || typeof value === "number") return String(value);
    return this.error(path, "wrong-type", "expected text");
  }

  /** One text or a list of them. */
  texts(value: unknown, path: string): string[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) return [this.text(value, path)].filter((text) => text !== undefined);
    return value.flatMap((item, i) => this.text(item, `${path}[${i}]`) ?? []);
  }

  test(value: unknown, path: string, fileNamespace: string): PolicyTest | undefined {
    const before = this.problems.length;
    const fields = this.map(value, path, "a test", testFields);
    if (fields === undefined) return undefined;
    const from = this.ends(fields.from, `${path}.from`);
    const to = this.ends(fields.to, `${path}.to`);
    const on = this.texts(fields.on, `${path}.on`);
    for (const [name, list] of [
      ["from", from],
      ["to", to],
      ["on", on],
    ] as const)
      if (list.length === 0 && (fields[name] === undefined || fields[name] === null))
        this.error(
          path,
          "missing-field",
          `the test has no "${name}"`,
          name === "on" ? "add on: 80/tcp" : `add ${name}: {app: ...}`,
        );
    const http = this.text(fields.http, `${path}.http`);
    const headers = this.texts(fields.headers, `${path}.headers`);
    if (http !== undefined) {
      const request = parseRequest(http, headers);
      if (typeof request === "string") this.error(`${path}.http`, "invalid-value", request);
    } else if (headers.length > 0) this.error(`${path}.headers`, "conflict", "headers go with http");
    const expect = this.expected(fields.expect, path);
    if (this.problems.length > before || expect === undefined) return undefined;
    const said = http === undefined ? "" : ` ${http}`;
    const name =
      this.text(fields.name, `${path}.name`) ??
      `${from.map(endText).join(", ")} to ${to.map(endText).join(", ")} ${on.join(", ")}${said} is ${expect.kind}${"policy" in expect ? ` ${expect.policy}` : ""}`;
    const namespace = this.text(fields.namespace, `${path}.namespace`) ?? fileNamespace;
    return { name, namespace, from, to, on, headers, expect, path, ...(http === undefined ? {} : { http }) };
  }

  ends(value: unknown, path: string): ExpectedEnd[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value.flatMap((item, i) => this.ends(item, `${path}[${i}]`));
    if (typeof value === "string") return [value];
    if (typeof value !== "object") {
      this.error(path, "wrong-type", "an end is labels, such as {app: web}, or words, such as shop/web or world");
      return [];
    }
    const labels = Object.entries(value).flatMap(([key, label]) => {
      const text = this.text(label, `${path}.${key}`);
      return text === undefined ? [] : [[key, text] as const];
    });
    if (labels.length === 0) this.error(path, "invalid-value", "an end needs at least one label");
    return [Object.fromEntries(labels)];
  }

  expected(value: unknown, path: string): Expected | undefined {
    const place = `${path}.expect`;
    if (value === undefined || value === null)
      return this.error(path, "missing-field", 'the test has no "expect"', "add expect: allowed, or denied");
    if (value === "allowed" || value === "denied") return { kind: value };
    if (typeof value === "string") {
      const near = nearest(value, expectations);
      return this.error(
        place,
        "invalid-value",
        `found "${value}", expected allowed, denied, {allowedBy: POLICY} or {deniedBy: POLICY}`,
        near === undefined ? "" : `write ${near}`,
      );
    }
    const fields = this.map(value, place, "expect", ["allowedBy", "deniedBy"]);
    for (const kind of ["allowedBy", "deniedBy"] as const) {
      const policy = this.text(fields?.[kind], `${place}.${kind}`);
      if (policy !== undefined) return { kind, policy };
    }
    return fields === undefined
      ? undefined
      : this.error(place, "missing-field", "say by which policy: {deniedBy: NAME}");
  }
}
