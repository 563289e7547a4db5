// What experiments say about their results: means over seeds, and claims that hold where those lie within limits.
import type { Json } from '../io';
import type { LineChart } from '../viz';
import type { Claim, TrialResult } from './experiment';

/** Of at least one value. */
export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** 0.123 as '12.3 %'. */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Trials that have results, in their order. */
export function trialsOf(results: readonly TrialResult[]): string[] {
  return [...new Set(results.map(({ trial }) => trial))];
}

/** Losses of the first seed, of which every tenth was kept. */
export function lossChart(results: readonly TrialResult<{ losses: number[] }>[]): LineChart {
  return {
    title: 'Loss while training, first seed',
    xLabel: 'step',
    yLabel: 'nats',
    series: results
      .filter(({ seed }) => seed === 1)
      .map(({ trial, found }) => ({ name: trial, x: found.losses.map((_, i) => 10 * i), y: found.losses })),
  };
}

/** What one measure says: of a trial the mean over seeds, and claims about some. */
export interface Measure {
  /** The mean over seeds; NaN without a result. */
  of(trial: string): number;
  /** None where a trial of the limits, both inclusive, has no result. */
  claim(text: string, limits: Readonly<Record<string, readonly [least: number, most: number]>>): Claim[];
}

/** A measure of what trials found, and how its values are written. */
export function measureOf<R extends Json>(
  results: readonly TrialResult<R>[],
  value: (found: R) => number,
  show: (value: number) => string,
): Measure {
  const of = (trial: string): number =>
    mean(results.filter((result) => result.trial === trial).map(({ found }) => value(found)));
  return {
    of,
    claim(text, limits) {
      const trials = Object.keys(limits);
      if (!trials.every((one) => results.some(({ trial }) => trial === one))) return [];
      const holds = trials.every((trial) => of(trial) >= limits[trial][0] && of(trial) <= limits[trial][1]);
      return [{ text, holds, because: trials.map((trial) => `${trial}: ${show(of(trial))}`).join(', ') }];
    },
  };
}
