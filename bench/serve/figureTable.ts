// The table of a server's figures.
import { align, signed } from '../report';
import type { Figure } from './figure';

/** Three digits of the small, all of the large. */
const number = (x: number): string => (Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));

function targetOf({ target, holds }: Figure): string {
  if (!target) return '';
  const { most, least } = target;
  return `${most === undefined ? `>= ${least}` : `<= ${most}`}${holds ? '' : ' MISSED'}`;
}

function spread({ median, quartiles, samples }: Figure): string {
  return samples === 1 ? '1 sample' : quartiles.map((q) => signed(q / median - 1)).join(' ');
}

export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((each) => [
    each.name,
    targetOf(each),
    `${number(each.median)} ${each.unit}`,
    spread(each),
    String(each.samples),
  ]);
  return align([['figure', 'target', 'median', 'spread', 'samples'], ...rows]).join('\n');
}
