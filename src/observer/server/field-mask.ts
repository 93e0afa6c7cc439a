/** Field masks over flows: `source.identity`, `l4.TCP.flags`. */
import type { Flow } from "#contracts/hubble";

type Tree = { readonly [name: string]: Tree };

/** A function that keeps only the named fields (with all that is below them); undefined where there is no mask. */
export function compileFieldMask(paths: readonly string[] | undefined): ((flow: Flow) => Flow) | undefined {
  if (paths === undefined || paths.length === 0) return undefined;
  const tree: Record<string, unknown> = {};
  for (const path of paths) {
    let node = tree;
    for (const name of path.split(".")) {
      const below = Object.hasOwn(node, name) ? node[name] : undefined;
      node = node[name] = (below ?? {}) as Record<string, unknown>;
    }
  }
  return (flow) => prune(flow as Record<string, unknown>, tree as Tree) as Flow;
}

/** What lies under a name; the members of a oneof are in an object that the .proto file doesn't name. */
function prune(value: Record<string, unknown>, tree: Tree): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    if (isObject(member) && typeof member.$case === "string") {
      const below = tree[member.$case];
      if (below !== undefined) kept[key] = { ...member, value: under(member.value, below) };
    } else if (tree[key] !== undefined) {
      kept[key] = under(member, tree[key]);
    }
  }
  return kept;
}

function under(value: unknown, tree: Tree): unknown {
  if (Object.keys(tree).length === 0) return value;
  if (Array.isArray(value)) return value.map((item) => under(item, tree));
  return isObject(value) ? prune(value, tree) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
