// The look of a report.

/**
 * CSS of reports and other pages: one column of text, two of charts where there is room, light or dark as the reader's system
 * has it, plain on paper.
 */
export const reportStyle = `
:root { color-scheme: light dark; --ground: #f6f7f8; --card: #fff; --text: #1c2024; --soft: #5b6570; --rule: #dde1e5; --prompt: #1a5fb4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #121417; --card: #1b1e22; --text: #e4e6e8; --soft: #9aa4ae; --rule: #30353b; --prompt: #7db4f5; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
main.comparison { max-width: 94rem; }
header { margin-bottom: 2rem; }
h1 { font-size: 1.875rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1875rem; letter-spacing: -0.005em; margin: 0 0 1rem; }
h3 { font-size: 0.9375rem; margin: 0 0 0.75rem; overflow-wrap: anywhere; }
.subtitle { color: var(--soft); margin: 0.5rem 0 0; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 0.625rem; padding: 1.5rem; margin-bottom: 1.25rem; }
.scroll { overflow-x: auto; }
.summary { border-collapse: collapse; min-width: min(28rem, 100%); font-size: 0.9375rem; }
.summary th, .summary td { text-align: left; padding: 0.4375rem 2rem 0.4375rem 0; border-top: 1px solid var(--rule); vertical-align: top; }
.summary th { font-weight: 400; color: var(--soft); }
.summary thead th { font-weight: 600; color: var(--text); }
.summary thead th, .summary thead td, .summary tbody:first-child tr:first-child > * { border-top: 0; }
.summary td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
/* Of several runs a column never breaks a word: the table scrolls instead, and says which row it is. */
.summary thead ~ tbody td { overflow-wrap: break-word; min-width: 6rem; padding-right: 1.25rem; }
.summary thead ~ tbody th { position: sticky; left: 0; background: var(--card); padding-right: 1.25rem; }
figure { margin: 0; min-width: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.75rem 2rem; }
.chart svg { display: block; width: 100%; }
.reading { color: var(--soft); max-width: 44rem; margin: 0 0 1.5rem; font-size: 0.9375rem; }
.side-by-side { display: flex; flex-wrap: wrap; gap: 1.75rem 2.5rem; }
.side-by-side > * { min-width: 0; max-width: 100%; }
.samples > * { flex: 1 1 24rem; }
pre { margin: 0; font: 0.875rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
.prompt { font-weight: 600; color: var(--prompt); }
:focus-visible { outline: 2px solid var(--prompt); outline-offset: 2px; }
@media (max-width: 32rem) {
  main { padding: 1.5rem 0.75rem 2rem; }
  section { padding: 1rem 0.875rem; }
  h1 { font-size: 1.5rem; }
  .summary th, .summary td { padding-right: 1rem; }
}
@media print {
  :root { --ground: #fff; --card: #fff; --text: #000; --soft: #333; --rule: #bbb; --prompt: #000; color-scheme: light; }
  main { padding: 0; max-width: none; }
  section { border: 0; padding: 0; margin-bottom: 1.5rem; }
  .chart, article, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}`;
