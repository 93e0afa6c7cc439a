/** Results of tests in the forms that continuous integration reads. */

/** One test that was run. */
export interface CaseResult {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly ok: boolean;
  /** Of a failure: what was expected, and the explanation. */
  readonly message?: string;
  readonly durationMs?: number;
}

/** TAP version 14. Source: testanything.org. */
export function formatTap(results: readonly CaseResult[]): string {
  const lines = results.flatMap(({ ok, name, file, line, message }, i) => {
    const title = name.replaceAll(/[\\#]/g, "\\$&").replaceAll("\n", " ");
    const head = `${ok ? "ok" : "not ok"} ${i + 1} - ${title}`;
    if (ok) return [head];
    const text = (message ?? "").trimEnd().split("\n");
    return [
      head,
      "  ---",
      `  at: ${JSON.stringify(`${file}:${line}`)}`,
      "  message: |-",
      ...text.map((one) => `    ${one}`),
      "  ...",
    ];
  });
  return `${["TAP version 14", `1..${results.length}`, ...lines].join("\n")}\n`;
}

const escaped: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const xml = (text: string) =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 has no way to write them
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "")
    .replaceAll(/[&<>"]/g, (character) => escaped[character]!);

/** JUnit's XML, one suite a file. */
export function formatJunit(results: readonly CaseResult[]): string {
  const count = (of: readonly CaseResult[]) => `tests="${of.length}" failures="${of.filter(({ ok }) => !ok).length}"`;
  const suites = [...new Set(results.map(({ file }) => file))].flatMap((file) => {
    const own = results.filter((one) => one.file === file);
    return [
      `  <testsuite name="${xml(file)}" ${count(own)}>`,
      ...own.map(({ name, line, ok, message = "", durationMs = 0 }) => {
        const open = `    <testcase name="${xml(name)}" classname="${xml(file)}" file="${xml(file)}" line="${line}" time="${(durationMs / 1000).toFixed(3)}"`;
        const [first = ""] = message.split("\n");
        return ok
          ? `${open}/>`
          : `${open}>\n      <failure message="${xml(first)}">${xml(message)}</failure>\n    </testcase>`;
      }),
      "  </testsuite>",
    ];
  });
  return `${['<?xml version="1.0" encoding="UTF-8"?>', `<testsuites ${count(results)}>`, ...suites, "</testsuites>"].join("\n")}\n`;
}
