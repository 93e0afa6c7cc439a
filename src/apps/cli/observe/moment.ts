/** Times: what `--since` and `--until` take, and how flows show theirs. */
import type { Timestamp } from "#contracts/hubble";
import { formatTimestamp } from "#contracts/hubble";
import { usageError } from "../failure.ts";

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Parses a duration before now (`3s`, `1h43m`) or a date (RFC 3339, or only its first parts). Throws USAGE. */
export function parseMoment(flag: string, text: string, nowMs: number = Date.now()): Timestamp {
  const ms = relativeMs(text, nowMs) ?? absoluteMs(text);
  if (ms === undefined) {
    throw usageError(
      `${flag} takes how long ago (3s, 4m, 1h43m) or a date (2026-01-02, 2026-01-02T15:04:05Z), but was given "${text}"`,
    );
  }
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

function relativeMs(text: string, nowMs: number): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g);
  return nowMs - [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * unitsMs[unit!]!, 0);
}

function absoluteMs(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return undefined;
  // JavaScript reads no hour without minutes.
  const full = text.replace(/^(\d{4}-\d{2}-\d{2}T\d{2})(Z|[+-]\d{2}:\d{2})?$/, "$1:00$2");
  const ms = Date.parse(full);
  return Number.isNaN(ms) ? undefined : ms;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Ways to show a time. */
export const timeFormats = ["StampMilli", "RFC3339", "RFC3339Nano"] as const;
/** One of {@link timeFormats}. */
export type TimeFormat = (typeof timeFormats)[number];

/** A time in local time, `Jan _2 15:04:05.000`, or in UTC as RFC 3339; `N/A` where there is none. */
export function formatMoment(time: Timestamp | undefined, format: TimeFormat = "StampMilli"): string {
  if (time === undefined) return "N/A";
  switch (format) {
    case "RFC3339":
      return formatTimestamp({ seconds: time.seconds ?? 0n, nanos: 0 });
    case "RFC3339Nano":
      return formatTimestamp(time);
    case "StampMilli": {
      const date = new Date(Number(time.seconds ?? 0n) * 1000 + Math.floor((time.nanos ?? 0) / 1e6));
      const two = (value: number): string => String(value).padStart(2, "0");
      const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
      return `${months[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`;
    }
  }
}
