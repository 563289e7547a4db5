// What experiments on token sequences share: the memories that they compare, and a trial that trains a language model on a
// task and measures it on others.
import { withSeed } from '../core';
import { type Dataset, IGNORED } from '../data';
import { createModel, type ModelName } from '../models';
import type { Module } from '../nn';
import { crossEntropy, tensor } from '../ops';
import { batchTensors, evaluate, type Evaluation, type MeasurableModel } from '../train';
import type { Example, TrialContext, TrialModel } from './experiment';
import { fit } from './fit';

/** A memory: the family of models that has it, and keys of its configuration. */
interface Memory {
  family: ModelName;
  keys?: Record<string, unknown>;
}

const memories = <N extends string>(table: Record<N, Memory>): Record<N, Memory> => table;

/** By the names that trials have. */
export const MEMORIES = memories({
  srwm: { family: 'srwm' },
  'recurrent-delta': { family: 'recurrent-delta' },
  lstm: { family: 'lstm' },
  'delta (0,2)': { family: 'deltanet', keys: { allowNegEigval: true } },
  'delta (0,1)': { family: 'deltanet' },
  'linear attention': { family: 'linear-transformer' },
  softmax: { family: 'transformer' },
});

export type MemoryName = keyof typeof MEMORIES;

/** Two layers of width 64 and two heads: one self-referential layer, which reads before it writes, does not count. */
const SIZES = { hiddenSize: 64, numLayers: 2, numHeads: 2, intermediateSize: 128 };

/** A language model with that memory, its weights of the trial's seed. */
export function modelWith(memory: MemoryName, vocabSize: number, { seed, device }: TrialModel): TokenModel {
  const { family, keys = {} } = MEMORIES[memory];
  return withSeed(seed, () => createModel(family, { ...SIZES, ...keys, vocabSize, device }));
}

/** What `trainAndMeasure` takes. */
export type TokenModel = MeasurableModel & Module;

/** A model reads the first sequence of a data set that has seeds of its own, up to its last label. */
export function tokenExample(model: TokenModel, data: Dataset): Example {
  return {
    model,
    reading() {
      const { inputs, labels } = data.batch(0, 1);
      const ids = inputs.subarray(0, labels.findLastIndex((label) => label !== IGNORED) + 1);
      const { device } = model.parameters()[0];
      const read = (): void => void model.forward(tensor(ids, { shape: [1, ids.length], dtype: 'int32', device }));
      return { tokens: Array.from(ids, (id) => data.decode([id])), read };
    },
  };
}

/** How to train, and what to measure then. */
export interface TokenTrial<N extends string> {
  /** Freed in the end. */
  model: TokenModel;
  data: Dataset;
  /** Training ends where every label of it is right: nothing more is to be learned. */
  held: Dataset;
  steps: number;
  batchSize: number;
  /** 3e-3 by default. */
  learningRate?: number;
  /** Measured after training, whole, in batches of 50. */
  tests: Record<N, Dataset>;
}

/** What came out: the measures by name, how many steps there were, and every tenth loss. */
export interface TokenResult<N extends string> {
  measured: Record<N, Evaluation>;
  steps: number;
  losses: number[];
}

/** AdamW with a weight decay of 0.1 on matrices, half a cosine down to a tenth, gradients clipped at 1. */
export async function trainAndMeasure<N extends string>(
  { model, data, held, batchSize, tests, ...rest }: TokenTrial<N>,
  context: TrialContext,
): Promise<TokenResult<N>> {
  try {
    const { losses, steps } = await fit(
      model.namedParameters().map(([, parameter]) => parameter),
      {
        learningRate: 3e-3,
        ...rest,
        weightDecay: 0.1,
        loss(step) {
          const { ids, labels } = batchTensors(model, data.batch(step, batchSize));
          return crossEntropy(model.forward(ids).logits, labels);
        },
        checkEvery: 50,
        done: async () => (await evaluate(model, held, { batchSize: 64 })).sequences === 1,
      },
      context,
    );
    await context.keep(model);
    const measured = {} as Record<N, Evaluation>;
    for (const name of Object.keys(tests) as N[])
      measured[name] = await evaluate(model, tests[name], { batchSize: 50, signal: context.signal });
    return { measured, steps, losses: losses.filter((_, i) => i % 10 === 0) };
  } finally {
    model.dispose();
  }
}
