import { rmSync } from "node:fs";
import { ensureBpffs } from "./bpffs.ts";
import { openKernel } from "./real-kernel.ts";
import { kernelBehaviour } from "./suite.ts";
import { compileTestObject, skipUnlessSupported, sweepTestNamespaces, sweepTestPins, testName } from "./testing.ts";

kernelBehaviour("the running kernel", () => {
  ensureBpffs();
  sweepTestNamespaces();
  sweepTestPins();
  const pins = `/sys/fs/bpf/${testName()}`;
  return {
    kernel: openKernel(),
    pins,
    probe: compileTestObject(`${import.meta.dirname}/testdata/probe.bpf.c`),
    name: testName,
    supports: skipUnlessSupported,
    close: () => rmSync(pins, { recursive: true, force: true }),
  };
});
