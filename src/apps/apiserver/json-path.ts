/** The JSONPath of printer columns: `.a.b`, `.a\.b`, `.list[0]`, `.list[?(@.type=="X")].value`. */

/** Reads one value; undefined if a step leads nowhere. */
export type JsonPath = (object: unknown) => unknown;

type Step = (value: unknown) => unknown;

const field =
  (name: string): Step =>
  (value) =>
    typeof value === "object" && value !== null && Object.hasOwn(value, name)
      ? (value as Record<string, unknown>)[name]
      : undefined;

/** Compiles a path; throws if it is not of these forms: the paths are ours. */
export function compileJsonPath(path: string): JsonPath {
  const steps: Step[] = [];
  const token = /\.((?:[^.[\\]|\\.)+)|\[(\d+)\]|\[\?\(@\.([A-Za-z]+)==["']([^"']*)["']\)\]/gy;
  let end = 0;
  for (let match = token.exec(path); match !== null; match = token.exec(path)) {
    end = token.lastIndex;
    const [, name, index, key, wanted] = match;
    if (name !== undefined) steps.push(field(name.replace(/\\(.)/g, "$1")));
    else if (index !== undefined) steps.push((value) => (Array.isArray(value) ? value[Number(index)] : undefined));
    else {
      const read = field(key!);
      steps.push((value) => (Array.isArray(value) ? value.find((item) => read(item) === wanted) : undefined));
    }
  }
  if (end !== path.length) throw new Error(`can't read the JSONPath ${path}`);
  return (object) => steps.reduce((value, step) => (value === undefined ? undefined : step(value)), object);
}
