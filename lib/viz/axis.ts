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

/** The axis for some values; those a scale cannot show (not finite, or <= 0 on a logarithmic one) are left out. */
export function makeAxis(values: ArrayLike<number>, scale: Scale, count: number): Axis {
  const shown = Array.from(values).filter((x) => canShow(x, scale));
  const [low, high] = shown.length > 0 ? extent(shown) : scale === 'log' ? [1, 10] : [0, 1];
  return scale === 'log' ? logAxis(low, high, count) : linearAxis(low, high, count);
}

export function canShow(x: number, scale: Scale): boolean {
  return Number.isFinite(x) && (scale === 'linear' || x > 0);
}

function linearAxis(low: number, high: number, count: number): Axis {
  // A range of no width, or of rounding errors only, is opened around its value.
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high))) {
    const margin = Math.abs(low) / 2 || 0.5;
    return linearAxis(low - margin, high + margin, count);
  }
  const step = roundUp((high - low) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => labelled(round((first + i) * step)));
  const from = first * step;
  const to = last * step;
  return { ticks, position: (x) => (x - from) / (to - from) };
}

/** The range of the data with a little room, and the round values inside it. */
function logAxis(low: number, high: number, count: number): Axis {
  const room = high > low ? (high / low) ** 0.04 : 1.5;
  const from = Math.log(low / room);
  const to = Math.log(high * room);
  const inside = (values: number[]): number[] =>
    values.filter((x) => x > 0 && Math.log(x) >= from && Math.log(x) <= to);
  const powers = inside(decades(low / room, high * room, count));
  // Too few where the range is under a decade or so: then round values of a linear scale, placed by logarithm.
  const linear = linearAxis(low / room, high * room, count).ticks.map((tick) => tick.value);
  const values = powers.length >= 3 ? powers : inside(linear);
  return { ticks: values.map(labelled), position: (x) => (Math.log(x) - from) / (to - from) };
}

/** Every nth power of ten of a wide range; of a narrow one also 2 and 5 times each. */
function decades(low: number, high: number, count: number): number[] {
  const first = Math.floor(Math.log10(low));
  const span = Math.ceil(Math.log10(high)) - first;
  const stride = Math.ceil(span / count);
  const factors = 3 * span <= 2 * count ? [1, 2, 5] : [1];
  return Array.from({ length: Math.ceil(span / stride) + 1 }, (_, i) => first + i * stride).flatMap((exponent) =>
    factors.map((factor) => Number(`${factor}e${exponent}`)),
  );
}

function round(x: number): number {
  return Number(x.toPrecision(12));
}

function labelled(value: number): { value: number; label: string } {
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-4 && size < 1000);
  return { value, label: plain ? String(round(value)) : size >= 1000 ? formatCount(value) : formatNumber(value, 6) };
}
