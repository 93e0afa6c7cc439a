/** Who judges the requests on an entry's connections: the kernel where it can do so exactly, else the proxy, and why. */

import type { HttpRule } from "#contracts/proxy";
import { type Compiled, compileRules } from "#control/http";
import type { EntryRequests } from "#control/policy";
import type { HttpProgram } from "#datapath/reconcile";

/** The judge of an entry's requests. */
export type RequestJudge =
  | { readonly kind: "kernel"; readonly program: HttpProgram }
  | { readonly kind: "proxy"; readonly reason: string };

/** Finds the judges; lists are compiled once. */
export interface RequestJudges {
  /** Before the first list is asked for: finds out, once, whether the kernel may judge at all. */
  ready(): Promise<void>;
  of(requests: EntryRequests): RequestJudge;
  /** Why the kernel judges nothing at all; undefined when it does, or nobody has asked yet. */
  readonly off: string | undefined;
}

/** Lists that are kept though no policy may have them any more. */
const cacheLimit = 256;

/** `mayNot` says why the proxy has to judge everything, if it has. */
export function createRequestJudges(mayNot: () => string | undefined | Promise<string | undefined>): RequestJudges {
  let off: string | undefined = "it is not known yet whether the kernel can judge";
  let asked: Promise<void> | undefined;
  const byList = new WeakMap<EntryRequests, RequestJudge>();
  // Policies whose rules say the same share a program, wherever they are written.
  const byRules = new Map<string, RequestJudge>();

  function compiled(rules: readonly HttpRule[]): RequestJudge {
    const key = JSON.stringify(rules.map(({ ref: _, ...rule }) => rule));
    let judge = byRules.get(key);
    if (judge === undefined) {
      judge = toJudge(compileRules(rules));
      if (byRules.size >= cacheLimit) byRules.delete(byRules.keys().next().value!);
      byRules.set(key, judge);
    }
    return judge;
  }

  return {
    ready() {
      asked ??= Promise.resolve(mayNot()).then((reason) => {
        off = reason;
      });
      return asked;
    },
    get off() {
      return asked === undefined ? undefined : off;
    },
    of(requests) {
      if (requests.kind === "proxy") return requests;
      if (off !== undefined) return { kind: "proxy", reason: off };
      let judge = byList.get(requests);
      if (judge === undefined) {
        judge = compiled(requests.rules);
        byList.set(requests, judge);
      }
      return judge;
    },
  };
}

function toJudge(compiled: Compiled): RequestJudge {
  return compiled.kind === "program" ? { kind: "kernel", program: { bytes: compiled.bytes } } : compiled;
}
