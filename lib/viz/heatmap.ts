// Signed matrices as pictures: blue below zero, red above, and transparent at zero, so that they sit on a light page, a
// dark page and paper alike.
import { base64 } from '../platform';
import { argumentError, checkInteger, checkList, checkOptions, checkString, type OptionNames } from '../core';
import { checkLimit } from './checks';
import { escapeMarkup, formatNumber } from './format';
import { checkMatrix, colourOf, commonLimit, extent, type Matrix, NEGATIVE, POSITIVE } from './matrix';
import { encodePng } from './png';

export interface HeatmapRow {
  label: string;
  cells: readonly Matrix[];
}

/** A table of matrices on one scale, for example a row per layer and head and a column per moment. */
export interface HeatmapGrid {
  /** Part of every picture's description; a report prints it as a heading. */
  title: string;
  /** Above the columns, often a moment each. */
  columnLabels: readonly string[];
  /** One matrix per column label in each; any other number is a SHAPE error. */
  rows: readonly HeatmapRow[];
  /** The magnitude at which colours saturate; by default the 99.5 % quantile of the grid. */
  limit?: number;
}

const GRID: OptionNames<HeatmapGrid> = { title: true, columnLabels: true, rows: true, limit: true };
const ROW: OptionNames<HeatmapRow> = { label: true, cells: true };

/** A matrix as a PNG, one pixel per entry, first row on top; entries that are not numbers are grey. */
export function heatmapPng(matrix: Matrix, limit = limitOf('heatmapPng', matrix)): Uint8Array {
  const { rows, columns, data } = checkMatrix('heatmapPng', matrix);
  checkLimit('heatmapPng', limit);
  const rgba = new Uint8Array(rows * columns * 4);
  for (let i = 0; i < rows * columns; i++) {
    const colour = colourOf(data[i], limit);
    rgba.set(colour ? [...colour.hue, Math.round(255 * colour.strength)] : [128, 128, 128, 255], 4 * i);
  }
  return encodePng(columns, rows, rgba);
}

/** An `<img>` of about `size` pixels a side, every entry a square of whole pixels. */
export function heatmapImage(
  matrix: Matrix,
  description: string,
  limit = limitOf('heatmapImage', matrix),
  size = 128,
): string {
  checkMatrix('heatmapImage', matrix);
  checkString('heatmapImage', 'description', description);
  checkLimit('heatmapImage', limit);
  checkInteger('heatmapImage', 'size', size, 1);
  if (matrix.rows * matrix.columns === 0) return '<span class="fw-empty">empty</span>';
  const scale = Math.max(1, Math.floor(size / Math.max(matrix.rows, matrix.columns)));
  const [low, high] = extent(matrix.data);
  const range = Number.isNaN(low)
    ? 'no finite entry'
    : `entries from ${formatNumber(low, 3)} to ${formatNumber(high, 3)}`;
  const alt = escapeMarkup(`${description}: ${matrix.rows} by ${matrix.columns} matrix, ${range}`);
  const url = `data:image/png;base64,${base64(heatmapPng(matrix, limit))}`;
  return `<img class="fw-heat" src="${url}" alt="${alt}" title="${alt}" width="${matrix.columns * scale}" height="${matrix.rows * scale}" />`;
}

function limitOf(where: string, matrix: Matrix): number {
  return commonLimit([checkMatrix(where, matrix)]);
}

/** The grid as an HTML table with a key to its colours; `heatmapStyle` is its look. */
export function heatmapGrid(grid: HeatmapGrid): string {
  checkOptions('heatmapGrid', grid, GRID);
  checkString('heatmapGrid', 'title', grid.title);
  checkList('heatmapGrid', 'columnLabels', grid.columnLabels);
  checkList('heatmapGrid', 'rows', grid.rows);
  for (const row of grid.rows) {
    checkOptions('heatmapGrid', row, ROW);
    checkString('heatmapGrid', 'label', row.label);
    checkList('heatmapGrid', 'cells', row.cells);
    for (const cell of row.cells) checkMatrix('heatmapGrid', cell);
    const { label, cells } = row;
    if (cells.length === grid.columnLabels.length) continue;
    const expected = `${grid.columnLabels.length} matrices in row ${label}`;
    throw argumentError('SHAPE', 'heatmapGrid', 'rows', expected, `${cells.length}`);
  }
  const matrices = grid.rows.flatMap((row) => row.cells);
  const limit = checkLimit('heatmapGrid', grid.limit ?? commonLimit(matrices));
  const head = grid.columnLabels.map((label) => `<th scope="col">${escapeMarkup(label)}</th>`).join('');
  const body = grid.rows.map(({ label, cells }) => {
    const images = cells.map((cell, i) => {
      const image = heatmapImage(cell, `${grid.title}, ${label}, ${grid.columnLabels[i]}`, limit);
      return `<td>${image}</td>`;
    });
    return `<tr><th scope="row">${escapeMarkup(label)}</th>${images.join('')}</tr>`;
  });
  return [
    '<div class="fw-grid-scroll" tabindex="0" role="group" ',
    `aria-label="${escapeMarkup(grid.title)}"><table class="fw-grid">`,
    `<thead><tr><td></td>${head}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody></table></div>\n`,
    colourKey(limit, matrices),
  ].join('');
}

function colourKey(limit: number, matrices: readonly Matrix[]): string {
  const largest = Math.max(0, ...matrices.flatMap(({ data }) => extent(data).map(Math.abs)).filter(Number.isFinite));
  const bound = formatNumber(limit, 2);
  const note = largest > limit ? ` <span>largest magnitude ${formatNumber(largest, 2)}</span>` : '';
  return `<p class="fw-key"><span>-${bound}</span> <span class="fw-ramp" aria-hidden="true"></span> <span>${bound}</span>${note}</p>`;
}

/** CSS of `heatmapGrid`. */
export const heatmapStyle = `
.fw-heat { display: block; image-rendering: pixelated; outline: 1px solid color-mix(in srgb, currentColor 22%, transparent); }
.fw-grid-scroll { overflow-x: auto; padding: 2px; }
.fw-grid { border-collapse: collapse; }
.fw-grid th { font-weight: 500; font-size: 0.8125rem; text-align: left; white-space: nowrap; padding: 0 0.75rem 0.375rem 0; }
.fw-grid td { padding: 0 0.75rem 0.75rem 0; vertical-align: top; }
.fw-grid tbody th { vertical-align: top; padding-right: 1rem; }
.fw-key { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; font-size: 0.8125rem; margin: 0.25rem 0 0; font-variant-numeric: tabular-nums; }
.fw-ramp { width: 10rem; height: 0.625rem; outline: 1px solid color-mix(in srgb, currentColor 22%, transparent);
  background: linear-gradient(90deg, rgb(${NEGATIVE.join(' ')}), rgb(${NEGATIVE.join(' ')} / 0) 50%, rgb(${POSITIVE.join(' ')} / 0) 50%, rgb(${POSITIVE.join(' ')}));
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }`;
