/** Latencies as a picture: a page of its own with a line per contender, percentile by percentile. */
import { percentiles } from "./load.ts";

/** A contender's figures: medians over the rounds. */
export interface Measured {
  readonly name: string;
  readonly meaning: string;
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly latencyUs: Readonly<Record<string, number>>;
}

const [width, height] = [760, 380];
const margin = { left: 70, right: 20, top: 20, bottom: 40 };
const colours = ["#4c8bf5", "#1a9c4b", "#d9480f", "#9c36b5", "#e0a800", "#0b7285", "#c2255c"];

/** The page; self-contained, follows the reader's light or dark scheme. */
export function latencyPage(measured: readonly Measured[], about: string): string {
  const groups = [...new Set(measured.map(({ connections }) => connections))];
  const names = [...new Set(measured.map(({ name }) => name))];
  const charts = groups.map((connections) => {
    const rows = measured.filter((row) => row.connections === connections);
    return `<h2>${connections} connection${connections === 1 ? "" : "s"}</h2>${chart(rows, names)}${table(rows, names)}`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Latency by percentile</title><style>${style}</style></head>
<body><h1>Latency by percentile</h1><p>${html(about)}</p>${charts.join("\n")}</body></html>
`;
}

/** Logarithmic: proxies and the kernel lie a factor apart. */
function chart(rows: readonly Measured[], names: readonly string[]): string {
  const values = rows.flatMap(({ latencyUs }) => Object.values(latencyUs));
  const [low, high] = [Math.log10(Math.min(...values) * 0.8), Math.log10(Math.max(...values) * 1.2)];
  const x = (i: number) =>
    margin.left + ((width - margin.left - margin.right) * i) / Math.max(1, percentiles.length - 1);
  const y = (us: number) =>
    height - margin.bottom - ((height - margin.top - margin.bottom) * (Math.log10(us) - low)) / (high - low);
  const ticks = [1, 2, 5]
    .flatMap((digit) => Array.from({ length: 8 }, (_, power) => digit * 10 ** power))
    .filter((us) => Math.log10(us) >= low && Math.log10(us) <= high);
  const grid = ticks.map(
    (us) =>
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(us)}" y2="${y(us)}"/><text class="y" x="${margin.left - 8}" y="${y(us) + 4}">${us >= 1000 ? `${us / 1000} ms` : `${us} µs`}</text>`,
  );
  const axis = percentiles.map((name, i) => `<text class="x" x="${x(i)}" y="${height - 12}">p${name}</text>`);
  const lines = rows.map(({ name, latencyUs }) => {
    const colour = colours[names.indexOf(name) % colours.length];
    const points = percentiles.map((percentile, i) => [x(i), y(latencyUs[percentile]!)] as const);
    const dots = points.map(([px, py], i) => {
      const label = `${html(name)} p${percentiles[i]}: ${latencyUs[percentiles[i]!]} µs`;
      return `<circle cx="${px}" cy="${py}" r="3.5" fill="${colour}"><title>${label}</title></circle>`;
    });
    return `<polyline points="${points.map((point) => point.join(",")).join(" ")}" stroke="${colour}"/>${dots.join("")}`;
  });
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="latency by percentile">${[...grid, ...axis, ...lines].join("")}</svg>`;
}

function table(rows: readonly Measured[], names: readonly string[]): string {
  const head = ["", "requests/s", ...percentiles.map((name) => `p${name} µs`)];
  const body = rows.map(({ name, meaning, requestsPerSecond, latencyUs }) => {
    const colour = colours[names.indexOf(name) % colours.length];
    const cells = [requestsPerSecond, ...percentiles.map((percentile) => latencyUs[percentile])];
    return `<tr><th><i style="background:${colour}"></i>${html(name)}<small>${html(meaning)}</small></th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  return `<table><thead><tr>${head.map((cell) => `<th>${cell}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

function html(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const style = `
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a3f4a); --bg: light-dark(#fff, #16181d); --ink: light-dark(#1b1f27, #e6e8ec); }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; background: var(--bg); color: var(--ink); max-width: 60rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
svg { width: 100%; height: auto; } svg line { stroke: var(--line); } svg polyline { fill: none; stroke-width: 2; }
svg text { fill: var(--ink); font-size: 12px; } .x { text-anchor: middle; } .y { text-anchor: end; }
table { border-collapse: collapse; } th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums; }
th { font-weight: 600; } tbody th { text-align: left; } small { display: block; font-weight: normal; opacity: .7; }
i { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .5rem; }
`;
