/**
 * Tests of policies in code: what `import ... from "tsilium/policy/testing"` gives. Goes with every test runner: a connection
 * that is not as expected throws an AssertionError whose message is the explanation.
 * @module
 */
import { type Expectation, expectIn } from "#control/testkit";
import type { World } from "#control/workbench";
import { judgeRequest } from "#proxy/policy";
import { makeWholeWorld, readWorldObjects } from "./objects.ts";

export { type Expectation, ExpectationError, type Expected, type ExpectedEnd } from "#control/testkit";
export { loadWorld as loadPolicies } from "./objects.ts";

/**
 * Begins an expectation about policies: those of `loadPolicies`, YAML text, or plain objects. Throws POLICY_REFUSED if one of them
 * is refused, since then something else would be tested.
 */
export function expect(policies: World | string | readonly object[]): Expectation {
  if (typeof policies === "string")
    return expectIn(makeWholeWorld(readWorldObjects([{ file: "policies", text: policies }])), judgeRequest);
  if (isWorld(policies)) return expectIn(policies, judgeRequest);
  return expectIn(makeWholeWorld(policies.map((object) => ({ object }))), judgeRequest);
}

function isWorld(value: World | readonly object[]): value is World {
  return "engine" in value;
}
