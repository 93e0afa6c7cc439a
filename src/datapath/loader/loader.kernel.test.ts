import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { ensureBpffs, openKernel } from "#datapath/linux";
import { sweepTestNamespaces, sweepTestPins, testName } from "#datapath/linux/testing";
import { mapDefinitions, shapeMismatch } from "#datapath/maps";
import { loaderBehaviour } from "./suite.ts";

const objectDirectory = resolve(import.meta.dirname, "../../../build/bpf");

loaderBehaviour("the loader on the running kernel", () => {
  ensureBpffs();
  sweepTestNamespaces();
  sweepTestPins();
  return { kernel: openKernel(), objectDirectory, name: testName };
});

describe("the compiled objects", () => {
  for (const file of ["endpoint.bpf.o", "network.bpf.o"]) {
    it(`${file}: every map with typed rows is of its definition's shape`, () => {
      for (const spec of openKernel().bpf.inspectObject(`${objectDirectory}/${file}`).maps) {
        const definition = Object.values(mapDefinitions).find(({ name }) => name === spec.name);
        if (definition !== undefined) assert.equal(shapeMismatch<never, never>(definition as never, spec), undefined);
      }
    });
  }
});
