// Work in stages: all at once, or with turns for others between them.
import { noGrad } from '../autograd';
import { FastWeightsError, scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import type { Pace } from '../platform';
import type { Repetition } from './repetition';
import { persistState, type State, tensorsOf } from './state';

/** Work that may rest where it yields; what it yields there are the tensors that it goes on with. */
export type Stages<R> = Generator<State, R, undefined>;

export function atOnce<R>(stages: Stages<R>): R {
  for (;;) {
    const { done, value } = stages.next();
    if (done) return value;
  }
}

export function checkSignal(where: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FastWeightsError('ABORTED', `${where}: aborted`, { cause: signal.reason });
}

export interface Turns {
  pace: Pick<Pace, 'due' | 'rest'>;
  /** Awaited after each stage, where it is a long one: what a device has queued beyond it could not be stopped. */
  done?: () => Promise<void>;
  /** Called after each rest; where it throws the work ends. */
  atRest: () => void;
  /** Those of whoever began the work. */
  settings: <T>(fn: () => T) => T;
}

/** Of reading tokens. */
export interface ReadTurns extends Turns {
  settings: KeptSettings;
  /** Of the session whose tokens these are. */
  repetition?: Repetition | null;
}

/** Rests between stages where it is time. */
export async function inTurns<R extends State>(stages: Stages<R>, turns: Turns): Promise<R> {
  const { pace, done, atRest, settings } = turns;
  let held = new Set<Tensor>();
  try {
    for (;;) {
      const step = settings(() =>
        noGrad(() =>
          scope(() => {
            let next = stages.next();
            while (!next.done && !done && !pace.due) next = stages.next();
            return next;
          }),
        ),
      );
      if (!step.done || held.size > 0) {
        // No scope reaches over a rest.
        const live = new Set(tensorsOf(persistState(step.value)));
        for (const t of held) if (!live.has(t)) t.dispose();
        held = live;
      }
      if (step.done) {
        held = new Set();
        return step.value;
      }
      await done?.();
      await pace.rest();
      atRest();
    }
  } finally {
    for (const t of held) t.dispose();
  }
}
