import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { TsiliumError } from "#core/runtime";
import { KernelError } from "./errors.ts";
import { openKernel } from "./real-kernel.ts";
import { compileTestObject } from "./testing.ts";

const { bpf } = openKernel();

describe("a program that the verifier refuses", () => {
  const object = compileTestObject(`${import.meta.dirname}/testdata/refused.bpf.c`);

  it("is named, with the reason in one line and the whole log in the details", () => {
    assert.throws(
      () => bpf.loadObject(object),
      (e) => {
        assert.ok(e instanceof KernelError);
        assert.equal(e.code, "VERIFIER_REJECTED");
        assert.match(e.message, /^load program reads_past_end of refused\.bpf\.o: the verifier refused it: /);
        assert.match(e.message, /R1 offset is outside of the packet/);
        assert.match(e.message, /\(\d+ lines omitted\)/);
        assert.ok(!e.message.includes("\n"));
        assert.match(String(e.details.verifierLog), /invalid access to packet/);
        return true;
      },
    );
  });

  it("doesn't keep others of its object from being loaded", () => {
    const loaded = bpf.loadObject(object, { programs: ["fine"] });
    assert.equal(loaded.programs.fine!.testRun({ packet: new Uint8Array(14) }).result, 0);
    loaded.close();
  });
});

describe("what is no BPF object", () => {
  it("a file that isn't there", () => {
    assert.throws(() => bpf.inspectObject("/nowhere.bpf.o"), (e) => e instanceof TsiliumError && e.code === "BAD_OBJECT" && /\/nowhere\.bpf\.o: ENOENT/.test(e.message)); // biome-ignore format: one row
  });

  it("a file of something else", () => {
    const file = compileTestObject(`${import.meta.dirname}/testdata/refused.bpf.c`);
    writeFileSync(file, "#!/bin/sh\n");
    assert.throws(() => bpf.loadObject(file), (e) => e instanceof TsiliumError && e.code === "BAD_OBJECT"); // biome-ignore format: one row
  });
});
