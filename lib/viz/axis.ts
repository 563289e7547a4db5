// Axes of charts: ranges, round ticks and their labels, on a linear or a logarithmic scale.
import { formatCount, formatNumber } from './format';
import { extent } from './matrix';

export type Scale = 'linear' | 'log';

export interface Axis {
  /** Where a value lies, from 0 to 1. */
  position(value: number): number;
  ticks: { value: number; label: string }[];
}

const ROUND = [1, 2, 5, 10];

/** The smallest of 1, 2, 5 times a power of ten that is >= x. */
function roundUp(x: number): number {
  const power = 10 ** Math.floor(Math.log10(x));
  return power * ROUND.find((r) => r * power >= x * (1 - 1e-9))!;
}

/** The axis for some values; those a scale cannot show (NaN, or <= 0 on a logarithmic one) are left out. */
export function makeAxis(values: ArrayLike<number>, scale: Scale, count: number): Axis {
  const shown = Array.from(values).filter((x) => canShow(x, scale));
  const [low, high] = shown.length > 0 ? extent(shown) : scale === 'log' ? [1, 10] : [0, 1];
  return scale === 'log' ? logAxis(low, high, count) : linearAxis(low, high, count);
}

/** Magnitudes beyond this leave no room for the arithmetic of an axis; no measurement has them. */
const LARGEST = 1e250;

export function canShow(x: number, scale: Scale): boolean {
  return Math.abs(x) <= LARGEST && (scale === 'linear' || x >= 1 / LARGEST);
}

function linearAxis(low: number, high: number, count: number): Axis {
  // A range of no width, or of rounding errors only, is opened around its value.
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low <= Math.max(1e-9 * size, 1 / LARGEST)) {
    const margin = size > 1e9 / LARGEST ? size / 2 : 0.5;
    return linearAxis(low - margin, high + margin, count);
  }
  const step = roundUp((high - low) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const values = Array.from({ length: last - first + 1 }, (_, i) => round((first + i) * step));
  const from = first * step;
  const to = last * step;
  return { ticks: labelled(values), position: (x) => (x - from) / (to - from) };
}

/** The range of the data with a little room, and the round values inside it. */
function logAxis(low: number, high: number, count: number): Axis {
  const width = Math.log(high) - Math.log(low);
  const room = width > 1e-6 ? 0.04 * width : Math.log(1.5);
  const from = Math.log(low) - room;
  const to = Math.log(high) + room;
  const inside = (values: number[]): number[] =>
    values.filter((x) => x > 0 && Math.log(x) >= from && Math.log(x) <= to);
  const powers = inside(decades(from / Math.LN10, to / Math.LN10, count));
  // Too few where the range is under a decade or so: then round values of a linear scale, placed by logarithm.
  const linear = linearAxis(Math.exp(from), Math.exp(to), count).ticks.map((tick) => tick.value);
  const values = powers.length >= 3 ? powers : inside(linear);
  return { ticks: labelled(values), position: (x) => (Math.log(x) - from) / (to - from) };
}

/** Every nth power of ten between two exponents; where they are few also 2 and 5 times each. */
function decades(from: number, to: number, count: number): number[] {
  const first = Math.ceil(from);
  const powers = Math.floor(to) - first + 1;
  if (powers <= count / 2) {
    const exponents = Array.from({ length: powers + 1 }, (_, i) => first - 1 + i);
    return exponents.flatMap((exponent) => [1, 2, 5].map((factor) => Number(`${factor}e${exponent}`)));
  }
  const stride = Math.ceil(powers / (count + 1));
  return Array.from({ length: Math.ceil(powers / stride) }, (_, i) => Number(`1e${first + i * stride}`));
}

function round(x: number): number {
  return Number(x.toPrecision(12));
}

/** Short labels, or all digits where two short ones would be the same. */
function labelled(values: readonly number[]): Axis['ticks'] {
  const short = values.map((value) => {
    const size = Math.abs(value);
    if (size >= 1000) return formatCount(value);
    return size === 0 || size >= 1e-4 ? String(round(value)) : formatNumber(value, 6);
  });
  const clear = new Set(short).size === short.length;
  return values.map((value, i) => ({ value, label: clear ? short[i] : String(round(value)) }));
}
