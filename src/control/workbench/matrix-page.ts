/** A matrix as one HTML page that needs nothing else: no server, no network, no fonts. */
import { formatRuleRef } from "#control/policy";
import { requestsOf } from "./diff.ts";
import type { Sentence } from "./diff-words.ts";
import { type Cell, decidingRules, describeCell, type Matrix, type Reach, summary } from "./matrix.ts";
import { formatPortClass } from "./ports.ts";
import type { World } from "./world.ts";

/** What a page shows. */
export interface MatrixPage {
  readonly title: string;
  readonly world: World;
  readonly matrix: Matrix;
  /** Of a comparison: the matrix before, and what changed in words. */
  readonly before?: Matrix;
  readonly sentences?: readonly Sentence[];
}

/** The page's source. */
export function formatMatrixPage({ title, world, matrix, before, sentences }: MatrixPage): string {
  const { parties, cells } = matrix;
  const head = parties.map(
    ({ name, members }) => `<th scope="col" title="${html(members.join("\n"))}"><span>${html(name)}</span></th>`,
  );
  const rows = cells.map((row, i) => {
    const { name, members } = parties[i]!;
    const own = row.map((cell, j) =>
      formatCell(cell, before?.cells[i]?.[j], before !== undefined, `${name} → ${parties[j]!.name}`, world),
    );
    return `<tr><th scope="row" title="${html(members.join("\n"))}">${html(name)}</th>${own.join("")}</tr>`;
  });
  const counts = `${count(world.groups.length, "workload", "workloads")}, ${count(world.policies.length, "policy", "policies")}${world.refused.length === 0 ? "" : `, ${world.refused.length} refused and left out`}`;
  const told =
    sentences === undefined
      ? ""
      : `<ul class="told">${sentences.map(({ kind, text }) => `<li class="${kind}">${html(text)}</li>`).join("") || "<li>no difference</li>"}</ul>`;
  const changed = before === undefined ? "" : '<b class="gain">gained</b><b class="loss">lost</b>';
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${html(title)}</title>
<style>${style}</style>
<h1>${html(title)}</h1>
<p>${html(counts)}. A row says whom a source reaches, and on which ports. Choose a cell to see the rules behind it.</p>
<p class="legend"><b class="all">everything</b><b class="some">some ports</b><b class="http">some HTTP requests</b><b class="none">nothing</b>${changed}<b class="na">judged by no policy</b></p>
${told}
<div class="frame"><table>
<thead><tr><th class="corner">from ↓ &nbsp; to →</th>${head.join("")}</tr></thead>
<tbody>
${rows.join("\n")}
</tbody></table></div>
<pre id="why" aria-live="polite"></pre>
<script>${script}</script>
</html>
`;
}

function formatCell(cell: Cell, old: Cell, isDiff: boolean, pair: string, world: World): string {
  if (cell === undefined) return '<td class="na"></td>';
  const text = describeCell(cell);
  const was = old === undefined ? text : describeCell(old);
  const changed = isDiff && old !== undefined && summary(old) !== summary(cell);
  const kinds = [
    text === "" ? "none" : text === "all" ? "all" : cell.some(({ outcome }) => outcome === "http") ? "http" : "some",
  ];
  if (changed) kinds.push(isWider(old, cell) ? "gain" : "loss");
  const shown = html(text === "" ? "–" : text);
  const before = changed && was !== "" ? `<s>${html(was)}</s> ` : "";
  const why = [pair, "", ...cell.flatMap((reach) => explainReach(reach, world))].join("\n");
  return `<td class="${kinds.join(" ")}" tabindex="0" data-why="${html(why)}">${before}${shown}</td>`;
}

const count = (n: number, one: string, many: string) => `${n} ${n === 1 ? one : many}`;

/** Whether something is gained and nothing lost. */
function isWider(old: Cell, cell: readonly Reach[]): boolean {
  const rank = { denied: 0, http: 1, allowed: 2 };
  return cell.every((reach, i) => {
    const before = old?.[i];
    if (before === undefined) return true;
    if (before.outcome === "http" && reach.outcome === "http")
      return requestsOf(before).every((one) => requestsOf(reach).includes(one));
    return rank[reach.outcome] >= rank[before.outcome];
  });
}

function explainReach(reach: Reach, world: World): string[] {
  const words = { allowed: "allowed", http: `only ${requestsOf(reach).join(", ")}`, denied: "denied" };
  const out = [`${formatPortClass(reach.port)}: ${words[reach.outcome]}`];
  for (const direction of reach.directions) {
    if (reach.outcome === "denied" && direction.outcome !== "denied") continue;
    const { entry } = direction.decision;
    const refs = decidingRules(direction).map((ref) => {
      const place = world.place(ref);
      return `${formatRuleRef(ref)}${place === undefined ? "" : ` (${place})`}`;
    });
    const reason =
      entry === undefined ? "no rule allows it" : entry.unenforced ? "no policy selects it" : refs.join(", ");
    out.push(`    ${direction.direction}: ${reason}`);
  }
  return out;
}

function html(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\n", "&#10;");
}

const style = `
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a3f4a); --bg: light-dark(#fff, #16181d); --soft: light-dark(#f4f6f9, #1e2128);
  --all: light-dark(#bfe8cc, #1d5a35); --some: light-dark(#dff3e5, #17402a); --http: light-dark(#fdeeb8, #5c4a10); --none: light-dark(#f7dcdc, #532424); }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; background: var(--bg); }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
p { margin: .3rem 0; }
.legend b, .told li { font-weight: normal; display: inline-block; padding: .1rem .5rem; margin: 0 .4rem .3rem 0; border-radius: 4px; border: 1px solid var(--line); }
.told { list-style: none; padding: 0; } .told li { display: table; }
.frame { overflow: auto; max-height: 75vh; border: 1px solid var(--line); border-radius: 6px; margin-top: .8rem; width: fit-content; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; }
th, td { padding: .35rem .7rem; border-right: 1px solid var(--line); border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { background: var(--soft); font-weight: 600; position: sticky; }
thead th { top: 0; z-index: 1; } tbody th { left: 0; } .corner { left: 0; z-index: 2; font-weight: normal; }
td { text-align: center; } td[data-why] { cursor: pointer; } td[data-why]:hover, td:focus { outline: 2px solid #4c8bf5; outline-offset: -2px; }
.all { background: var(--all); } .some { background: var(--some); } .http { background: var(--http); } .none { background: var(--none); }
.na { background: repeating-linear-gradient(45deg, var(--soft) 0 6px, var(--bg) 6px 12px); }
.gain { box-shadow: inset 0 0 0 2px #1a9c4b; } .loss { box-shadow: inset 0 0 0 2px #d33; } s { opacity: .6; }
#why { background: var(--soft); border-radius: 6px; padding: .8rem 1rem; white-space: pre-wrap; } #why:empty { display: none; }
`;

const script = `
const why = document.getElementById("why");
const show = (cell) => { if (cell?.dataset.why) { why.textContent = cell.dataset.why; } };
document.querySelector("table").addEventListener("click", (event) => show(event.target.closest("td")));
document.querySelector("table").addEventListener("focusin", (event) => show(event.target.closest("td")));
`;
