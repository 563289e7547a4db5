// What generation asks of a model.
import { argumentError, describe, type Device, type Tensor } from '../core';
import type { HiddenRead } from './embed';
import type { SamplingOptions } from './sampling';
import type { State } from './state';
import type { Stages } from './turns';

/** The logits [B, vocabulary] after the last token read, and the state. */
export type Read = { logits: Tensor; state: State };

/** A causal model with a state, in the two forms that inference needs. */
export interface RecurrentModel {
  /** Ids are below it, and logits have so many columns. */
  readonly vocabSize: number;
  /** Where its weights, ids, states and logits live. */
  readonly device: Device;
  /** Tokens that end a text unless the caller names others. */
  readonly stopTokens: readonly number[];
  /** How tokens are drawn unless the caller says otherwise: the most probable one where nothing is said. */
  readonly sampling?: SamplingOptions;
  /** The family and the configuration, as far as states depend on them; snapshots are saved with it. */
  readonly identity?: string;
  /** How many tokens of a prompt are read at once where others wait for a turn; 512 by default. */
  readonly promptSlice?: number;
  /**
   * Up to so many tokens a text may be read in pieces; what a longer one gives depends on where it is cut. Then a prompt is read
   * whole, no state of a `PrefixCache` is taken for it, and no tokens are guessed. Any number where it is left out.
   */
  readonly divisibleLength?: number;
  /** The model with one of its adapters, by name; an INVALID_ARGUMENT error where there is none of this name. */
  withAdapter?(name: string): RecurrentModel;
  /** The model with the adapter whose states have this `identity`, where it is loaded. */
  identified?(identity: string): RecurrentModel | undefined;
  /** Of a model with an adapter: the one without, whose batches take in the texts of both. */
  readonly base?: RecurrentModel;
  /** `stages` of one token of each of several texts, which are those of these models: the model itself, or ones with its adapters. */
  mixedStages?(ids: Tensor, state: State, models: readonly RecurrentModel[]): Stages<Read>;
  /** The weights: what was kept of states holds so long as they stay as they are. */
  parameters?(): readonly Tensor[];
  /** The state before the first token. */
  initialState(batch: number): State;
  /**
   * The state of texts that may come to differ in length, in the form in which `step` takes it: that of `initialState` with a
   * list of numbers in place of a number, or `{ rows }`, one of a single text for each, in place of a part. Left out where
   * the state of several texts is that of texts of one length only.
   */
  raggedState?(batch: number): State;
  /** The parallel form: ids int32 [B, T], T > 0; logits [B, vocabulary] after the last one, and a new state. */
  prefill(ids: Tensor, state: State): Read;
  /** One token each: ids int32 [B]; logits [B, vocabulary]. The state changes in place. */
  step(ids: Tensor, state: State): Tensor;
  /**
   * Whether `step` makes the same calls of kernels for every token, and gives them the same numbers, so long as the tensors of the
   * state stay where they are and its numbers do not change.
   */
  readonly repeatsSteps?: boolean;
  /** Another number as soon as these calls may be others than before; left out where they never are. */
  readonly revision?: number;
  /** Both, by the rank of the ids and with the same bits, for models that can rest on the way. */
  stages?(ids: Tensor, state: State): Stages<Read>;
  /**
   * The parallel form with the logits [B, last, vocabulary] after each of the last so many tokens of ids [B, T], and a new
   * state: what speculation verifies guesses with.
   */
  verifyStages?(ids: Tensor, state: State, last: number): Stages<Read>;
  /** `stages` up to the head, for embeddings: hidden vectors [B, T, hidden] of ids [B, T], [B, hidden] of ids [B]. */
  hiddenStages?(ids: Tensor, state: State): Stages<HiddenRead>;
}

/** Requires a model that generates. */
export function checkModel(where: string, model: unknown, argument = 'model'): asserts model is RecurrentModel {
  const { vocabSize, initialState } = (model ?? {}) as Partial<RecurrentModel>;
  if (typeof vocabSize === 'number' && typeof initialState === 'function') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'a model that generates', describe(model));
}

/** Token ids of one sequence, or of several of equal length as int32 [B, T]. */
export type TokenIds = Tensor | ArrayLike<number>;
