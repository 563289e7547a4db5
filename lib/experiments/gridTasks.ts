// The tasks of the grid: those of the MAD suite and of state tracking, in the sizes of a long and of a short look.
import type { Tensor } from '../core';
import {
  compression,
  type Dataset,
  IGNORED,
  inContextRecall,
  memorization,
  modularArithmetic,
  parity,
  selectiveCopy,
  type TaskOptions,
  wordProblem,
} from '../data';
import type { CausalLM } from '../models';
import { Embedding, Linear, Module } from '../nn';
import { arange } from '../ops';
import type { TokenModel } from './tokens';

/** A column of the grid. */
export interface GridTask {
  /** The data of a kind of look; its `seed` is all that training and evaluation differ in. */
  data(options: TaskOptions, quick: boolean): Dataset;
  /** What learns it, where that is more than the language model. */
  around?(model: CausalLM, data: Dataset): TokenModel;
}

const named = <N extends string>(table: Record<N, GridTask>): Record<N, GridTask> => table;

/** In the order of columns. Sizes of the long look are those of MAD's benchmark where it has the task. */
export const GRID_TASKS = named({
  recall: {
    data: (options, quick) => inContextRecall({ ...options, length: quick ? 48 : 128 }),
  },
  'noisy-recall': {
    data: (options, quick) => inContextRecall({ ...options, length: quick ? 48 : 128, noisePercent: 20 }),
  },
  'fuzzy-recall': {
    data: (options, quick) => inContextRecall({ ...options, length: quick ? 64 : 128, motif: 3 }),
  },
  'selective-copy': {
    data: (options, quick) => selectiveCopy({ ...options, ...(quick && { copied: 6, length: 48 }) }),
  },
  compression: {
    data: (options, quick) => compression({ ...options, ...(quick && { length: 12 }) }),
    around: (model, data) => new Compressor(model, data),
  },
  memorization: {
    data: (options, quick) => memorization({ ...options, ...(quick && { keys: 31 }) }),
  },
  parity: {
    data: (options, quick) => parity({ ...options, maxLength: quick ? 24 : 40 }),
  },
  S3: {
    data: (options, quick) => wordProblem({ ...options, group: 'S3', minLength: 1, length: quick ? 12 : 24 }),
  },
  A5: {
    data: (options, quick) => wordProblem({ ...options, group: 'A5', minLength: 1, length: quick ? 12 : 24 }),
  },
  'modular-arithmetic': {
    data: (options, quick) => modularArithmetic({ ...options, maxLength: quick ? 10 : 20 }),
  },
});

export type GridTaskName = keyof typeof GRID_TASKS;

/** The share of labels that whoever always says the commonest one gets right. */
export function guessing(name: GridTaskName, quick: boolean): number {
  const data = GRID_TASKS[name].data({ evaluationSize: 100 }, quick);
  const counts = new Map<number, number>();
  for (const { labels } of data.evaluation(1)) {
    for (const label of labels) if (label !== IGNORED) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const all = [...counts.values()];
  return Math.max(...all) / all.reduce((a, b) => a + b, 0);
}

/**
 * All symbols out of the hidden vector of the last token: beside it goes a vector for the place that is asked for, and two
 * linear layers answer, as the decoder of MAD's compression does.
 */
class Compressor extends Module {
  places: Embedding;
  inner: Linear;
  outer: Linear;

  constructor(
    readonly model: CausalLM,
    { sequenceLength, vocabSize }: Dataset,
  ) {
    super();
    const { device, config } = model;
    const D = config.hiddenSize;
    this.places = new Embedding(sequenceLength, D, { device });
    this.inner = new Linear(D, 2 * D, { device });
    this.outer = new Linear(2 * D, vocabSize, { device });
  }

  /** ids int32 [B, T] -> logits [B, T, vocabSize] */
  forward(ids: Tensor): { logits: Tensor } {
    const [, T] = ids.shape;
    const { output } = this.model.model.forward(ids, {});
    const places = this.places.forward(arange(0, T, 1, { dtype: 'int32', device: ids.device }));
    const asked = output.slice(1, -1).add(places);
    return { logits: this.outer.forward(this.inner.forward(asked).silu()) };
  }
}
