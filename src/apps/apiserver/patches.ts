/** JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes' strategic merge patch. Pure; a wrong patch throws a Refusal. */
import { isDeepStrictEqual } from "node:util";
import type { Schema } from "#contracts/kube";
import { fieldSchema, isFields } from "./field-sets.ts";
import { badRequest, Refusal } from "./status.ts";

const operationLimit = 10_000;

/** Lays a merge patch over a value: null removes, objects merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const out: Record<string, unknown> = isFields(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete out[name];
    else out[name] = mergePatch(out[name], value);
  }
  return out;
}

/** Applies a JSON Patch. */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) throw badRequest("a JSON patch must be a list of operations");
  if (operations.length > operationLimit) {
    throw new Refusal(
      413,
      "RequestEntityTooLarge",
      `the patch has ${operations.length} operations; at most ${operationLimit} are taken`,
    );
  }
  return operations.reduce((value: unknown, operation, index) => {
    if (!isFields(operation) || typeof operation.op !== "string" || typeof operation.path !== "string") {
      throw badRequest(`JSON patch operation ${index} must have "op" and "path"`);
    }
    return applyOperation(value, operation as unknown as Operation, index);
  }, target);
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: unknown;
  readonly value?: unknown;
}

function applyOperation(target: unknown, operation: Operation, index: number): unknown {
  const cannot = (why: string) =>
    new Refusal(422, "Invalid", `JSON patch operation ${index} (${operation.op} ${operation.path}): ${why}`);
  const steps = (pointer: unknown): string[] => {
    if (pointer === "") return [];
    if (typeof pointer !== "string" || !pointer.startsWith("/")) throw cannot("a path is empty or begins with /");
    return pointer
      .slice(1)
      .split("/")
      .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  };
  const read = (path: readonly string[]): unknown =>
    path.reduce((value: unknown, step) => {
      const inner = Array.isArray(value)
        ? value[indexOf(step, value.length - 1)]
        : isFields(value) && Object.hasOwn(value, step)
          ? value[step]
          : undefined;
      if (inner === undefined) throw cannot(`there is nothing at "${step}"`);
      return inner;
    }, target);
  const indexOf = (step: string, last: number): number => {
    if (!/^(0|[1-9][0-9]*)$/.test(step) || Number(step) > last) throw cannot(`"${step}" is no index of the list`);
    return Number(step);
  };
  /** A copy of `value` in which the container at the end of `path` was changed. */
  const write = (
    value: unknown,
    path: readonly string[],
    change: "add" | "replace" | "remove",
    to?: unknown,
  ): unknown => {
    const [step, ...rest] = path;
    if (step === undefined) return to;
    if (Array.isArray(value)) {
      const copy = [...value];
      if (rest.length > 0) {
        const at = indexOf(step, copy.length - 1);
        copy[at] = write(copy[at], rest, change, to);
      } else if (change === "add") copy.splice(step === "-" ? copy.length : indexOf(step, copy.length), 0, to);
      else if (change === "remove") copy.splice(indexOf(step, copy.length - 1), 1);
      else copy[indexOf(step, copy.length - 1)] = to;
      return copy;
    }
    if (!isFields(value)) throw cannot(`there is no object or list to hold "${step}"`);
    const exists = Object.hasOwn(value, step);
    if (!exists && (rest.length > 0 || change !== "add")) throw cannot(`there is no "${step}"`);
    if (rest.length === 0 && change === "remove") {
      const { [step]: _removed, ...others } = value;
      return others;
    }
    return { ...value, [step]: rest.length > 0 ? write(value[step], rest, change, to) : to };
  };
  const path = steps(operation.path);
  switch (operation.op) {
    case "add":
    case "replace":
      if (operation.value === undefined) throw cannot('"value" is missing');
      return write(target, path, operation.op, operation.value);
    case "remove":
      return write(target, path, "remove");
    case "move": {
      const from = steps(operation.from);
      const value = read(from);
      return write(write(target, from, "remove"), path, "add", value);
    }
    case "copy":
      return write(target, path, "add", read(steps(operation.from)));
    case "test":
      if (!isDeepStrictEqual(read(path), operation.value)) throw cannot("the value there is another");
      return target;
    default:
      throw badRequest(`JSON patch operation ${index}: unknown op "${operation.op}"`);
  }
}

