// Scores as a picture: a row and a column each, the share in figures and as a shade, so that neither a dark page nor missing
// colours take anything away.
import { argumentError, checkList, checkOptions, checkString, type OptionNames } from '../core';
import { escapeMarkup } from './format';
import { displayWidth } from './terminal';

/** What `scoreGrid` takes. */
export interface ScoreGrid {
  /** Read out by screen readers; a report prints it as a heading. */
  title: string;
  /** Above the columns, turned. */
  columnLabels: readonly string[];
  /** From 0 to 1, written in per cent; NaN stays empty. As many in each as there are column labels: otherwise a SHAPE error. */
  rows: readonly { label: string; scores: readonly number[] }[];
}

const GRID: OptionNames<ScoreGrid> = { title: true, columnLabels: true, rows: true };
const ROW: OptionNames<ScoreGrid['rows'][number]> = { label: true, scores: true };

const CELL = { width: 52, height: 24 };
const CHARACTER = 7.4;
/** Of column labels, which stand at this angle. */
const ANGLE = 45;
const SHADE = '#2a9d6f';

/** The grid as one `<svg>` element, which is also a file of its own. */
export function scoreGrid(grid: ScoreGrid): string {
  const where = 'scoreGrid';
  checkOptions(where, grid, GRID);
  const { title, columnLabels, rows } = grid;
  checkString(where, 'title', title);
  checkList(where, 'columnLabels', columnLabels);
  checkList(where, 'rows', rows);
  columnLabels.forEach((label) => checkString(where, 'columnLabels', label));
  for (const row of rows) {
    checkOptions(where, row, ROW);
    checkString(where, 'label', row.label);
    checkList(where, 'scores', row.scores);
    if (row.scores.length === columnLabels.length) continue;
    const expected = `${columnLabels.length} in row ${row.label}`;
    throw argumentError('SHAPE', where, 'scores', expected, `${row.scores.length}`);
  }
  const longest = (labels: readonly string[]): number => Math.max(0, ...labels.map(displayWidth)) * CHARACTER;
  const sine = Math.sin((ANGLE * Math.PI) / 180);
  const slant = longest(columnLabels) * sine;
  const left = longest(rows.map(({ label }) => label)) + 12;
  const top = slant + 16;
  const width = Math.ceil(left + columnLabels.length * CELL.width + slant);
  const height = Math.ceil(top + rows.length * CELL.height + 4);
  const heads = columnLabels.map((label, j) => {
    const at = `translate(${fixed(left + (j + 0.5) * CELL.width)} ${fixed(top - 8)}) rotate(-${ANGLE})`;
    return `<text transform="${at}">${escapeMarkup(label)}</text>`;
  });
  const body = rows.map(({ label, scores }, i) => {
    const y = top + i * CELL.height;
    const middle = fixed(y + CELL.height / 2);
    const name = `<text x="${fixed(left - 8)}" y="${middle}" dy="0.35em" text-anchor="end">${escapeMarkup(label)}</text>`;
    return name + scores.map((score, j) => cell(score, left + j * CELL.width, y)).join('');
  });
  return [
    `<svg class="fw-scores" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" `,
    `role="img" aria-label="${escapeMarkup(describeScores(grid))}" font-family="system-ui, sans-serif" font-size="13" fill="currentColor">\n`,
    '<style>.fw-scores { color: #1c2024; } ',
    '@media (prefers-color-scheme: dark) { .fw-scores { color: #e4e6e8; } } ',
    '@media print { .fw-scores { color: #000; } }</style>\n',
    ...[...heads, ...body].map((part) => `${part}\n`),
    '</svg>',
  ].join('');
}

function cell(score: number, x: number, y: number): string {
  if (Number.isNaN(score)) return '';
  const share = Math.min(1, Math.max(0, score));
  const box = `x="${fixed(x + 1)}" y="${fixed(y + 1)}" width="${CELL.width - 2}" height="${CELL.height - 2}" rx="3"`;
  const shade = `fill="${SHADE}" fill-opacity="${(0.75 * share).toFixed(2)}" stroke="currentColor" stroke-opacity="0.2"`;
  const weight = share >= 0.95 ? ' font-weight="700"' : '';
  const [cx, cy] = [fixed(x + CELL.width / 2), fixed(y + CELL.height / 2)];
  return `<rect ${box} ${shade} /><text x="${cx}" y="${cy}" dy="0.35em" text-anchor="middle"${weight}>${Math.round(100 * share)}</text>`;
}

/** What someone who does not see it should know. */
function describeScores({ title, columnLabels, rows }: ScoreGrid): string {
  const lines = rows.map(({ label, scores }) => {
    const known = scores.flatMap((score, j) =>
      Number.isNaN(score) ? [] : [`${columnLabels[j]} ${Math.round(100 * score)} %`],
    );
    return `${label}: ${known.join(', ')}`;
  });
  return `${title}. ${lines.join('; ')}`;
}

function fixed(x: number): string {
  return String(Number(x.toFixed(1)));
}
