// BTF knows layouts but no comments; those are taken from the headers, by name. A name without one is simply undocumented.

export interface Comments {
  /** Of a struct, enum or typedef. */
  type(name: string): string | undefined;
  /** Of a struct's field or of an enum's constant. */
  member(type: string, name: string): string | undefined;
}

/** The headers keep to one style: a comment above a type, a comment at the end of a member's line. */
export function parseComments(headers: readonly string[]): Comments {
  const types = new Map<string, string>();
  const members = new Map<string, string>();
  for (const text of headers) {
    for (const m of text.matchAll(/\/\*((?:(?!\*\/)[\s\S])*)\*\/\n(?:struct|enum) (\w+) \{/g))
      types.set(m[2]!, tidy(m[1]!));
    for (const m of text.matchAll(/^typedef \w+ (\w+);[ \t]*\/\*(.*?)\*\//gm)) types.set(m[1]!, tidy(m[2]!));
    for (const body of text.matchAll(/^(?:struct|enum) (\w+) \{\n([\s\S]*?)^\};/gm)) {
      for (const m of body[2]!.matchAll(/^\s*(?:[\w\s]*?\b(\w+)(?:\[\d+\])?;|(\w+)(?: = \w+)?,)[ \t]*\/\*(.*?)\*\//gm))
        members.set(`${body[1]}.${m[1] ?? m[2]}`, tidy(m[3]!));
    }
  }
  return { type: (name) => types.get(name), member: (type, name) => members.get(`${type}.${name}`) };
}

function tidy(comment: string): string {
  return comment
    .replace(/\n\s*\*?/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}
