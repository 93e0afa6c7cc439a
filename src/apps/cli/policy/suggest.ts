/** `tsilium policy suggest`: least-privilege policies from recorded flows. */
import { EvidenceCollector, type Suggestion, suggestPolicies } from "#control/replay";
import { TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { note, print, printStructured } from "../output.ts";
import { makeWorld, readMaterial } from "./material.ts";
import { asksForMaterial, type MaterialFlags } from "./material-flags.ts";
import { openRecording, type RecordingFlags } from "./recording.ts";

/** Flags of `policy suggest`. */
export interface SuggestFlags extends MaterialFlags, RecordingFlags {
  readonly http?: boolean;
  readonly namespace?: string;
  readonly output: "yaml" | "json";
}

/** Prints policies; what they rest on goes to stderr. Throws NOTHING_RECORDED where no flow can be used. */
export async function policySuggest(paths: readonly string[], flags: SuggestFlags): Promise<number> {
  const material = asksForMaterial(flags) ? await readMaterial(flags) : [];
  const { clusterName, lines } = await openRecording(paths, flags);
  const collector = new EvidenceCollector(makeWorld(material, clusterName === undefined ? {} : { clusterName }));
  for await (const line of lines) collector.addLine(line);
  const suggestion = suggestPolicies(collector.result(), {
    http: flags.http === true,
    ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }),
  });
  if (suggestion.policies.length === 0)
    throw new TsiliumError(
      "NOTHING_RECORDED",
      `of ${suggestion.flows} flows none shows an allowed connection of a workload; record some with \`tsilium observe --all -o json\``,
    );
  if (flags.output === "json") await printStructured("json", suggestion);
  else print(suggestion.policies.map(({ yaml }) => yaml).join("---\n"));
  note(summary(suggestion));
  return ExitCode.ok;
}

function summary({ policies, flows, covered, left }: Suggestion): string {
  const count = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
  return [
    `${count(policies.length, "policy", "policies")} from ${covered} of ${count(flows, "flow")}`,
    ...left.map((one) => `  ${one.count} not used: ${one.text}`),
  ].join("\n");
}
