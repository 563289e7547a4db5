// A training report as one HTML file that needs nothing else: summary, curves, fast weight matrices, samples; one run,
// or several side by side.
import { argumentError, checkList, checkOptions, checkString, describe, type OptionNames } from '../core';
import { answerStyle, answerTable, type AnswerTable } from './answers';
import { lineChart, type LineChart } from './curves';
import { escapeMarkup, formatNumber } from './format';
import { heatmapGrid, heatmapStyle, type HeatmapGrid } from './heatmap';
import { type ScoreGrid, scoreGrid } from './scores';
import { reportStyle } from './style';
import { type TokenStrips, tokenStrips, tokenStyle } from './tokens';

/** What `renderReport` shows of one run; parts that are left out take no room. */
export interface ReportRun {
  /** Heads its column and goes before the titles of its parts where there are several runs. */
  name: string;
  /** Rows of the summary table in order, for example parameters, best validation loss, time, tokens per second. */
  summary: Readonly<Record<string, string | number>>;
  /** Charts of the same title in several runs are drawn as one. */
  charts?: readonly LineChart[];
  /** How well it did what. */
  scores?: ScoreGrid;
  /** Its memory at several moments. */
  fastWeights?: HeatmapGrid;
  /** What every token does to the memory. */
  writes?: TokenStrips;
  /** What the memory answers. */
  answers?: AnswerTable;
  /** Texts that it wrote. */
  samples?: readonly ReportSample[];
}

/** A text that a model wrote. */
export interface ReportSample {
  /** Its heading, plain text. */
  title: string;
  /** What the model was given; set apart from what it wrote. */
  prompt?: string;
  /** What the model wrote, line breaks kept. */
  text: string;
}

/** What `renderReport` takes. */
export interface Report {
  /** The heading, and the title of the page. */
  title: string;
  /** A line below the title: what was trained, when, by which version. */
  subtitle?: string;
  /** Side by side where there are several. */
  runs: readonly ReportRun[];
}

const REPORT: OptionNames<Report> = { title: true, subtitle: true, runs: true };
const RUN: OptionNames<ReportRun> = {
  name: true,
  summary: true,
  charts: true,
  scores: true,
  fastWeights: true,
  writes: true,
  answers: true,
  samples: true,
};
const SAMPLE: OptionNames<ReportSample> = { title: true, prompt: true, text: true };

/** The report as the text of an HTML file. */
export function renderReport(report: Report): string {
  checkOptions('renderReport', report, REPORT);
  const { runs } = report;
  checkString('renderReport', 'title', report.title);
  if (report.subtitle !== undefined) checkString('renderReport', 'subtitle', report.subtitle);
  checkList('renderReport', 'runs', runs);
  runs.forEach(checkRun);
  const title = escapeMarkup(report.title);
  return [
    '<!DOCTYPE html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8" />',
    '<meta name="viewport" content="width=device-width, initial-scale=1" />',
    '<meta name="color-scheme" content="light dark" />',
    `<title>${title}</title>`,
    `<style>${reportStyle}${heatmapStyle}${tokenStyle}${answerStyle}\n</style>`,
    '</head>',
    '<body>',
    runs.length > 1 ? '<main class="comparison">' : '<main>',
    `<header><h1>${title}</h1>${report.subtitle ? `<p class="subtitle">${escapeMarkup(report.subtitle)}</p>` : ''}</header>`,
    section('Summary', summaryTable(runs)),
    section('Scores', scores(runs)),
    section('Curves', curves(runs)),
    section('Fast weights', fastWeights(runs)),
    section('Writes', writes(runs)),
    section('Answers', answers(runs)),
    section('Samples', samples(runs)),
    '</main>',
    '</body>',
    '</html>',
    '',
  ]
    .filter((part, i, all) => part !== '' || i === all.length - 1)
    .join('\n');
}

function checkRun(run: ReportRun): void {
  const where = 'renderReport';
  checkOptions(where, run, RUN);
  checkString(where, 'name', run.name);
  if (typeof run.summary !== 'object' || run.summary === null) {
    throw argumentError('INVALID_ARGUMENT', where, 'summary', 'values by label', describe(run.summary));
  }
  checkList(where, 'charts', run.charts ?? []);
  checkList(where, 'samples', run.samples ?? []);
  for (const sample of run.samples ?? []) {
    checkOptions(where, sample, SAMPLE);
    checkString(where, 'sample title', sample.title);
    checkString(where, 'sample prompt', sample.prompt ?? '');
    checkString(where, 'sample text', sample.text);
  }
}

function section(title: string, body: string): string {
  return body === '' ? '' : `<section>\n<h2>${title}</h2>\n${body}\n</section>`;
}

