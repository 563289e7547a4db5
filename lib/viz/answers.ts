// What a memory answers, as a table: a row per question, a column per moment, right answers and wrong ones marked.
import { argumentError, checkList, checkOptions, checkString, type OptionNames } from '../core';
import { escapeMarkup } from './format';

/** One answer; where it is marked right or wrong, a sign goes with the colour. */
export interface AnswerCell {
  /** What the memory said, plain: markup is escaped. */
  text: string;
  /** Left out where there is nothing to be right about. */
  right?: boolean;
}

/** What `answerTable` takes. */
export interface AnswerTable {
  /** Read out by screen readers; a report prints it as a heading. */
  title: string;
  /** Above the columns. */
  columnLabels: readonly string[];
  /** A question each, with one cell per column label; any other number is a SHAPE error. */
  rows: readonly { label: string; cells: readonly AnswerCell[] }[];
}

const TABLE: OptionNames<AnswerTable> = { title: true, columnLabels: true, rows: true };
const ROW: OptionNames<AnswerTable['rows'][number]> = { label: true, cells: true };
const CELL: OptionNames<AnswerCell> = { text: true, right: 'flag' };

/** The table as HTML; `answerStyle` is its look. */
export function answerTable(answers: AnswerTable): string {
  checkOptions('answerTable', answers, TABLE);
  const { title, columnLabels, rows } = answers;
  checkString('answerTable', 'title', title);
  checkList('answerTable', 'columnLabels', columnLabels);
  checkList('answerTable', 'rows', rows);
  const head = columnLabels.map((label) => `<th scope="col">${escapeMarkup(label)}</th>`).join('');
  const body = rows.map((row) => {
    checkOptions('answerTable', row, ROW);
    checkString('answerTable', 'label', row.label);
    checkList('answerTable', 'cells', row.cells);
    if (row.cells.length !== columnLabels.length) {
      const expected = `${columnLabels.length} cells in row ${row.label}`;
      throw argumentError('SHAPE', 'answerTable', 'rows', expected, `${row.cells.length}`);
    }
    return `<tr><th scope="row">${escapeMarkup(row.label)}</th>${row.cells.map(markCell).join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="${escapeMarkup(title)}"><table class="fw-answers">
<thead><tr><td></td>${head}</tr></thead>
<tbody>
${body.join('\n')}
</tbody></table></div>`;
}

/** Not by colour alone. */
function markCell(cell: AnswerCell): string {
  checkOptions('answerTable', cell, CELL);
  checkString('answerTable', 'text', cell.text);
  const text = escapeMarkup(cell.text);
  if (cell.right === undefined) return `<td>${text}</td>`;
  return cell.right ? `<td class="right">✓ ${text}</td>` : `<td class="wrong">✗ ${text}</td>`;
}

/** CSS of `answerTable`. */
export const answerStyle = `
.fw-answers { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
.fw-answers th, .fw-answers td { text-align: left; font-weight: 400; padding: 0.25rem 1.25rem 0.25rem 0; white-space: nowrap; }
.fw-answers thead th { font-weight: 600; }
.fw-answers .right { color: #1e7d4f; }
.fw-answers .wrong { color: #c8412b; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  .fw-answers .right { color: #5fc793; }
  .fw-answers .wrong { color: #ff8a70; }
}`;
