// The frame of every built-in task: a task says how to draw one sequence, the frame makes batches of them.
import { checkInteger, type HostRandom, type OptionNames } from '../../core';
import {
  type Batch,
  countLabels,
  type Dataset,
  emptyBatch,
  evaluationOrder,
  evaluationRandom,
  MAX_STEP,
  trainingRandom,
} from '../dataset';

/** Options that every task takes. */
export interface TaskOptions {
  /** Default 0. */
  seed?: number;
  /** Sequences in the evaluation set, default 256. */
  evaluationSize?: number;
}

export const TASK_OPTIONS: OptionNames<TaskOptions> = { seed: true, evaluationSize: true };

/** One row of a batch: [T] each, handed over as zeros with every label ignored. */
export interface Sequence {
  inputs: Int32Array;
  labels: Int32Array;
  groups: Uint8Array;
}

export interface SequenceDefinition {
  name: string;
  description: string;
  vocabSize: number;
  sequenceLength: number;
  /** Default: one group, `all`. */
  groups?: readonly string[];
  draw(random: HostRandom, out: Sequence): void;
  decode(ids: ArrayLike<number>): string;
}

export function sequenceTask(definition: SequenceDefinition, options: TaskOptions): Dataset {
  const { name, draw, sequenceLength: T, groups = ['all'], ...rest } = definition;
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const evaluationSize = checkInteger(name, 'evaluationSize', options.evaluationSize ?? 256, 1, MAX_STEP);

  const collect = (batchSize: number, randomOf: (b: number) => HostRandom): Batch => {
    const batch = emptyBatch(batchSize, T, groups.length > 1);
    const unused = new Uint8Array(T);
    for (let b = 0; b < batchSize; b++) {
      const row = [b * T, (b + 1) * T] as const;
      draw(randomOf(b), {
        inputs: batch.inputs.subarray(...row),
        labels: batch.labels.subarray(...row),
        groups: batch.groups?.subarray(...row) ?? unused,
      });
    }
    return { ...batch, labelCount: countLabels(batch.labels) };
  };

  return {
    name,
    ...rest,
    sequenceLength: T,
    groups,
    batch(step, batchSize) {
      const random = trainingRandom(seed, checkInteger(name, 'step', step, 0, MAX_STEP - 1));
      return collect(checkInteger(name, 'batchSize', batchSize, 1), () => random);
    },
    evaluationSize,
    *evaluation(batchSize, spread = false) {
      checkInteger(name, 'batchSize', batchSize, 1);
      const at = evaluationOrder(evaluationSize, spread);
      for (let first = 0; first < evaluationSize; first += batchSize) {
        const size = Math.min(batchSize, evaluationSize - first);
        yield collect(size, (b) => evaluationRandom(seed, at(first + b)));
      }
    },
  };
}
