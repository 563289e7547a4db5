// An inspection as one HTML file that needs nothing else.
import { argumentError, checkObject, checkOptions, type OptionNames } from '../../core';
import { escapeMarkup, reportStyle } from '../../viz';
import type { Inspection } from '../inspect';
import { inspectionBody, liveInspectionBody } from './body';
import { pageMemory, pagePlace } from './data';
import { inspectionScript, liveInspectionScript } from './script';
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
 * The page of an inspection, the text of an HTML file: the text, coloured by what is left of each write, with what the chosen token
 * reads and what has overwritten it; a slider over the tokens; the matrix as it was at each; what a key was answered before and after
 * the write; strengths, decays, norm and singular values over time; maps of reads and of overwriting. For light and dark screens from 420 pixels on; signs are told by more than colour, and every entry can be read.
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
  const { places } = inspection;
  const data = JSON.stringify({ tokens, places: places.map(pagePlace), memories: inspection.memories.map(pageMemory) });
  const left =
    inspection.omitted === 0
      ? ''
      : ` ${inspection.omitted} more memories are left out, so that the page stays small; choose a layer or a head to see them.`;
  const lines = [subtitle, left].filter(Boolean).map((line) => `<p class="subtitle">${escapeMarkup(line!)}</p>`);
  const header = `<header><h1>${escapeMarkup(title)}</h1>${lines.join('')}</header>`;
  const numbers = `<script type="application/json" id="inspection">${data.replace(/</g, '\\u003c')}</script>`;
  return pageOf(title, `${header}\n${inspectionBody}`, `${numbers}\n<script>${inspectionScript}</script>`);
}

/**
 * The same page for what a server is asked: empty until the page around it calls its function `inspect(session, ask)`, where
 * `ask(method, path, body, signal)` gives the Response of `POST /v1/sessions/{session}/inspect`.
 */
export function liveInspectionPage(): string {
  return pageOf('Inspector', liveInspectionBody, `<script>${liveInspectionScript}</script>`);
}

function pageOf(title: string, body: string, scripts: string): string {
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
${body}
</main>
${scripts}
</body>
</html>
`;
}
