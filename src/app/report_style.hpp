// The style sheet of reports. Runs have the colours --c0 .. --c7, parts of a step and of the memory those of .p-NAME.
#pragma once

namespace viaduct::app {

inline constexpr const char* kReportStyle = R"(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b1f24; --soft: #5b6470; --line: #dfe3e8;
  --grid: #e9ecf0; --mark: #fff3c4; --good: #1d7f43; --bad: #c0322b; --wait: #8a6100;
  --c0: #2563c9; --c1: #d2560e; --c2: #14825a; --c3: #8b3fc4; --c4: #c2255c; --c5: #0b7f9c; --c6: #8a6a00; --c7: #59636f;
  --data: #e0a10b; --forward: #6ea8fe; --backward: #2563c9; --comm: #c2255c; --optimizer: #22a06b; --device: #2563c9;
  --rest: #b4bcc6; }
@media (prefers-color-scheme: dark) { :root { --page: #101317; --card: #181c22; --ink: #e7ebf0; --soft: #9aa5b1;
  --line: #2b323b; --grid: #262c34; --mark: #4a3f14; --good: #5fd08b; --bad: #ff8178; --wait: #f0c04c;
  --c0: #7db0ff; --c1: #ff9b5e; --c2: #55d6a3; --c3: #cf9bff; --c4: #ff8fb4; --c5: #5fd3f0; --c6: #e6c65a; --c7: #b4bec9;
  --data: #f0b93a; --forward: #a9caff; --backward: #5b95f5; --comm: #ff7fa8; --optimizer: #4fd093; --device: #5b95f5;
  --rest: #5b6673; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 84rem; margin: 0 auto; padding: 0 1.2rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .7rem; font-weight: 650; }
p { margin: .3rem 0; } .soft, small, footer { color: var(--soft); }
footer { padding-top: 2rem; padding-bottom: 2rem; font-size: .85rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem; margin-top: 1.2rem; }
.card, .chart, .panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 1rem 1.1rem; border-top: 4px solid var(--c); min-width: 0; }
.card h3 { margin: 0; font-size: 1.05rem; overflow-wrap: anywhere; } .card h3 + p { font-size: .9rem; }
.badge { float: right; margin-left: .8rem; font-size: .8rem; font-weight: 600; padding: .1rem .6rem; border-radius: 1rem;
  border: 1px solid currentColor; }
.completed { color: var(--good); } .failed { color: var(--bad); } .open { color: var(--wait); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr)); gap: .7rem; margin: .9rem 0 .3rem; }
.tiles b { display: block; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tiles span { font-size: .8rem; color: var(--soft); }
.note { border-left: 3px solid var(--wait); padding: .1rem 0 .1rem .7rem; margin: .6rem 0 0; font-size: .9rem;
  overflow-wrap: anywhere; } .note.failed { border-color: var(--bad); color: inherit; } .note.bound { border-color: var(--c0); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.chart { margin: 0; padding: .7rem .8rem .4rem; min-width: 0; }
figcaption { font-weight: 600; font-size: .95rem; overflow-wrap: anywhere; } figcaption small { font-weight: 400; margin-left: .5rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.x { text-anchor: middle; } svg text.y { text-anchor: end; }
.grid { stroke: var(--grid); } .line, .raw, .dashed { fill: none; stroke: var(--c); stroke-linejoin: round; }
.line { stroke-width: 2; } .raw { stroke-width: 1; opacity: .35; } .dashed { stroke-width: 1.5; stroke-dasharray: 5 3; }
circle { fill: var(--card); stroke: var(--c); stroke-width: 2; } .area { fill: var(--c); }
.tip > rect { fill: transparent; } .tip > g { visibility: hidden; pointer-events: none; } .tip:hover > g { visibility: visible; }
.tip path { stroke: var(--soft); stroke-dasharray: 2 3; } .tip g rect { fill: var(--card); stroke: var(--line); }
.tip g text { fill: var(--c, var(--ink)); font-weight: 600; }
.s0 { --c: var(--c0); } .s1 { --c: var(--c1); } .s2 { --c: var(--c2); } .s3 { --c: var(--c3); }
.s4 { --c: var(--c4); } .s5 { --c: var(--c5); } .s6 { --c: var(--c6); } .s7 { --c: var(--c7); }
.p-data, .p-batches { --c: var(--data); } .p-forward, .p-gradients { --c: var(--forward); }
.p-backward, .p-parameters { --c: var(--backward); } .p-comm, .p-activations { --c: var(--comm); }
.p-optimizer { --c: var(--optimizer); } .p-device { --c: var(--device); } .p-packed_weights { --c: var(--c3); }
.p-rest, .p-step { --c: var(--rest); }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 3px; background: var(--c); margin-right: .4em; }
.panel { padding: .9rem 1.1rem; } .legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .88rem; margin-bottom: .7rem; }
.row { margin: .7rem 0; } .row > div:first-child { display: flex; justify-content: space-between; gap: 1rem; font-size: .9rem; }
.row > div:first-child span:first-child { overflow-wrap: anywhere; min-width: 0; }
.bar { display: flex; height: 1.35rem; border-radius: 5px; overflow: hidden; margin-top: .2rem; background: var(--grid); }
.bar i { background: var(--c); min-width: 1px; } .bar i:hover { opacity: .75; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; } th:first-child, td:first-child { min-width: 8rem; } th { font-weight: 600; color: var(--soft); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } td small { display: block; } td:not(.n) { max-width: 30rem; }
tr.differs td { background: var(--mark); } tr.section th { padding-top: 1rem; color: var(--ink); }
details > summary { cursor: pointer; font-weight: 600; padding: .2rem 0; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
@media print { body { background: none; } .card, .chart, .panel { break-inside: avoid; } }
)";

}  // namespace viaduct::app
