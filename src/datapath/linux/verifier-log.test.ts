import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { summarizeVerifierLog } from "./verifier-log.ts";

describe("the telling lines of a verifier log", () => {
  const cases: Record<string, { log: string; message: string }> = {
    "the reason, with the source line before it": {
      log: "func#0 @0\n0: R1=ctx() R10=fp0\n; return data[14]; @ x.c:19\n0: (61) r1 = *(u32 *)(r1 +76)\n1: (71) r0 = *(u8 *)(r1 +14)\ninvalid access to packet, off=14 size=1, R1(id=0,off=14,r=0)\nR1 offset is outside of the packet\nprocessed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
      message: "; return data[14]; @ x.c:19: R1 offset is outside of the packet (5 lines omitted)",
    },
    "one line": { log: "unreachable insn 3\n", message: "unreachable insn 3" },
    "a last line that means nothing alone": {
      log: "0: (85) call bpf_redirect_peer#155\nR1 !read_ok\nprocessed 1 insns\n",
      message: "0: (85) call bpf_redirect_peer#155: R1 !read_ok",
    },
    "an empty log": { log: "", message: "" },
    "only statistics": { log: "processed 2 insns (limit 1000000)\n", message: "" },
  };
  for (const [name, { log, message }] of Object.entries(cases))
    it(name, () => assert.equal(summarizeVerifierLog(log).message, message));
});
