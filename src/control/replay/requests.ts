/** Recorded requests -> HTTP rules: literal, but where a segment of the path is clearly a number or an id. */

/** A rule, and what it allows beyond the requests that were seen. */
export interface SuggestedRequest {
  readonly method: string;
  /** Regular expression for path and query. */
  readonly path: string;
  readonly count: number;
  readonly beyond?: string;
}

const quote = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** Segments of one form; enough values of it at one place, and the form stands for them. */
const forms: readonly (readonly [name: string, form: RegExp, pattern: string])[] = [
  ["numbers", /^[0-9]+$/, "[0-9]+"],
  ["UUIDs", /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"],
  ["hexadecimal ids", /^(?=.*[0-9])[0-9a-f]{12,}$/i, "[0-9a-fA-F]+"],
];
/** Different values that make a form of a segment; fewer stay literal. */
const enough = 3;

/** `METHOD target` with counts -> rules that allow all of them, sorted. */
export function generaliseRequests(requests: ReadonlyMap<string, number>): SuggestedRequest[] {
  const shapes = new Map<string, Shape>();
  for (const [text, count] of requests) {
    const space = text.indexOf(" ");
    const target = text.slice(space + 1);
    const at = target.indexOf("?");
    const path = at < 0 ? target : target.slice(0, at);
    const parts = path
      .split("/")
      .map((segment) => ({ segment, form: forms.findIndex(([, form]) => form.test(segment)) }));
    const key = `${text.slice(0, space)} ${parts.map(({ segment, form }) => (form < 0 ? segment : `<${form}>`)).join("/")}`;
    const shape: Shape = shapes.get(key) ?? { method: text.slice(0, space), members: [] };
    shape.members.push({ parts, path, hasQuery: at >= 0, count });
    shapes.set(key, shape);
  }
  return [...shapes.values()]
    .flatMap(rulesOf)
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.method < b.method ? -1 : 1));
}

interface Member {
  readonly parts: readonly { readonly segment: string; readonly form: number }[];
  readonly path: string;
  readonly hasQuery: boolean;
  readonly count: number;
}
interface Shape {
  readonly method: string;
  readonly members: Member[];
}

function rulesOf({ method, members }: Shape): SuggestedRequest[] {
  const first = members[0]!;
  const varies = first.parts.map(
    ({ form }, i) => form >= 0 && new Set(members.map(({ parts }) => parts[i]!.segment)).size >= enough,
  );
  const groups = new Map<string, Member[]>();
  for (const member of members) {
    const path = member.parts.map(({ segment, form }, i) => (varies[i] ? forms[form]![2] : quote(segment))).join("/");
    groups.set(path, [...(groups.get(path) ?? []), member]);
  }
  const kinds = [...new Set(first.parts.flatMap(({ form }, i) => (varies[i] ? [forms[form]![0]] : [])))];
  return [...groups].map(([path, own]) => {
    const queried = own.some(({ hasQuery }) => hasQuery);
    const beyond = [
      ...(kinds.length === 0
        ? []
        : [`any ${kinds.join(" and ")} in the place of ${new Set(own.map((one) => one.path)).size} seen`]),
      ...(queried ? ["any query"] : []),
    ].join(", ");
    const count = own.reduce((sum, one) => sum + one.count, 0);
    return {
      method: quote(method),
      path: `${path}${queried ? "(\\?.*)?" : ""}`,
      count,
      ...(beyond === "" ? {} : { beyond }),
    };
  });
}
