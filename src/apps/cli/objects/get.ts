/** `tsilium get` and `tsilium policy get`: objects as the API server has them. */
import type { KubeObject } from "#contracts/kube";
import { TsiliumError } from "#core/runtime";
import { withKube } from "../connect.ts";
import { ExitCode } from "../exit-codes.ts";
import { reportFailure, usageError } from "../failure.ts";
import { type ListFormat, printList } from "../output.ts";
import { columnsOf } from "./columns.ts";
import { findKind, objectTitle } from "./kinds.ts";

/** Flags of `get`. */
export interface GetFlags {
  readonly namespace: string;
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly output: ListFormat;
  readonly kubeconfig?: string;
}

/** Prints objects of a kind: all, those that a label query selects, or those named. Exit code 1 if a named one is missing. */
export async function get(word: string, names: readonly string[], flags: GetFlags): Promise<number> {
  const resource = findKind(word);
  const everywhere = flags.allNamespaces === true && resource.namespaced;
  if (names.length > 0 && (everywhere || flags.selector !== undefined || flags.fieldSelector !== undefined)) {
    throw usageError("names can't be combined with -A, -l or --field-selector");
  }
  const scope = resource.namespaced && !everywhere ? { namespace: flags.namespace } : {};
  return withKube(flags.kubeconfig, async (client) => {
    let code: number = ExitCode.ok;
    const found: KubeObject[] = [];
    if (names.length === 0) {
      const { items } = await client.list(resource.kind, {
        ...scope,
        ...(flags.selector === undefined ? {} : { labelSelector: flags.selector }),
        ...(flags.fieldSelector === undefined ? {} : { fieldSelector: flags.fieldSelector }),
      });
      found.push(...items);
    }
    for (const name of names) {
      const object = await client.get(resource.kind, { name, ...scope });
      if (object !== undefined) found.push(object);
      else code = reportFailure(notFound(objectTitle(resource, name), scope.namespace));
    }
    if (code !== ExitCode.ok && found.length === 0) return code;
    const where = scope.namespace === undefined ? "" : ` in namespace ${scope.namespace}`;
    await printList(flags.output, columnsOf(resource.kind, everywhere), found, {
      none: `no ${resource.plural}${where}`,
      whole: names.length === 1 && found.length === 1 ? found[0] : { apiVersion: "v1", kind: "List", items: found },
    });
    return code;
  });
}

/** The error for an object that is not there. */
export function notFound(title: string, namespace: string | undefined): TsiliumError {
  return new TsiliumError(
    "KUBE_NOT_FOUND",
    `there is no ${title}${namespace === undefined ? "" : ` in namespace ${namespace}`}`,
  );
}
