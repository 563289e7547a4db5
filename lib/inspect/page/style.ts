// The look of an inspection, beside that of reports.
export const inspectionStyle = `
:root { --plus: 205 66 24; --minus: 28 100 210; --kept: 16 150 110; --taken: 178 36 170; --faded: 214 219 224; }
@media (prefers-color-scheme: dark) { :root { --plus: 255 138 92; --minus: 104 170 255; --kept: 46 190 142; --taken: 236 112 226; --faded: 58 64 71; } }
[hidden] { display: none !important; }
main.inspection { max-width: 94rem; padding-top: 2rem; }
.inspection header { margin-bottom: 1.25rem; }
.controls { position: sticky; top: 0; z-index: 2; background: var(--card); display: flex; flex-wrap: wrap; align-items: center; gap: 0.625rem 1rem;
  border: 1px solid var(--rule); border-radius: 0.625rem; padding: 0.75rem 1rem; margin-bottom: 1.25rem; box-shadow: 0 4px 14px rgb(0 0 0 / 0.08); }
.controls label { display: flex; align-items: center; gap: 0.5rem; font-size: 0.875rem; color: var(--soft); }
.controls .time { flex: 1 1 16rem; min-width: 0; }
.controls input[type=range] { flex: 1; min-width: 0; accent-color: var(--prompt); height: 1.5rem; }
.controls output { flex: 1 1 100%; font-size: 0.9375rem; font-variant-numeric: tabular-nums; min-height: 1.5em; overflow-wrap: anywhere; }
select, button { font: inherit; font-size: 0.875rem; color: var(--text); background: var(--ground); border: 1px solid var(--rule); border-radius: 0.375rem; padding: 0.25rem 0.5rem; min-height: 2rem; }
button { cursor: pointer; min-width: 2rem; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.25rem; }
.columns > section { margin: 0; min-width: 0; }
@media (min-width: 68rem) { .columns { grid-template-columns: repeat(2, minmax(0, 1fr)); } .wide, #survey[hidden] + .half { grid-column: 1 / -1; } }
.inspection .reading { margin-bottom: 1rem; max-width: 52rem; }
.inspection h2 { margin-bottom: 0.5rem; }
.text { font: 0.9375rem/1.9 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 15rem; overflow-y: auto; position: relative; padding: 2px; }
.text span { cursor: pointer; border-radius: 2px; padding: 0.125rem 0; background: rgb(var(--kept) / var(--left, 0)); border-bottom: 3px solid transparent; }
.text .plus { border-bottom: 3px solid rgb(var(--plus) / var(--s)); }
.text .minus { border-bottom: 3px dotted rgb(var(--minus) / var(--s)); }
.text .took { border-bottom: 3px double rgb(var(--taken) / var(--s)); }
.mark { font-weight: 600; color: var(--text); }
.mark.plus { border-bottom: 3px solid rgb(var(--plus)); }
.mark.took { border-bottom: 3px double rgb(var(--taken)); }
#lane { width: 100%; margin-top: 1rem; outline: 0; image-rendering: auto; cursor: pointer; }
#lane:focus-visible { outline: 2px solid var(--prompt); outline-offset: 4px; }
.text .now { outline: 2px solid var(--text); outline-offset: 1px; font-weight: 700; }
.text .later { opacity: 0.45; }
canvas { display: block; max-width: 100%; image-rendering: pixelated; outline: 1px solid var(--rule); touch-action: pan-y; }
canvas:focus-visible { outline: 2px solid var(--prompt); }
.value { font-size: 0.875rem; color: var(--soft); min-height: 1.55em; margin: 0.5rem 0 0; font-variant-numeric: tabular-nums; }
.facts { display: flex; flex-wrap: wrap; gap: 0.375rem 1.5rem; margin: 0 0 1rem; padding: 0; }
.facts div { display: flex; flex-direction: column; }
.facts dt { font-size: 0.8125rem; color: var(--soft); }
.facts dd { margin: 0; font-size: 1.0625rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; font-size: 0.8125rem; color: var(--soft); margin: 0.5rem 0 0; }
.legend i { display: inline-block; width: 1rem; height: 1rem; vertical-align: -0.2em; margin-right: 0.375rem; outline: 1px solid var(--rule); }
.legend .kept { background: rgb(var(--kept)); }
.legend .taken { background: rgb(var(--taken)); }
.legend .faded { background: rgb(var(--faded)); }
.legend .wrote { background: var(--soft); width: 0.375rem; }
.legend .arc { height: 0; outline: 0; border-top: 3px solid rgb(var(--plus)); background: none; vertical-align: 0.25em; }
.legend .arc.taken { border-color: rgb(var(--taken)); background: none; }
.legend .more { background: rgb(var(--plus)); }
.legend .less { background: linear-gradient(var(--card), var(--card)) center / 55% 2px no-repeat, rgb(var(--minus)); }
.strips { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.375rem 0.75rem; align-items: center; font-size: 0.875rem; }
.strips canvas { width: 100%; height: 1.5rem; }
.series { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.25rem 1.5rem; }
.series svg { display: block; width: 100%; height: 8.5rem; overflow: visible; cursor: crosshair; }
.series h3 { margin: 0 0 0.25rem; font-size: 0.875rem; font-weight: 600; }
.series .key { font-size: 0.8125rem; color: var(--soft); margin: 0; font-variant-numeric: tabular-nums; }
.series .key svg { display: inline; width: 1.5rem; height: 0.5rem; vertical-align: 0.15em; margin-right: 0.25rem; }
.series { grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
h2 code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--ground); border: 1px solid var(--rule); border-radius: 0.375rem; padding: 0.125rem 0.5rem; overflow-wrap: anywhere; }
h2 small { font-weight: 400; font-size: 0.875rem; color: var(--soft); margin-left: 0.5rem; }
.fate { display: flex; height: 1.25rem; border-radius: 0.375rem; overflow: hidden; background: rgb(var(--faded)); gap: 1px; }
.fate span { flex-basis: 0; }
.fate .left { background: rgb(var(--kept)); }
.fate .overwritten { background: rgb(var(--taken)); }
.inspection #fate-words { margin: 0.5rem 0 1.25rem; max-width: none; }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(11rem, 100%), 1fr)); gap: 1rem 1.5rem; }
.lists h3, .half h3 { margin: 0 0 0.375rem; font-size: 0.875rem; }
.none { color: var(--soft); font-size: 0.875rem; margin: 0; }
.sources { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; width: 100%; }
.sources th, .sources td { text-align: left; font-weight: 400; padding: 0.1875rem 0.625rem 0.1875rem 0; border-top: 1px solid var(--rule); white-space: nowrap; }
.sources th { min-width: 5ch; max-width: 14ch; overflow: hidden; text-overflow: ellipsis; }
.sources td:nth-child(2) { color: var(--soft); }
.sources td:last-child { width: 100%; padding-right: 0; }
.sources .goes { font: inherit; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; border: 0; background: none; padding: 0 0.25rem; min-height: 0; min-width: 0; text-align: left; text-decoration: underline dotted; text-underline-offset: 3px; }
.sources .bar { display: block; height: 0.625rem; border-radius: 2px; background: rgb(var(--plus)); min-width: 2px; }
.sources .bar.minus { background: repeating-linear-gradient(90deg, rgb(var(--minus)) 0 4px, transparent 4px 6px); }
.sources .bar.taken { background: rgb(var(--taken)); }
.heads { border-collapse: separate; border-spacing: 3px; font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.heads th { font-weight: 400; color: var(--soft); text-align: left; padding-right: 0.75rem; white-space: nowrap; }
.heads button { display: block; width: 3.25rem; min-height: 1.75rem; padding: 0; font-size: 0.75rem; background: rgb(var(--kept) / var(--left, 0)); }
.heads button:disabled { color: inherit; cursor: default; }
.heads button[aria-pressed=true] { outline: 2px solid var(--text); outline-offset: 1px; font-weight: 700; }
#write-facts { margin-top: 1.25rem; }
.inspection .reading.small { font-size: 0.8125rem; margin: 0.75rem 0 0; }
#spectrum { display: block; width: 100%; height: 3rem; color: rgb(var(--kept)); }
.map { position: relative; width: fit-content; max-width: 100%; }
.map .row { position: absolute; left: -2px; right: -2px; outline: 2px solid var(--text); pointer-events: none; min-height: 3px; }
@media (max-width: 32rem) { .controls { padding: 0.625rem 0.75rem; } .controls label { gap: 0.375rem; } }
#state { color: var(--soft); text-align: center; padding: 3rem 1rem; }
#shown-all[aria-busy] { opacity: 0.6; transition: opacity 0.2s 0.15s; }
.seen { font-size: 0.875rem; color: var(--soft); }
@media print { .controls { position: static; } .text { max-height: none; } }
`;
