/** What commands print: tables for people, JSON and YAML for programs. */
import colours from "picocolors";
import { proseColumns, wrapProse } from "#core/runtime";

/** Formats in which lists are printed. */
export const listFormats = ["table", "wide", "json", "yaml"] as const;
/** One of {@link listFormats}. */
export type ListFormat = (typeof listFormats)[number];

/** A column of a table: its title and the text of a row. `wide` columns are shown with `-o wide` only. */
export interface Column<T> {
  readonly title: string;
  readonly wide?: boolean;
  cell(row: T): string;
}

/** Writes to stdout. */
export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

/** Writes sentences to stdout, on a terminal broken between words. */
export function printProse(text: string): void {
  print(wrapProse(text, proseColumns(process.stdout)));
}

/** Writes a remark for people to stderr, so that stdout stays clean for programs. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour code is made of
const colourCode = /\u001b\[[0-9;]*m/g;
const width = (text: string): number => text.replaceAll(colourCode, "").length;

/** A table as text, columns parted by three spaces, without trailing blanks. */
export function formatTable<T>(columns: readonly Column<T>[], rows: readonly T[], wide = false): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const cells = rows.map((row) => shown.map((column) => column.cell(row)));
  const widths = shown.map((column, i) => Math.max(width(column.title), ...cells.map((row) => width(row[i]!))));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell + " ".repeat(widths[i]! - width(cell)))
      .join("   ")
      .trimEnd();
  return [line(shown.map((column) => colours.bold(column.title))), ...cells.map(line)].join("\n");
}

/** Prints a list in the wanted format. `whole` is what JSON and YAML show, if that is more than the rows. */
export async function printList<T>(
  format: ListFormat,
  columns: readonly Column<T>[],
  rows: readonly T[],
  options: { readonly none: string; readonly whole?: unknown },
): Promise<void> {
  if (format === "json" || format === "yaml") return printStructured(format, options.whole ?? rows);
  if (rows.length === 0) return note(options.none);
  print(formatTable(columns, rows, format === "wide"));
}

/** Prints a value as JSON (two spaces) or YAML. Big integers become numbers or, beyond 2^53, text. */
export async function printStructured(format: "json" | "yaml", value: unknown): Promise<void> {
  const plain = JSON.stringify(
    value,
    (_, part) => {
      if (typeof part !== "bigint") return part;
      return Number.isSafeInteger(Number(part)) ? Number(part) : String(part);
    },
    2,
  );
  if (format === "json") return print(plain);
  const { stringify } = await import("yaml");
  print(stringify(JSON.parse(plain), { lineWidth: 0 }));
}

/** The time since an instant in the way kubectl writes it: `12s`, `5m3s`, `4h`, `2d`. */
export function formatAge(since: string | undefined, now = Date.now()): string {
  if (since === undefined) return "-";
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (Number.isNaN(seconds)) return "-";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

/** Bytes for people: `3.4 MB`. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(1)} ${unit}`;
  }
  return `${bytes} B`;
}