const orderPrefix = "$setElementOrder/";
const deletePrefix = "$deleteFromPrimitiveList/";

/** Lays a strategic merge patch over a value: lists merge by the key that the schema gives. */
export function strategicMergePatch(schema: Schema, target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  switch (patch.$patch) {
    case undefined:
    case "merge":
      break;
    case "replace":
      return withoutDirectives(patch);
    case "delete":
      return {};
    default:
      throw badRequest(`unknown $patch directive ${JSON.stringify(patch.$patch)}; known are merge, replace, delete`);
  }
  const out: Record<string, unknown> = isFields(target) ? { ...target } : {};
  if (Array.isArray(patch.$retainKeys)) {
    for (const name of Object.keys(out)) if (!patch.$retainKeys.includes(name)) delete out[name];
  }
  for (const [name, values] of Object.entries(patch)) {
    if (!name.startsWith(deletePrefix) || !Array.isArray(values)) continue;
    const field = name.slice(deletePrefix.length);
    const current = out[field];
    if (Array.isArray(current)) out[field] = current.filter((item) => !values.includes(item));
  }
  for (const [name, value] of Object.entries(patch)) {
    if (name.startsWith("$")) continue;
    if (value === null) delete out[name];
    else if (Array.isArray(value)) {
      const inner = fieldSchema(schema, name);
      out[name] = mergeList(inner, out[name], value);
    } else out[name] = strategicMergePatch(fieldSchema(schema, name), out[name], value);
  }
  for (const [name, order] of Object.entries(patch)) {
    if (!name.startsWith(orderPrefix) || !Array.isArray(order)) continue;
    const field = name.slice(orderPrefix.length);
    const current = out[field];
    if (Array.isArray(current)) out[field] = reorder(fieldSchema(schema, field), current, order);
  }
  return out;
}

function mergeList(schema: Schema, target: unknown, patch: readonly unknown[]): unknown[] {
  const base = Array.isArray(target) ? target : [];
  if (schema["x-kubernetes-patch-strategy"] !== "merge") return patch.map(withoutDirectives);
  const key = schema["x-kubernetes-patch-merge-key"];
  if (key === undefined) return [...base, ...patch.filter((item) => !base.includes(item))];
  let out: unknown[] = [...base];
  if (patch.some((item) => isFields(item) && item.$patch === "replace")) {
    return patch.filter((item) => !(isFields(item) && item.$patch === "replace")).map(withoutDirectives);
  }
  for (const item of patch) {
    if (!isFields(item) || item[key] === undefined) {
      throw badRequest(`an item of the patch has no "${key}", by which the items of the list are told apart`);
    }
    const at = out.findIndex((existing) => isFields(existing) && existing[key] === item[key]);
    if (item.$patch === "delete") out = out.filter((_, index) => index !== at);
    else if (at < 0) out.push(strategicMergePatch(schema.items ?? {}, {}, item));
    else out[at] = strategicMergePatch(schema.items ?? {}, out[at], item);
  }
  return out;
}

/** Items in the order that the patch names; those it does not name stay behind the one they followed. */
function reorder(schema: Schema, items: readonly unknown[], order: readonly unknown[]): unknown[] {
  const key = schema["x-kubernetes-patch-merge-key"];
  const keyOf = (item: unknown) => (key !== undefined && isFields(item) ? item[key] : item);
  const wanted = order.map(keyOf);
  const groups = new Map<unknown, unknown[]>(wanted.map((value) => [value, []]));
  const leading: unknown[] = [];
  let last: unknown[] = leading;
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) last.push(item);
    else {
      group.push(item);
      last = group;
    }
  }
  return [...leading, ...[...groups.values()].flat()];
}

/** What a patch sets as a whole, without the directives inside. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !name.startsWith("$"))
      .map(([name, inner]) => [name, withoutDirectives(inner)]),
  );
}
