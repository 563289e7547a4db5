// Loss and accuracy over the evaluation set of a data set.
import { breathe } from '../platform';
import { checkOptions, FastWeightsError, type OptionNames, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { crossEntropy, keepSettings, tensor } from '../ops';
import { Accuracy, type Batch, type Dataset, ratio } from '../data';

/** What evaluation needs of a model. */
export interface MeasurableModel {
  /** ids int32 [B, T] -> logits [B, T, vocabulary] */
  forward(ids: Tensor): { logits: Tensor };
  namedParameters(): [string, Tensor][];
  namedModules(): Iterable<[string, { training: boolean }]>;
}

/** What training needs of a model. */
export interface TrainableModel extends MeasurableModel {
  savePretrained(dir: string): Promise<void>;
  /** Needed by runs with that setting only. */
  gradientCheckpointing?: boolean;
  /**
   * The sum of the cross entropies [1] of targets int32 [B, T], -100 where there is none: where a model has it, a step of
   * training asks for that in place of all logits.
   */
  targetLoss?(ids: Tensor, targets: Tensor): Tensor;
}

/** Runs the synchronous function `fn` with every part of the model in training mode, or in the other; puts them back. */
export function inMode<T>(model: MeasurableModel, training: boolean, fn: () => T): T {
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
  /** Accuracy by kind of label, for data sets that tell several apart; only kinds that have labels. */
  groups: Record<string, number>;
  /** Counted labels. */
  labels: number;
  /** Sequences measured, of those that there are in the evaluation set. */
  measured: number;
  available: number;
}

export function checkAborted(signal: AbortSignal | undefined, where: string): void {
  if (signal?.aborted) throw new FastWeightsError('ABORTED', `${where}: stopped`, { cause: signal.reason });
}

/** Ids and labels of a batch as tensors on the model's device. */
export function batchTensors(model: MeasurableModel, batch: Batch): { ids: Tensor; labels: Tensor } {
  const { device } = model.namedParameters()[0][1];
  const options = { shape: [batch.batchSize, batch.sequenceLength], dtype: 'int32', device } as const;
  return { ids: tensor(batch.inputs, options), labels: tensor(batch.labels, options) };
}

export interface EvaluateOptions {
  /** 8 by default. */
  batchSize?: number;
  /** The most batches, and the seconds after which no further one begins; they are spread evenly over the set. */
  maxBatches?: number;
  maxSeconds?: number;
  signal?: AbortSignal;
  /** Called after every batch with the sequences done, and those that there will be as far as that is known. */
  onProgress?(done: number, total: number): void;
}

const OPTIONS: OptionNames<EvaluateOptions> = {
  batchSize: true,
  maxBatches: true,
  maxSeconds: true,
  signal: true,
  onProgress: true,
};

/** Evaluates a model as in eval mode; its own mode is left alone, and so is everything that other tasks set meanwhile. */
export async function evaluate(
  model: MeasurableModel,
  data: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions('evaluate', options, OPTIONS);
  const { batchSize = 8, maxBatches = Infinity, maxSeconds = Infinity, signal, onProgress } = options;
  const available = data.evaluationSize;
  const most = Math.min(available, maxBatches * batchSize);
  const begun = performance.now();
  const seconds = (): number => (performance.now() - begun) / 1000;
  const accuracy = new Accuracy(data.groups);
  let total = 0;
  let labels = 0;
  let measured = 0;
  const settings = keepSettings();
  const measure = (batch: Batch): { loss: Tensor; predictions: Tensor } =>
    noGrad(() =>
      scope(() => {
        const { ids, labels: target } = batchTensors(model, batch);
        const { logits } = model.forward(ids);
        return { loss: crossEntropy(logits, target, { reduction: 'sum' }), predictions: logits.argmax(-1) };
      }),
    );
  for (const batch of data.evaluation(batchSize, most < available || maxSeconds < Infinity)) {
    if (measured > 0 && (measured >= most || seconds() > maxSeconds)) break;
    checkAborted(signal, 'evaluate');
    using own = scope();
    const { loss, predictions } = own.run(() => settings(() => inMode(model, false, () => measure(batch))));
    total += (await loss.data())[0];
    labels += batch.labelCount;
    accuracy.add(batch, await predictions.data());
    measured += batch.batchSize;
    const inTime = maxSeconds < Infinity ? Math.ceil((measured * maxSeconds) / seconds()) : most;
    onProgress?.(measured, Math.max(measured, Math.min(most, inTime)));
    await breathe();
  }
  const several = data.groups.length > 1;
  const counted = Object.entries(accuracy.groups).filter(([, { total }]) => total > 0);
  const groups = several ? counted.map(([name, tally]) => [name, ratio(tally)]) : [];
  return {
    loss: total / labels,
    accuracy: ratio(accuracy.labels),
    sequences: ratio(accuracy.sequences),
    groups: Object.fromEntries(groups) as Record<string, number>,
    labels,
    measured,
    available,
  };
}
