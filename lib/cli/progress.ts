// How far training and validation are, on standard error.
import { createProgress, type Progress } from '../viz';
import type { TextProgress } from '../data';
import type { Metrics, Trainer } from '../train';
import { screen } from './terminal';

interface Shown<A extends unknown[]> {
  take(this: void, ...values: A): void;
  done(): void;
}

/** Milliseconds of a validation before anything is shown. */
const SILENT = 1000;

/** Steps; how many there will be is reckoned anew where time limits them. */
export function stepProgress(trainer: Trainer): Shown<[Metrics]> {
  const stream = screen(process.stderr);
  const { step: start, totalSteps } = trainer;
  const progress = createProgress(stream, { total: totalSteps && Math.max(start, totalSteps), start });
  // The first step may take its time; where lines stay they wait for it.
  if (stream.isTTY) progress.update({ step: start });
  return {
    take({ step, loss, tokensPerSecond, validation }) {
      const total = trainer.totalSteps && Math.max(step, trainer.totalSteps);
      progress.update({ step, total, loss, tokensPerSecond, validationLoss: validation?.loss });
    },
    done: progress.done,
  };
}

/** Sequences of a validation that takes its time; `before` ends what is shown until then. */
export function sequenceProgress(label: string, before?: () => void): Shown<[number, number]> {
  let begun: number | undefined;
  let progress: Progress | undefined;
  return {
    take(done, total) {
      const now = performance.now();
      begun ??= now;
      if (now - begun < SILENT) return;
      before?.();
      progress ??= createProgress(screen(process.stderr), { label, total, start: done });
      progress.update({ step: done, total });
    },
    done: () => progress?.done(),
  };
}

/** Megabytes of a text that takes its time to be read and encoded. */
export function textProgress(): Shown<[TextProgress]> {
  let stage: TextProgress['stage'] | undefined;
  let begun = 0;
  let progress: Progress | undefined;
  let shown = false;
  const done = (): void => {
    if (shown) progress?.done();
    shown = false;
  };
  return {
    take(now) {
      const total = Math.ceil(now.total / 1e6);
      if (now.stage !== stage) {
        done();
        stage = now.stage;
        begun = performance.now();
        progress = createProgress(screen(process.stderr), { label: `MB of text ${LABELS[stage]}`, total });
      }
      if (performance.now() - begun < SILENT) return;
      shown = true;
      progress?.update({ step: Math.floor(now.done / 1e6) });
    },
    done,
  };
}

const LABELS: Record<TextProgress['stage'], string> = { reading: 'read', encoding: 'encoded' };

/** Steps of the trials of an experiment. */
export function trialProgress(): Shown<[string, number, number, number, number?]> {
  const stream = screen(process.stderr);
  let at = '';
  let progress: Progress | undefined;
  const done = (): void => {
    progress?.done();
    progress = undefined;
  };
  return {
    take(trial, seed, step, total, loss) {
      const label = `${trial}, seed ${seed}`;
      if (label !== at) {
        done();
        at = label;
      }
      progress ??= createProgress(stream, { label, total, start: step });
      progress.update({ step, total, loss });
    },
    done,
  };
}
