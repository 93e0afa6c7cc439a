/**
 * Tests of policies: what is expected of connections, in words and in files, held against a world. A failure carries the whole
 * explanation. Pure: reads no files.
 * @module
 */
export { type Expectation, ExpectationError, type Expected, type ExpectedEnd, expectIn } from "./expectation.ts";
export { type CaseResult, formatJunit, formatTap } from "./report.ts";
export { type PolicyTest, parseTestFile, runTests, type TestFile } from "./test-file.ts";
