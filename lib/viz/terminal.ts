// Text pictures for a terminal: sparklines, bars, tables, matrices in 256 colours. Pure functions that return strings.
import {
  checkInteger,
  checkList,
  checkNumber,
  checkNumbers,
  checkNumeric,
  checkOptions,
  type OptionNames,
} from '../core';
import { checkLimit } from './checks';
import { checkMatrix, colourOf, commonLimit, extent, type Matrix } from './matrix';

const LEVELS = '▁▂▃▄▅▆▇█';
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/**
 * One character per value, or per mean of neighbours if there are more than `width`; a blank where none is finite. Levels
 * go from the smallest to the largest, or over a `range`.
 */
export function sparkline(
  values: ArrayLike<number>,
  width = values?.length,
  range?: readonly [number, number],
): string {
  checkNumbers('sparkline', 'values', values);
  const cells = Math.min(values.length, checkInteger('sparkline', 'width', width));
  const means = Array.from({ length: cells }, (_, i) => {
    const from = Math.floor((i * values.length) / cells);
    const to = Math.floor(((i + 1) * values.length) / cells);
    const finite = Array.from({ length: to - from }, (_, j) => values[from + j]).filter(Number.isFinite);
    return finite.length === 0 ? NaN : finite.reduce((sum, x) => sum + x / finite.length, 0);
  });
  if (range) checkList('sparkline', 'range', range, 'the least and the largest value');
  const [low, high] = range ?? extent(means);
  if (range) for (const bound of [low, high]) checkNumber('sparkline', 'range', bound);
  const share = (x: number): number => Math.min(1, Math.max(0, (x - low) / (high - low)));
  // A level in the middle where there is nothing to compare.
  const levelOf = (x: number): number => (high > low ? Math.round(share(x) * 7) : 3);
  return means.map((x) => (Number.isNaN(x) ? ' ' : LEVELS[levelOf(x)])).join('');
}

/** A bar of `width` characters, filled to `fraction` in steps of an eighth of a character. */
export function bar(fraction: number, width: number): string {
  checkNumeric('bar', 'fraction', fraction);
  checkInteger('bar', 'width', width);
  const share = Number.isNaN(fraction) ? 0 : Math.min(1, Math.max(0, fraction));
  const eighths = Math.round(share * width * 8);
  const full = Math.floor(eighths / 8);
  return ('█'.repeat(full) + EIGHTHS[eighths % 8]).padEnd(width, '░');
}

/** Rows in aligned columns under a header; columns of numbers stand flush right. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  checkList('table', 'header', header);
  checkList('table', 'rows', rows);
  for (const row of rows) checkList('table', 'row', row);
  const text = [header, ...rows].map((row) => header.map((_, c) => String(row[c] ?? '')));
  const widths = header.map((_, c) => Math.max(...text.map((row) => displayWidth(row[c]))));
  const numeric = header.map((_, c) => rows.length > 0 && rows.every((row) => typeof row[c] === 'number'));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, c) => {
        const space = ' '.repeat(widths[c] - displayWidth(cell));
        return numeric[c] ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  return [line(text[0]), widths.map((width) => '─'.repeat(width)).join('  '), ...text.slice(1).map(line)].join('\n');
}

export interface HeatOptions {
  /** Columns, 80 by default. */
  width?: number;
  /** The magnitude at which colours saturate; by default the 99.5 % quantile. */
  limit?: number;
}

const HEAT: OptionNames<HeatOptions> = { width: true, limit: true };

/**
 * A matrix in coloured half blocks, two rows to a line: blue below zero, red above, black at zero. Larger ones than
 * `width` columns are pooled, the entry of largest magnitude standing for its square.
 */
export function heat(matrix: Matrix, options: HeatOptions = {}): string {
  checkOptions('heat', options, HEAT);
  checkMatrix('heat', matrix);
  const width = checkInteger('heat', 'width', options.width ?? 80, 1);
  const limit = checkLimit('heat', options.limit ?? commonLimit([matrix]));
  const { rows, columns, data } = pool(matrix, Math.ceil(matrix.columns / width) || 1);
  const lines: string[] = [];
  for (let r = 0; r < rows; r += 2) {
    let line = '';
    for (let c = 0; c < columns; c++) {
      const top = ansiColour(data[r * columns + c], limit);
      const bottom = r + 1 < rows ? `48;5;${ansiColour(data[(r + 1) * columns + c], limit)}` : '49';
      line += `\x1b[38;5;${top};${bottom}m▀`;
    }
    lines.push(`${line}\x1b[0m`);
  }
  return lines.join('\n');
}

/** Columns that a string takes: escape sequences take none, wide East Asian characters and emoji two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const c of text.replace(ANSI, '')) width += /\p{Mn}|\p{Cf}/u.test(c) ? 0 : WIDE.test(c) ? 2 : 1;
  return width;
}

const ANSI = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*[A-Za-z]`, 'g');
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** Squares of `side` entries become one. */
function pool(matrix: Matrix, side: number): Matrix {
  if (side === 1) return matrix;
  const rows = Math.ceil(matrix.rows / side);
  const columns = Math.ceil(matrix.columns / side);
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < matrix.data.length; i++) {
    const at = Math.floor(i / matrix.columns / side) * columns + Math.floor((i % matrix.columns) / side);
    if (!(Math.abs(matrix.data[i]) <= Math.abs(data[at]))) data[at] = matrix.data[i];
  }
  return { rows, columns, data };
}

/** The nearest colour of the 6 x 6 x 6 cube (16 + 36 r + 6 g + b, levels 0, 95, 135, ... 255); grey for NaN. */
function ansiColour(value: number, limit: number): number {
  const colour = colourOf(value, limit);
  if (!colour) return 244;
  const [r, g, b] = colour.hue.map((channel) => {
    const level = channel * colour.strength;
    return level < 48 ? 0 : Math.max(1, Math.min(5, Math.round((level - 55) / 40)));
  });
  return 16 + 36 * r + 6 * g + b;
}
