// Embeddings of texts: a model's hidden vectors, pooled over the tokens.
import {
  argumentError,
  checkChoice,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  Tensor,
} from '../core';
import type { RecurrentModel, TokenIds } from './model';
import type { Reader } from './reader';
import { Session } from './session';
import type { State } from './state';
import type { Stages } from './turns';

/** Options of `embed`. */
export interface EmbedOptions {
  /** The mean over all tokens, by default, or the vector of the last one. */
  pooling?: 'mean' | 'last';
  /** Whether the embedding is divided by its length, true by default. */
  normalize?: boolean;
  /** Aborting it ends the call with an ABORTED error. */
  signal?: AbortSignal;
}

const EMBED: OptionNames<EmbedOptions> = { pooling: true, normalize: 'flag', signal: true };

/** The hidden vectors after some tokens, and the state. */
export type HiddenRead = { hidden: Tensor; state: State };

/** Beside the model's own state the sum of the hidden vectors [B, hidden] so far. */
type Summed = { own: State; sum: Tensor | null };

/** The model with, in place of logits, hidden vectors [B, hidden]: the sum of all so far, or the last one. */
function pooled(model: RecurrentModel, pooling: 'mean' | 'last'): RecurrentModel {
  function* stages(ids: Tensor, state: State): Stages<{ logits: Tensor; state: State }> {
    const before = state as Summed;
    const { hidden, state: own } = yield* model.hiddenStages!(ids, before.own);
    const oneToken = hidden.ndim === 2;
    if (pooling === 'last') {
      const logits = oneToken ? hidden : hidden.slice(1, -1).squeeze(1).clone();
      return { logits, state: oneToken ? before : { own, sum: null } };
    }
    const read = oneToken ? hidden : hidden.sum(1);
    const sum = before.sum ? before.sum.add(read) : read;
    if (!oneToken) return { logits: sum, state: { own, sum: sum.clone() } };
    // The state of a single token changes in place.
    if (before.sum) before.sum.copy_(sum);
    else before.sum = sum.clone().persist();
    return { logits: sum, state: before };
  }
  const unused = (): never => {
    throw new FastWeightsError('UNSUPPORTED', 'embed: the model reads in stages');
  };
  const { vocabSize, device, promptSlice, divisibleLength } = model;
  return {
    vocabSize,
    device,
    promptSlice,
    divisibleLength,
    stopTokens: [],
    initialState: (batch) => ({ own: model.initialState(batch), sum: null }),
    prefill: unused,
    step: unused,
    stages,
  };
}

/**
 * The embedding [hidden] of one text: hidden vectors behind the model's last norm, pooled. It is read in slices, with turns for
 * everything else in this thread; `readerOf` says by whom.
 */
export async function embed(
  where: string,
  model: RecurrentModel,
  ids: TokenIds,
  options: EmbedOptions = {},
  readerOf?: (model: RecurrentModel) => Reader,
): Promise<Float32Array> {
  checkOptions(where, options, EMBED);
  const { pooling = 'mean', normalize = true, signal } = options;
  checkChoice(where, 'pooling', pooling, ['mean', 'last']);
  if (typeof model.hiddenStages !== 'function') {
    throw argumentError('UNSUPPORTED', where, 'model', 'one with hiddenStages', describe(model));
  }
  const tokens = ids instanceof Tensor ? ids.shape.at(-1)! : ids.length;
  const read = pooled(model, pooling);
  using session = new Session(read, {}, readerOf && { reader: readerOf(read) });
  using vector = await session.read(ids, { signal });
  const values = (await vector.data()) as ArrayLike<number>;
  const length = normalize ? Math.hypot(...Array.from(values)) || 1 : pooling === 'mean' ? tokens : 1;
  return Float32Array.from(values, (x) => x / length);
}
