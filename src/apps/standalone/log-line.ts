/** The programs' JSON log lines, made readable for a terminal. */
import colours from "picocolors";

const levels = ["debug", "info", "warn", "error"] as const;
/** Level of a log line. */
export type LogLevel = (typeof levels)[number];

const paint: Readonly<Record<LogLevel, (text: string) => string>> = {
  debug: colours.dim,
  info: colours.cyan,
  warn: colours.yellow,
  error: colours.red,
};

/** Facts that every line has and that stand elsewhere. */
const standing = new Set(["level", "time", "component", "msg", "pid", "hostname"]);

/** `12:00:01 agent  warn   message   key=value`; undefined if the line is below `least`. What is not a log line is shown as it is. */
export function formatLogLine(name: string, line: string, least: LogLevel): string | undefined {
  const entry = parse(line);
  if (entry === undefined) return `${colours.dim(name.padEnd(9))} ${line}`;
  const level = levels.find((one) => one === entry.level) ?? "info";
  if (levels.indexOf(level) < levels.indexOf(least)) return undefined;
  const time = typeof entry.time === "string" ? entry.time.slice(11, 19) : "        ";
  const fields = Object.entries(entry)
    .filter(([key]) => !standing.has(key))
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
  const component = String(entry.component ?? name).padEnd(9);
  return `${colours.dim(time)} ${colours.dim(component)} ${paint[level](level.padEnd(5))} ${String(entry.msg ?? "")}${fields === "" ? "" : colours.dim(`   ${fields}`)}`;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined; // a line of something else
  }
}
