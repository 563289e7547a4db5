// What generation asks of a model.
import type { Device, Tensor } from '../core';
import type { SamplingOptions } from './sampling';
import type { State } from './state';

/** A causal model with a state, in the two forms that inference needs. */
export interface RecurrentModel {
  readonly vocabSize: number;
  readonly device: Device;
  /** Tokens that end a text unless the caller names others. */
  readonly stopTokens: readonly number[];
  /** How tokens are drawn unless the caller says otherwise: the most probable one where nothing is said. */
  readonly sampling?: SamplingOptions;
  /** The state before the first token. */
  initialState(batch: number): State;
  /** The parallel form: ids int32 [B, T], T > 0; logits [B, vocabulary] after the last one, and a new state. */
  prefill(ids: Tensor, state: State): { logits: Tensor; state: State };
  /** One token each: ids int32 [B]; logits [B, vocabulary]. The state changes in place. */
  step(ids: Tensor, state: State): Tensor;
}

/** Token ids of one sequence, or of several of equal length as int32 [B, T]. */
export type TokenIds = Tensor | ArrayLike<number>;
