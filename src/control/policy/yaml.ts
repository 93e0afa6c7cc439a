/** Plain values -> YAML in the style in which policies are written. */

/** Writes a value as a YAML document; strings are quoted where YAML or Kubernetes would read something else. */
export function formatYaml(value: unknown): string {
  return `${lines(value).join("\n")}\n`;
}

function lines(value: unknown): string[] {
  if (Array.isArray(value) && value.length > 0)
    return value.flatMap((item) => {
      const [first = "", ...rest] = lines(item);
      return [`- ${first}`, ...rest.map((line) => `  ${line}`)];
    });
  if (isMap(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (entries.length > 0)
      return entries.flatMap(([key, item]) => {
        const nested = lines(item);
        const name = `${scalar(key)}:`;
        // Lists stand at the column of their key, maps two further in.
        if (Array.isArray(item) && item.length > 0) return [name, ...nested];
        if (isMap(item) && Object.keys(item).length > 0) return [name, ...nested.map((line) => `  ${line}`)];
        return [`${name} ${nested[0]}`];
      });
  }
  if (Array.isArray(value)) return ["[]"];
  if (isMap(value)) return ["{}"];
  return [typeof value === "string" ? scalar(value) : String(value)];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What YAML 1.1 or 1.2 takes for a boolean, null or number. */
const special = /^(y|n|yes|no|on|off|true|false|null|~|[-+.]?[0-9].*|\.inf|\.nan)$/i;

function scalar(text: string): string {
  const plain = /^[A-Za-z0-9_/.^(][\w./:@^$*+?()|[\] ,-]*$/.test(text) && !/: |:$| #|^\s|\s$|[[\],]/.test(text);
  return plain && !special.test(text) ? text : JSON.stringify(text);
}
