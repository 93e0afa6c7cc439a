/** Whether the kernel may judge HTTP requests: tested once per boot, kernel and version of the programs, not at each start. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { errorMessage, type Logger } from "#core/runtime";
import type { Kernel } from "#datapath/linux";
import { testKernelHttp } from "#datapath/selftest";
import { objectDirectory } from "./datapath.ts";

/** Why it may not; undefined when it passed its test, now or before. A failed test is repeated by the next agent. */
export async function testHttpOnce(kernel: Kernel, runDir: string, log: Logger): Promise<string | undefined> {
  const file = join(runDir, "http-self-test");
  const subject = subjectOfTest();
  if (readOrNothing(file) === subject) return undefined;
  const { problem, tookMs } = await testKernelHttp(kernel, objectDirectory);
  if (problem !== undefined) {
    log.error({ problem, tookMs }, "HTTP can't be judged in the kernel; the proxy judges");
    return `the self-test failed: ${problem}`;
  }
  log.info({ tookMs }, "HTTP is judged in the kernel: it passed its test");
  try {
    writeFileSync(file, subject);
  } catch (error) {
    // It will be tested again, and that is all.
    log.warn({ file, error: errorMessage(error) }, "result of the self-test not kept");
  }
  return undefined;
}

/** The kernel that runs and the programs that it was given. /run is emptied at boot, and a boot is what changes a kernel. */
function subjectOfTest(): string {
  const hash = createHash("sha256").update(release());
  for (const name of ["endpoint.bpf.o", "http.bpf.o"]) hash.update(readFileSync(join(objectDirectory, name)));
  return hash.digest("hex");
}

function readOrNothing(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined; // never tested here
  }
}
