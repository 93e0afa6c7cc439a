import assert from "node:assert/strict";
import { release } from "node:os";
import { describe, it } from "node:test";
import { type Feature, probeFeatures } from "./features.ts";
import { networkNamespaces } from "./netns.ts";

describe("kernel features, tried", () => {
  const features = new Map(probeFeatures().map((feature) => [feature.name, feature]));
  const newEnough = ({ since }: Feature) => {
    const [major = 0, minor = 0] = since.split(".").map(Number);
    const [ours = 0, less = 0] = release().split(".").map(Number);
    return ours > major || (ours === major && less >= minor);
  };

  for (const name of [
    "BPF system call",
    "BPF file system",
    "cgroup2",
    "tc (clsact)",
    "TCX",
    "XDP, native on veth",
    "cgroup connect4",
    "sk_assign",
    "sk_lookup",
    "redirect_peer",
    "bpf_loop",
    "LRU hash",
    "LPM trie with batches",
    "ring buffer",
  ]) {
    it(`${name} works on every kernel that is new enough`, () => {
      const feature = features.get(name)!;
      assert.equal(feature.works, newEnough(feature), feature.detail);
    });
  }

  it("what depends on the kernel's build says why it doesn't work", () => {
    for (const feature of features.values()) {
      assert.equal(feature.works, feature.detail === "", feature.name);
      for (const text of [feature.how, feature.cost, feature.since]) assert.notEqual(text, "");
    }
  });

  it("nothing is left behind", () => {
    assert.deepEqual(
      networkNamespaces.list().filter((name) => name === `tsilium-probe-${process.pid}`),
      [],
    );
  });
});
