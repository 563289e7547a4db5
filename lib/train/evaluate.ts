// Loss and accuracy over the evaluation set of a data set.
import { breathe } from '../platform';
import { checkOptions, FastWeightsError, type OptionNames, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { crossEntropy, keepSettings, tensor } from '../ops';
import { Accuracy, type Batch, type Dataset, ratio } from '../data';

/** What evaluation and training need of a model. */
export interface TrainableModel {
  /** ids int32 [B, T] -> logits [B, T, vocabulary] */
  forward(ids: Tensor): { logits: Tensor };
  namedParameters(): [string, Tensor][];
  namedModules(): Iterable<[string, { training: boolean }]>;
  savePretrained(dir: string): Promise<void>;
}

/** Runs the synchronous function `fn` with every part of the model in training mode, or in the other; puts them back. */
export function inMode<T>(model: TrainableModel, training: boolean, fn: () => T): T {
  const changed = [...model.namedModules()].map(([, part]) => part).filter((part) => part.training !== training);
  for (const part of changed) part.training = training;
  try {
    return fn();
  } finally {
    for (const part of changed) part.training = !training;
  }
}

export interface Evaluation {
  /** Mean over all counted labels, in nats. */
  loss: number;
  /** Share of labels predicted right. */
  accuracy: number;
  /** Share of sequences with every label right. */
  sequences: number;
  /** Accuracy by kind of label, for data sets that tell several apart. */
  groups: Record<string, number>;
  /** Counted labels. */
  labels: number;
}

export function checkAborted(signal: AbortSignal | undefined, where: string): void {
  if (signal?.aborted) throw new FastWeightsError('ABORTED', `${where}: stopped`, { cause: signal.reason });
}

/** Ids and labels of a batch as tensors on the model's device. */
export function batchTensors(model: TrainableModel, batch: Batch): { ids: Tensor; labels: Tensor } {
  const { device } = model.namedParameters()[0][1];
  const options = { shape: [batch.batchSize, batch.sequenceLength], dtype: 'int32', device } as const;
  return { ids: tensor(batch.inputs, options), labels: tensor(batch.labels, options) };
}

export interface EvaluateOptions {
  /** 8 by default. */
  batchSize?: number;
  maxBatches?: number;
  signal?: AbortSignal;
}

const OPTIONS: OptionNames<EvaluateOptions> = { batchSize: true, maxBatches: true, signal: true };

/** Evaluates a model as in eval mode; its own mode is left alone, and so is everything that other tasks set meanwhile. */
export async function evaluate(
  model: TrainableModel,
  data: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions('evaluate', options, OPTIONS);
  const { batchSize = 8, maxBatches = Infinity, signal } = options;
  const accuracy = new Accuracy(data.groups);
  let total = 0;
  let labels = 0;
  let batches = 0;
  const settings = keepSettings();
  const measure = (batch: Batch): { loss: Tensor; predictions: Tensor } =>
    noGrad(() =>
      scope(() => {
        const { ids, labels: target } = batchTensors(model, batch);
        const { logits } = model.forward(ids);
        return { loss: crossEntropy(logits, target, { reduction: 'sum' }), predictions: logits.argmax(-1) };
      }),
    );
  for (const batch of data.evaluation(batchSize)) {
    if (batches++ >= maxBatches) break;
    checkAborted(signal, 'evaluate');
    using own = scope();
    const { loss, predictions } = own.run(() => settings(() => inMode(model, false, () => measure(batch))));
    total += (await loss.data())[0];
    labels += batch.labelCount;
    accuracy.add(batch, await predictions.data());
    await breathe();
  }
  const several = data.groups.length > 1;
  const groups = several ? Object.entries(accuracy.groups).map(([name, tally]) => [name, ratio(tally)]) : [];
  return {
    loss: total / labels,
    accuracy: ratio(accuracy.labels),
    sequences: ratio(accuracy.sequences),
    groups: Object.fromEntries(groups) as Record<string, number>,
    labels,
  };
}