/** One row per label that any run has, one column per run. */
function summaryTable(runs: readonly ReportRun[]): string {
  const labels = [...new Set(runs.flatMap((run) => Object.keys(run.summary)))];
  if (labels.length === 0) return '';
  const head =
    runs.length > 1
      ? `<thead><tr><td></td>${runs.map((run) => `<th scope="col">${escapeMarkup(run.name)}</th>`).join('')}</tr></thead>\n`
      : '';
  const body = labels.map((label) => {
    const cells = runs.map((run) => summaryCell(Object.hasOwn(run.summary, label) ? run.summary[label] : '–'));
    return `<tr><th scope="row">${escapeMarkup(label)}</th>${cells.join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="Summary"><table class="summary">\n${head}<tbody>\n${body.join('\n')}\n</tbody></table></div>`;
}

function summaryCell(value: string | number): string {
  return `<td>${escapeMarkup(typeof value === 'number' ? formatNumber(value, 5) : value)}</td>`;
}

function scores(runs: readonly ReportRun[]): string {
  const figures = runs.flatMap((run) => {
    if (!run.scores) return [];
    const name = escapeMarkup(runs.length > 1 ? `${run.name}: ${run.scores.title}` : run.scores.title);
    const grid = `<div class="scroll" tabindex="0" role="group" aria-label="${name}">${scoreGrid(run.scores)}</div>`;
    return [`<figure><h3>${name}</h3>\n${grid}</figure>`];
  });
  return figures.join('\n');
}

function curves(runs: readonly ReportRun[]): string {
  const figures = mergeCharts(runs).map((chart) => `<figure class="chart">${lineChart(chart)}</figure>`);
  return figures.length === 0 ? '' : `<div class="charts">\n${figures.join('\n')}\n</div>`;
}

/** Charts by title; in a comparison a colour stands for a run and a dash pattern for a series of it. */
function mergeCharts(runs: readonly ReportRun[]): LineChart[] {
  if (runs.length === 1) return [...(runs[0].charts ?? [])];
  const merged = new Map<string, LineChart>();
  runs.forEach((run, colour) => {
    for (const chart of run.charts ?? []) {
      const series = chart.series.map((s, dash) => ({
        ...s,
        name: chart.series.length > 1 ? `${run.name}, ${s.name}` : run.name,
        colour,
        dash,
      }));
      const before = merged.get(chart.title);
      merged.set(chart.title, { ...chart, ...before, series: [...(before?.series ?? []), ...series] });
    }
  });
  return [...merged.values()];
}

const READING = `Each picture is the memory of one head: a matrix that the network itself writes while it reads the text.
A row belongs to one component of the keys, a column to one component of the values. The entry says how strongly that
key component calls up that value component: red adds to it, blue takes from it, and no colour means that nothing is
stored there. All pictures of a table share one scale, given below it: from left to right they show a memory fill up,
and where colours fade or turn, it has forgotten or overwritten.`;

function fastWeights(runs: readonly ReportRun[]): string {
  const figures = runs.flatMap((run) => {
    if (!run.fastWeights) return [];
    const name = runs.length > 1 ? `${run.name}: ${run.fastWeights.title}` : run.fastWeights.title;
    return [`<figure><h3>${escapeMarkup(name)}</h3>\n${heatmapGrid(run.fastWeights)}</figure>`];
  });
  if (figures.length === 0) return '';
  return `<p class="reading">${READING}</p>\n<div class="side-by-side">\n${figures.join('\n')}\n</div>`;
}

const WRITING = `Each column is a token, and what the first head of a layer does when it reads it. Strength says how much
of the value is written, and forgets how much of what was stored is given up for it. Known before and known after compare
what the memory answers to the key of the token with the value that the token writes: red where they agree, no colour
where they have nothing to do with each other, blue where they are opposite. Where a key is written that the memory had
another value for, it is unknown before and known after.`;

function writes(runs: readonly ReportRun[]): string {
  const figures = runs.flatMap((run) => {
    if (!run.writes) return [];
    const name = runs.length > 1 ? `${run.name}: ${run.writes.title}` : run.writes.title;
    return [`<figure><h3>${escapeMarkup(name)}</h3>\n${tokenStrips(run.writes)}</figure>`];
  });
  return figures.length === 0 ? '' : `<p class="reading">${WRITING}</p>\n${figures.join('\n')}`;
}

function answers(runs: readonly ReportRun[]): string {
  const figures = runs.flatMap((run) => {
    if (!run.answers) return [];
    const name = runs.length > 1 ? `${run.name}: ${run.answers.title}` : run.answers.title;
    return [`<figure><h3>${escapeMarkup(name)}</h3>\n${answerTable(run.answers)}</figure>`];
  });
  return figures.length === 0 ? '' : `<div class="side-by-side">\n${figures.join('\n')}\n</div>`;
}

function samples(runs: readonly ReportRun[]): string {
  const blocks = runs.flatMap((run) =>
    (run.samples ?? []).map(({ title, prompt, text }) => {
      const name = runs.length > 1 ? `${run.name}: ${title}` : title;
      const given = prompt ? `<b class="prompt">${escapeMarkup(prompt)}</b>` : '';
      // A newline right after <pre> is dropped by the parser, so one is put there for it to drop.
      return `<article><h3>${escapeMarkup(name)}</h3><pre>\n${given}${escapeMarkup(text)}</pre></article>`;
    }),
  );
  return blocks.length === 0 ? '' : `<div class="side-by-side samples">\n${blocks.join('\n')}\n</div>`;
}
