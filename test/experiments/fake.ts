// An experiment that trains nothing: what a trial finds is its seed.
import type { Axes, Experiment, TrialContext, TrialResult } from '../../lib/experiments';

export type Found = { seed: number };

export interface Fake extends Experiment<Found> {
  /** Trials that were begun, as 'first 1'. */
  begun: string[];
}

/** Trials 'first', 'second' and without `quick` 'third', of a file its path if it takes `data`; its claim holds if `holds`. */
export function fake({
  name = 'fake',
  holds = true,
  data,
}: { name?: string; holds?: boolean; data?: string } = {}): Fake {
  const begun: string[] = [];
  return {
    name,
    title: 'Nothing',
    source: 'Nobody, <nowhere>',
    begun,
    ...(data !== undefined && { data }),
    trials: (quick, file) => (file !== undefined ? [file] : quick ? ['first', 'second'] : ['first', 'second', 'third']),
    run(trial: string, { seed, report }: TrialContext) {
      begun.push(`${trial} ${seed}`);
      report(1, 2, 0.5);
      report(2, 2, 0.25);
      return Promise.resolve({ seed });
    },
    findings: (results: readonly TrialResult<Found>[]) => ({
      measures: Object.fromEntries(results.map(({ trial, found }) => [trial, { found: found.seed }])),
      charts: [{ title: 'seeds', series: [{ name: 'all', x: [0, 1], y: [1, 2] }] }],
      picture: {
        title: 'nothing in black',
        columnLabels: ['now'],
        rows: [{ label: 'it', cells: [{ rows: 1, columns: 1, data: [0] }] }],
      },
      claims: [{ text: 'Trials were run', holds, because: `${results.length} of them` }],
    }),
  };
}

/** A grid of two rules and two tasks, of which the short form has the first cell. */
export function fakeGrid(): Fake {
  const axes: Axes = { rules: ['sum', 'delta'], tasks: ['recall', 'parity'] };
  const { picture: _, ...shown } = fake().findings([], true);
  return {
    ...fake({ name: 'grid' }),
    axes: () => axes,
    trials: (quick, _, { rules, tasks } = {}) =>
      quick && !rules && !tasks
        ? ['recall: sum']
        : (rules ?? axes.rules).flatMap((rule) => (tasks ?? axes.tasks).map((task) => `${task}: ${rule}`)),
    findings: () => ({
      ...shown,
      measures: { all: { cells: 4 } },
      scores: { title: 'how well', columnLabels: axes.tasks, rows: [{ label: 'sum', scores: [0.5, NaN] }] },
    }),
  };
}
