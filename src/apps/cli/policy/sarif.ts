/** Problems as a SARIF 2.1.0 log, which code scanners' dashboards take. Source: OASIS, Static Analysis Results Interchange Format 2.1.0. */
import type { Problem } from "#contracts/manifest";

const levels = { error: "error", warning: "warning", info: "note" } as const;

/** The log: one run, one rule for each code. Paths stand as they were given, with forward slashes. */
export function sarifLog(problems: readonly Problem[]): object {
  const codes = [...new Set(problems.map(({ code }) => code))].sort();
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "tsilium policy check",
            rules: codes.map((id) => ({ id, shortDescription: { text: id.replaceAll("-", " ") } })),
          },
        },
        columnKind: "utf16CodeUnits",
        results: problems.map((problem) => ({
          ruleId: problem.code,
          ruleIndex: codes.indexOf(problem.code),
          level: levels[problem.severity],
          message: { text: [problem.message, problem.hint].filter((text) => text !== "").join(". Hint: ") },
          ...(problem.file === undefined ? {} : { locations: [location(problem, problem.file)] }),
        })),
      },
    ],
  };
}

function location({ path, line, column, length }: Problem, file: string): object {
  const region = {
    startLine: line ?? 1,
    ...(column === undefined ? {} : { startColumn: column }),
    ...(column === undefined || length === undefined ? {} : { endColumn: column + length }),
  };
  return {
    physicalLocation: { artifactLocation: { uri: encodeURI(file.replaceAll("\\", "/")) }, region },
    ...(path === "" ? {} : { logicalLocations: [{ fullyQualifiedName: path }] }),
  };
}
