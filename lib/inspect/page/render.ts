// An inspection as one HTML file that needs nothing else.
import { argumentError, checkObject, checkOptions, type OptionNames } from '../../core';
import { escapeMarkup, reportStyle } from '../../viz';
import type { Inspection } from '../inspect';
import { pageMemory } from './data';
import { inspectionScript } from './script';
import { inspectionStyle } from './style';

/** Options of `renderInspection`. */
export interface RenderInspectionOptions {
  /** The text of every token that was read, as it is: markup is escaped. */
  tokens: readonly string[];
  /** The heading; 'Fast weights of <model>' by default. */
  title?: string;
  /** A line below it. */
  subtitle?: string;
}

const OPTIONS: OptionNames<RenderInspectionOptions> = { tokens: true, title: true, subtitle: true };

/**
 * The page of an inspection, the text of an HTML file: a slider over the tokens; the matrix as it was at each; what its key was
 * answered before and after the write; strengths, decays, norm and effective rank over time; and from which earlier writes a
 * query reads. For light and dark screens from 420 pixels on; signs are told by more than colour, and every entry can be read.
 */
export function renderInspection(inspection: Inspection, options: RenderInspectionOptions): string {
  const where = 'renderInspection';
  checkObject(where, 'inspection', inspection);
  checkOptions(where, options, OPTIONS);
  const { tokens, title = `Fast weights of ${inspection.model}`, subtitle } = options;
  if (!Array.isArray(tokens) || tokens.length !== inspection.tokens) {
    throw argumentError(
      'SHAPE',
      where,
      'tokens',
      `${inspection.tokens} texts`,
      `${(tokens as { length?: number })?.length}`,
    );
  }
  const data = JSON.stringify({ tokens, memories: inspection.memories.map(pageMemory) });
  const left =
    inspection.omitted === 0
      ? ''
      : ` ${inspection.omitted} more memories are left out, so that the page stays small; choose a layer or a head to see them.`;
  const lines = [subtitle, left].filter(Boolean).map((line) => `<p class="subtitle">${escapeMarkup(line!)}</p>`);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>${escapeMarkup(title)}</title>
<style>${reportStyle}${inspectionStyle}</style>
</head>
<body>
<main class="inspection">
<header><h1>${escapeMarkup(title)}</h1>${lines.join('')}</header>
${BODY}
</main>
<script type="application/json" id="inspection">${data.replace(/</g, '\\u003c')}</script>
<script>${inspectionScript}</script>
</body>
</html>
`;
}

const LEGEND = (
  id: string,
): string => `<p class="legend"><span><i class="more"></i>above zero</span><span><i class="less"></i>below zero,
with a bar where there is room</span><span>full colour from <b id="${id}"></b> on</span></p>`;

const strip = (name: string, label: string): string =>
  `<span id="label-${name}">${label}</span><canvas id="strip-${name}" data-high="24" tabindex="0" role="img" aria-label="${label}; arrow keys read entries"></canvas>`;

const BODY = `<div class="controls" role="group" aria-label="What is shown">
<label>Layer <select id="layer"></select></label>
<label>Matrix <select id="name"></select></label>
<label>Head <select id="head"></select></label>
<label class="time">Time <button type="button" id="back" aria-label="One step back">‹</button>
<input type="range" id="step" min="0" value="0" aria-label="Steps that are over" />
<button type="button" id="on" aria-label="One step on">›</button></label>
<button type="button" id="play" aria-label="Play">▶</button>
<output id="moment" for="step" aria-live="polite"></output>
</div>
<div class="columns">
<section class="wide"><h2>The text</h2>
<p class="reading">Framed is the token just read. The others are marked by the weight with which its query reads what was written
at them: underlined where the value is added, dotted where it is taken away. A click goes to a token.</p>
<div id="text" class="text"></div></section>
<section><h2>The matrix</h2>
<dl class="facts"><div><dt>norm</dt><dd id="norm"></dd></div><div><dt>effective rank</dt><dd id="rank"></dd></div>
<div><dt>keys × values</dt><dd id="size"></dd></div><div><dt>rule</dt><dd id="rule"></dd></div></dl>
<p class="reading">Rows are components of keys, columns components of values.</p>
<p><label>Show <select id="shown" aria-label="What of the matrix is shown"><option value="matrix">the matrix</option>
<option value="change">what the last step changed</option><option value="moved" id="moved">what changed since the start</option></select></label></p>
<canvas id="matrix" tabindex="0" role="img"></canvas>
${LEGEND('limit')}<p class="value" id="matrix-value" role="status">Point at an entry, or use the arrow keys on the picture.</p></section>
<div class="stack"><section><h2>The write</h2>
<p class="reading">What the memory answers to the key of the token, before the write and after it, and the value that is written. Known
is the cosine of answer and value: 1 where they agree, 0 where they have nothing to do with each other.</p>
<p id="unwritten">Nothing has been written yet.</p>
<div id="write"><dl class="facts" id="write-facts"></dl>
<div class="strips">
${strip('before', 'answer before')}
${strip('value', 'value')}
${strip('after', 'answer after')}
${strip('output', 'query reads')}
</div>
<p class="value" id="write-value" role="status">Point at an entry, or use the arrow keys on a strip.</p></div></section>
<section><h2>What the query reads</h2>
<h3 id="sources-of"></h3>
<table class="sources" id="sources-table"><thead><tr><th scope="col">written at</th><th scope="col">step</th><th scope="col">weight</th><td></td></tr></thead>
<tbody id="sources"></tbody></table><p class="value" id="from-start"></p></section></div>
<section class="wide"><h2>Over time</h2>
<p class="reading">A click goes to a moment. The effective rank is the exponential of the entropy of the singular values: the number of
directions that the matrix spreads over.</p>
<div class="series" id="series"></div></section>
<section class="wide"><h2>From which writes queries read</h2>
<div class="beside"><div class="map"><canvas id="reads" tabindex="0" role="img"></canvas><span id="row" aria-hidden="true"></span></div>
<div><p class="reading">The dual form: what a query reads is a sum of the values written before it, each with a weight. What a later
write has replaced, or decay has faded, has lost its weight. It is attention over the past that the matrix has taken in: rows are
queries, columns writes, and the framed row is the query of the token just read. A click on a row goes there.</p>
${LEGEND('reads-limit')}<p class="value" id="reads-value" role="status">Point at an entry, or use the arrow keys on the picture.</p></div></div></section>
</div>`;
