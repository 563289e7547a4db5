// Softmax attention with rotary positions, grouped heads and an optional window: the Llama layer, and the attention
// layers of hybrid models.
import { FastWeightsError, type Tensor } from '../../core';
import { Linear } from '../../nn';
import { cat, rope, softmaxAttention, type TensorOptions, zeros } from '../../ops';
import type { ConfigurationReader } from './configuration';
import { ROPE_KEYS } from './keys';
import {
  checkSequence,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from './mixer';
import { append, seen } from './recent';

/** Sizes and settings of one layer of `Attention`. */
export interface AttentionShape {
  /** Width of what goes into the layer and of what comes out. */
  hiddenSize: number;
  /** Query heads. */
  numHeads: number;
  /** A divisor of numHeads. */
  numKvHeads: number;
  /** Width of a query, key and value of one head. */
  headDim: number;
  /** Multiplies the scores; headDim ** -0.5 by default. */
  scale?: number;
  /** Bias of the projections of q, k and v. */
  qkvBias: boolean;
  /** Bias of the projection from the heads back to the hidden size. */
  outputBias: boolean;
  /** A token sees itself and the window - 1 before it; all before it when null. */
  window: number | null;
  /** Angle per position of each pair of coordinates; the coordinates beyond them do not turn. */
  frequencies: readonly number[];
}

/**
 * Rotated keys and the values [B, capacity, Hk, D] of which positions `start` to `end` count. With a window they are
 * moved to the front when the capacity is used up, so that it need not grow.
 */
export type KeyValueCache = {
  keys: Tensor;
  values: Tensor;
  start: number;
  end: number;
  position: number;
};

/**
 * Causal softmax attention with rotary positions: the layer of Llama, and of hybrid models in place of a fast-weight
 * mixer. Its state grows with the text unless there is a window; packed sequences have none (UNSUPPORTED).
 */
export class Attention extends Recurrent<KeyValueCache> {
  /** To the queries, weight [numHeads * headDim, hiddenSize]. */
  q_proj: Linear;
  /** To the keys, weight [numKvHeads * headDim, hiddenSize]. */
  k_proj: Linear;
  /** To the values, weight [numKvHeads * headDim, hiddenSize]. */
  v_proj: Linear;
  /** From the heads, one after the other, to the output: weight [hiddenSize, numHeads * headDim]. */
  o_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: AttentionShape,
    options: TensorOptions = {},
  ) {
    super();
    const { hiddenSize, numHeads, numKvHeads, headDim, qkvBias, outputBias } = shape;
    this.q_proj = new Linear(hiddenSize, numHeads * headDim, { bias: qkvBias, ...options });
    this.k_proj = new Linear(hiddenSize, numKvHeads * headDim, { bias: qkvBias, ...options });
    this.v_proj = new Linear(hiddenSize, numKvHeads * headDim, { bias: qkvBias, ...options });
    this.o_proj = new Linear(numHeads * headDim, hiddenSize, { bias: outputBias, ...options });
  }

  forward(x: Tensor, options: SequenceOptions<KeyValueCache> = {}): SequenceResult<KeyValueCache> {
    checkSequence('forward', options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    if (cuSeqlens && (state || outputState)) {
      throw new FastWeightsError('UNSUPPORTED', 'Attention: packed sequences have no state', { argument: 'cuSeqlens' });
    }
    const offset = state?.position ?? 0;
    const q = this.turn(splitHeads(this.q_proj.forward(x), this.shape.numHeads), { offset, cuSeqlens });
    const [k, v] = this.keysAndValues(x, { offset, cuSeqlens });
    const keys = state ? cat([seen(state.keys, state).to(k.dtype), k], 1) : k;
    const values = state ? cat([seen(state.values, state).to(v.dtype), v], 1) : v;
    const { window, scale } = this.shape;
    const output = softmaxAttention(q, keys, values, { window, scale, cuSeqlens });
    const result = this.o_proj.forward(mergeHeads(output));
    if (!outputState) return { output: result };
    const end = keys.shape[1];
    const start = Math.max(0, end - (this.shape.window ?? Infinity));
    const dtype = stateDType(this.k_proj.weight);
    const kept = (t: Tensor): Tensor => t.slice(1, start).to(dtype).clone();
    return {
      output: result,
      state: { keys: kept(keys), values: kept(values), start: 0, end: end - start, position: offset + x.shape[1] },
    };
  }

  step(x: Tensor, state: KeyValueCache): Tensor {
    const token = x.unsqueeze(1);
    const offset = state.position;
    const q = this.turn(splitHeads(this.q_proj.forward(token), this.shape.numHeads), { offset });
    const [k, v] = this.keysAndValues(token, { offset });
    append(state, { keys: k, values: v }, this.shape.window);
    state.position++;
    const [keys, values] = [state.keys, state.values].map((t) => seen(t, state));
    const output = softmaxAttention(q.to(keys.dtype), keys, values, { scale: this.shape.scale });
    return this.o_proj.forward(mergeHeads(output.to(x.dtype)).squeeze(1));
  }

  initialState(batch: number): KeyValueCache {
    const { numKvHeads, headDim } = this.shape;
    const { weight } = this.k_proj;
    const empty = (): Tensor =>
      zeros([batch, 0, numKvHeads, headDim], { device: weight.device, dtype: stateDType(weight) });
    return { keys: empty(), values: empty(), start: 0, end: 0, position: 0 };
  }

  private keysAndValues(x: Tensor, at: { offset: number; cuSeqlens?: readonly number[] | null }): [Tensor, Tensor] {
    const [k, v] = [this.k_proj, this.v_proj].map((proj) => splitHeads(proj.forward(x), this.shape.numKvHeads));
    return [this.turn(k, at), v];
  }

  private turn(x: Tensor, at: { offset: number; cuSeqlens?: readonly number[] | null }): Tensor {
    const { frequencies } = this.shape;
    return frequencies.length === 0 ? x : rope(x, { ...at, frequencies, dims: 2 * frequencies.length });
  }
}

/** base^(-2 i / dims) for i = 0 .. dims / 2 - 1. */
export function rotaryFrequencies(base: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
}

/**
 * Reads rotary settings in both dialects: `rope_parameters` (transformers 5), or `rope_theta`, `rope_scaling` and
 * `partial_rotary_factor` at top level (transformers 4). `usualShare` of the coordinates turn where neither says so.
 */
export function readFrequencies(reader: ConfigurationReader, headDim: number, usualShare = 1): number[] {
  const parameters = reader.section('rope_parameters', ROPE_KEYS);
  const scaling = parameters ?? reader.section('rope_scaling', ROPE_KEYS);
  const base = (parameters ?? reader).positive('rope_theta', reader.positive('rope_theta', 10000));
  const share = (parameters ?? reader).number(
    'partial_rotary_factor',
    reader.number('partial_rotary_factor', usualShare),
  );
  const dims = 2 * Math.floor((headDim * Math.min(share, 1)) / 2);
  const frequencies = rotaryFrequencies(base, dims);
  if (!scaling) return frequencies;
  const key = 'rope_type' in scaling.source ? 'rope_type' : 'type';
  switch (scaling.supported(key, 'default', ['default', 'linear', 'llama3'])) {
    case 'default':
      return frequencies;
    case 'linear': {
      const factor = scaling.number('factor', 1, 1);
      return frequencies.map((f) => f / factor);
    }
    case 'llama3':
      return llama3Frequencies(scaling, frequencies);
  }
}

/** Long waves slow down by `factor`, short ones stay, those between are mixed (Llama 3.1). */
function llama3Frequencies(scaling: ConfigurationReader, frequencies: number[]): number[] {
  const factor = scaling.number('factor', 8, 1);
  const low = scaling.number('low_freq_factor', 1);
  const high = scaling.number('high_freq_factor', 4);
  const context = scaling.size('original_max_position_embeddings', 8192, Number.MAX_SAFE_INTEGER);
  return frequencies.map((f) => {
    const turns = (context * f) / (2 * Math.PI);
    if (turns > high) return f;
    if (turns < low) return f / factor;
    const smooth = (turns - low) / (high - low);
    return (1 - smooth) * (f / factor) + smooth * f;
  });
}
