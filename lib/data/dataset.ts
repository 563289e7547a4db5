// What a training loop needs to know about data: batches that are pure functions of (seed, step), and a fixed
// evaluation set.
import { HostRandom } from '../core';

/** The label of a position that no loss and no accuracy counts. */
export const IGNORED = -100;

/** B sequences of T tokens with what is to be predicted, row by row in flat arrays. */
export interface Batch {
  /** B; in the last batch of an evaluation it may be smaller than asked for. */
  batchSize: number;
  /** T, padding included. */
  sequenceLength: number;
  /** Token ids [B, T]. */
  inputs: Int32Array;
  /** [B, T]: what the logits at the same position must predict (already shifted), or IGNORED. */
  labels: Int32Array;
  /** Labels that count. The mean over an evaluation set weights each batch by it. */
  labelCount: number;
  /** [B, T]: for counted labels the index in the data set's `groups`; absent where there is one group only. */
  groups?: Uint8Array;
}

/** What `Trainer` trains on and `evaluate` measures; any object of this form will do. */
export interface Dataset {
  /** One word, such as `mqar` or `text`. */
  readonly name: string;
  /** A line for people, with the settings that matter. */
  readonly description: string;
  /** Token ids are below it: the vocabulary that a model needs. */
  readonly vocabSize: number;
  /** T of every batch. */
  readonly sequenceLength: number;
  /** Names of the kinds of labels whose accuracies are worth telling apart. */
  readonly groups: readonly string[];
  /** The training batch of a step. The same (seed, step, batchSize) gives the same batch in every process. */
  batch(step: number, batchSize: number): Batch;
  /** Sequences in the evaluation set. */
  readonly evaluationSize: number;
  /**
   * The evaluation set, the same every time; the last batch may hold fewer sequences. With `spread` in an order whose
   * every beginning lies evenly over the set, for those who cannot read all of it.
   */
  evaluation(batchSize: number, spread?: boolean): Iterable<Batch>;
  /** Tokens for people to read. */
  decode(ids: ArrayLike<number>): string;
  /** Lets go of what it holds open, if there is anything; no batch can be made after that. */
  close?(): void;
}

export function emptyBatch(batchSize: number, sequenceLength: number, grouped: boolean): Batch {
  const size = batchSize * sequenceLength;
  return {
    batchSize,
    sequenceLength,
    inputs: new Int32Array(size),
    labels: new Int32Array(size).fill(IGNORED),
    labelCount: 0,
    ...(grouped ? { groups: new Uint8Array(size) } : {}),
  };
}

export function countLabels(labels: Int32Array): number {
  return labels.reduce((count, label) => (label === IGNORED ? count : count + 1), 0);
}

// Streams of one seed: tensors draw from the lowest ones (core/generator), so data starts at 2^48.
const TRAINING = 2 ** 48;
const EVALUATION = 2 ** 49;

/** Steps and evaluation indices are below this. */
export const MAX_STEP = 2 ** 40;

/** The random numbers of training step `step`; no other step and no evaluation sequence draws from them. */
export function trainingRandom(seed: number, step: number): HostRandom {
  return new HostRandom(seed, TRAINING + step);
}

/** The random numbers of evaluation sequence `index`. */
export function evaluationRandom(seed: number, index: number): HostRandom {
  return new HostRandom(seed, EVALUATION + index);
}

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * Which of n sequences stands at each place of an evaluation. Spread: round and round in steps of about n over the golden
 * ratio, which leave no wide gap wherever one stops.
 */
export function evaluationOrder(n: number, spread: boolean): (place: number) => number {
  let stride = Math.max(1, Math.round(n * GOLDEN));
  while (divisor(stride, n) > 1) stride++;
  // A product of two numbers below 2^53 may be too large to be exact.
  return spread ? (place) => Number((BigInt(place) * BigInt(stride)) % BigInt(n)) : (place) => place;
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}
