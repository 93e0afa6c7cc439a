/** Who judges the requests on an entry's connections: the kernel where it can do so exactly, else the proxy, and why. */
import { type Compiled, compileRules } from "#control/http";
import type { EntryRequests } from "#control/policy";
import type { HttpProgram } from "#datapath/reconcile";

/** The judge of an entry's requests. */
export type RequestJudge =
  | { readonly kind: "kernel"; readonly program: HttpProgram }
  | { readonly kind: "proxy"; readonly reason: string };

/** Finds the judges; lists are compiled once. */
export interface RequestJudges {
  of(requests: EntryRequests): RequestJudge;
  /** Why the kernel judges nothing at all; undefined when it does. */
  readonly off: string | undefined;
}

/** Lists that are kept though no policy may have them any more. */
const cacheLimit = 256;

/** `off`: the proxy judges everything, for this reason. */
export function createRequestJudges(off?: string): RequestJudges {
  const byList = new WeakMap<EntryRequests, RequestJudge>();
  // Policies whose rules say the same share a program, wherever they are written.
  const byRules = new Map<string, RequestJudge>();

  function judgeOf(requests: EntryRequests): RequestJudge {
    if (requests.kind === "proxy") return requests;
    if (off !== undefined) return { kind: "proxy", reason: off };
    const rules = requests.rules.map(({ ref: _, ...rule }) => rule);
    const key = JSON.stringify(rules);
    let judge = byRules.get(key);
    if (judge === undefined) {
      judge = toJudge(compileRules(rules));
      if (byRules.size >= cacheLimit) byRules.delete(byRules.keys().next().value!);
      byRules.set(key, judge);
    }
    return judge;
  }

  return {
    off,
    of(requests) {
      let judge = byList.get(requests);
      if (judge === undefined) {
        judge = judgeOf(requests);
        byList.set(requests, judge);
      }
      return judge;
    },
  };
}

function toJudge(compiled: Compiled): RequestJudge {
  return compiled.kind === "program" ? { kind: "kernel", program: { bytes: compiled.bytes } } : compiled;
}
