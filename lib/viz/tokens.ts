// What happens at each token of a text, as a table: a column per token, a row per quantity, its value as a colour.
import { argumentError, checkList, checkNumbers, checkOptions, checkString, type OptionNames } from '../core';
import { checkLimit } from './checks';
import { escapeMarkup, formatNumber } from './format';
import { colourOf, NEGATIVE, POSITIVE } from './matrix';

/** One quantity over all tokens. */
export interface TokenRow {
  /** Before the row. */
  label: string;
  /** One for each token. */
  values: ArrayLike<number>;
}

/** What `tokenStrips` takes. */
export interface TokenStrips {
  /** Read out by screen readers; a report prints it as a heading. */
  title: string;
  /** A column each; white space is shown as signs, and of more than 8 characters the first 7. */
  tokens: readonly string[];
  /** One value per token in each; any other number is a SHAPE error. */
  rows: readonly TokenRow[];
  /** The magnitude at which colours saturate, 1 by default. */
  limit?: number;
}

const STRIPS: OptionNames<TokenStrips> = { title: true, tokens: true, rows: true, limit: true };
const ROW: OptionNames<TokenRow> = { label: true, values: true };

/** The table as HTML; `tokenStyle` is its look. */
export function tokenStrips(strips: TokenStrips): string {
  const where = 'tokenStrips';
  checkOptions(where, strips, STRIPS);
  const { title, tokens, rows } = strips;
  checkString(where, 'title', title);
  checkList(where, 'tokens', tokens);
  for (const token of tokens) checkString(where, 'token', token);
  checkList(where, 'rows', rows);
  const limit = checkLimit(where, strips.limit ?? 1);
  const head = tokens.map((token) => `<th scope="col">${escapeMarkup(visible(token))}</th>`).join('');
  const body = rows.map((row) => {
    checkOptions(where, row, ROW);
    const { label, values } = row;
    checkString(where, 'label', label);
    checkNumbers(where, `values of ${label}`, values);
    if (values.length !== tokens.length) {
      throw argumentError('SHAPE', where, 'rows', `${tokens.length} values in row ${label}`, `${values.length}`);
    }
    const cells = Array.from(values, (value) => cell(value, limit)).join('');
    return `<tr><th scope="row">${escapeMarkup(label)}</th>${cells}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="${escapeMarkup(title)}"><table class="fw-tokens">
<thead><tr><td></td>${head}</tr></thead>
<tbody>
${body.join('\n')}
</tbody></table></div>`;
}

function cell(value: number, limit: number): string {
  const text = formatNumber(value, 2);
  const colour = colourOf(value, limit);
  if (!colour) return `<td title="${text}">–</td>`;
  const sign = value < 0 ? 'less' : 'more';
  return `<td class="${sign}" style="--s:${Number(colour.strength.toFixed(2))}" title="${text}"></td>`;
}

/** White space as signs; of a long token its beginning. */
function visible(token: string): string {
  const signs = token.replace(/ /g, '␣').replace(/\r?\n/g, '⏎').replace(/\t/g, '⇥');
  const characters = [...signs];
  return characters.length > 8 ? `${characters.slice(0, 7).join('')}…` : signs;
}

/** CSS of `tokenStrips`. */
export const tokenStyle = `
.fw-tokens { border-collapse: separate; border-spacing: 1px; font-size: 0.8125rem; }
.fw-tokens th { font-weight: 400; white-space: pre; text-align: left; padding: 0 0.75rem 0 0; position: sticky; left: 0; background: var(--card, Canvas); }
.fw-tokens thead th { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; text-align: center; padding: 0 1px; min-width: 1rem; position: static; }
.fw-tokens td { height: 1.125rem; padding: 0; text-align: center; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.fw-tokens .more { background: rgb(${POSITIVE.join(' ')} / var(--s)); }
.fw-tokens .less { background: rgb(${NEGATIVE.join(' ')} / var(--s)); }`;
