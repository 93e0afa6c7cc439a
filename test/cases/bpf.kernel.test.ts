/** Every case file with flows against the programs in the kernel: packets in, verdicts and events out. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DatapathRig } from "../packet/rig.ts";
import { casePods, checkFlow, loadIntoKernel } from "./bpf-runner.ts";
import { parseCaseFile } from "./case-file.ts";
import { loadCase } from "./run-case.ts";

const folder = join(import.meta.dirname, "policy");
const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".txtar"))
  .sort()
  .map((name) => ({ name: name.replace(".txtar", ""), file: parseCaseFile(readFileSync(join(folder, name), "utf8")) }))
  .filter(({ file }) => file.flows.length > 0);

describe("the kernel judges as the case files say", () => {
  let rig: DatapathRig;
  before(() => {
    const size = Math.max(...cases.map(({ file }) => file.endpoints.length));
    rig = new DatapathRig({ size, pods: casePods });
  });
  after(() => rig?.close());

  for (const { name, file } of cases)
    test(`${name}: ${file.description}`, async () => {
      const loaded = loadCase(file);
      await loadIntoKernel(rig, file, loaded);
      rig.forget();
      for (const flow of file.flows) checkFlow(rig, loaded, file, flow);
    });
});
