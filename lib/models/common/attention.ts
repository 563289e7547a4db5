// Softmax attention with rotary positions, grouped heads, an optional window, norms of queries and keys and a gate: the
// Llama layer, and the attention layers of hybrid models.
import { checkObject, FastWeightsError, type Tensor } from '../../core';
import type { Pace } from '../../inference';
import { Linear, RMSNorm } from '../../nn';
import { cat, softmaxAttention, split, type TensorOptions, zeros } from '../../ops';
import type { Pointwise } from './block';
import {
  checkForward,
  checkState,
  checkStep,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from './mixer';
import { append, paceOf, seen } from './recent';
import { type Place, type Rotation, tokensAlike, turn } from './rotation';
import { ZeroCentredRMSNorm } from './zeroCentredNorm';

/** Sizes and settings of one layer of `Attention`. */
export interface AttentionShape extends Rotation {
  /** Width of what goes into the layer and of what comes out. */
  hiddenSize: number;
  /** Query heads. */
  numHeads: number;
  /** A divisor of numHeads. */
  numKvHeads: number;
  /** Whether all heads have the same keys, numKvHeads counting those of values alone; false by default. */
  sharedKey?: boolean;
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
  /** Norms of queries and keys before they turn; none by default. */
  qkNorm?: QueryKeyNorm | null;
  /** Whether the output is multiplied by the sigmoid of a gate, false by default. */
  outputGate?: boolean;
}

/** How queries and keys are normalised. */
export interface QueryKeyNorm {
  /** 'head': each head by itself, with one weight [headDim] for all; 'projection': all heads together. */
  over: 'head' | 'projection';
  /** Added to the mean square. */
  eps: number;
  /** Whether the weights are stored as what they differ from 1 by. */
  zeroCentred: boolean;
}

/**
 * Rotated keys and the values [B, capacity, Hk, D] of which positions `start` to `end` count; shared keys have one head. With a
 * window they are moved to the front when the capacity is used up, so that it need not grow.
 */
export type KeyValueCache = {
  keys: Tensor;
  values: Tensor;
  start: number;
  end: number;
  position: number;
};

/** Those of one text. */
function of(i: number, ...[q, k, v]: [Tensor, Tensor, Tensor]): [Tensor, Tensor, Tensor] {
  return [q.slice(0, i, i + 1), k.slice(0, i, i + 1), v.slice(0, i, i + 1)];
}

/** Keys for each head of values, where all share one. */
function perHead(keys: Tensor, values: Tensor): Tensor {
  return keys.shape[2] === values.shape[2] ? keys : keys.expand([...values.shape]);
}

function queryKeyNorm({ qkNorm, headDim }: AttentionShape, heads: number, options: TensorOptions): Pointwise | null {
  if (!qkNorm) return null;
  const { over, eps, zeroCentred } = qkNorm;
  const Norm = zeroCentred ? ZeroCentredRMSNorm : RMSNorm;
  return new Norm(over === 'head' ? headDim : heads * headDim, { eps, ...options });
}

/**
 * Causal softmax attention with rotary positions: the layer of Llama, and of hybrid models in place of a fast-weight
 * mixer. Its state grows with the text unless there is a window; packed sequences have none (UNSUPPORTED).
 */
export class Attention extends Recurrent<KeyValueCache> {
  /**
   * To the queries, weight [numHeads * headDim, hiddenSize]; with a gate of the output [numHeads * 2 * headDim, hiddenSize],
   * in each head the query and then its gate.
   */
  q_proj: Linear;
  /** To the keys, weight [numKvHeads * headDim, hiddenSize]; [headDim, hiddenSize] where they are shared. */
  k_proj: Linear;
  /** To the values, weight [numKvHeads * headDim, hiddenSize]. */
  v_proj: Linear;
  /** From the heads, one after the other, to the output: weight [hiddenSize, numHeads * headDim]. */
  o_proj: Linear;
  /** Of the queries, where `qkNorm` asks for it; weight [headDim] or [numHeads * headDim]. */
  q_norm: Pointwise | null;
  /** Of the keys, likewise. */
  k_norm: Pointwise | null;

  constructor(
    /** What the layer was made with. */
    readonly shape: AttentionShape,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'shape', shape);
    const { hiddenSize, numHeads, numKvHeads, headDim, qkvBias, outputBias, outputGate = false } = shape;
    const queries = numHeads * headDim * (outputGate ? 2 : 1);
    this.q_proj = new Linear(hiddenSize, queries, { bias: qkvBias, ...options });
    this.k_proj = new Linear(hiddenSize, this.keyHeads * headDim, { bias: qkvBias, ...options });
    this.v_proj = new Linear(hiddenSize, numKvHeads * headDim, { bias: qkvBias, ...options });
    this.o_proj = new Linear(numHeads * headDim, hiddenSize, { bias: outputBias, ...options });
    this.q_norm = queryKeyNorm(shape, numHeads, options);
    this.k_norm = queryKeyNorm(shape, this.keyHeads, options);
  }

  forward(x: Tensor, options: SequenceOptions<KeyValueCache> = {}): SequenceResult<KeyValueCache> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    if (cuSeqlens && (state || outputState)) {
      throw new FastWeightsError('UNSUPPORTED', 'Attention: packed sequences have no state', { argument: 'cuSeqlens' });
    }
    const offset = state?.position ?? 0;
    const [q, gate] = this.queries(x, { offset, cuSeqlens });
    const [k, v] = this.keysAndValues(x, { offset, cuSeqlens });
    const keys = state ? cat([seen(state.keys, state).to(k.dtype), k], 1) : k;
    const values = state ? cat([seen(state.values, state).to(v.dtype), v], 1) : v;
    const { window, scale } = this.shape;
    const output = softmaxAttention(q, perHead(keys, values), values, { window, scale, cuSeqlens });
    const result = this.readout(output, gate);
    if (!outputState) return { output: result };
    const end = keys.shape[1];
    const start = Math.max(0, end - (this.shape.window ?? Infinity));
    const dtype = stateDType(this.k_proj);
    const kept = (t: Tensor): Tensor => t.slice(1, start).to(dtype).clone();
    return {
      output: result,
      state: { keys: kept(keys), values: kept(values), start: 0, end: end - start, position: offset + x.shape[1] },
    };
  }

  step(x: Tensor, state: KeyValueCache): Tensor {
    checkStep(this, x, state);
    const token = x.unsqueeze(1);
    const offset = state.position;
    const [q, gate] = this.queries(token, { offset });
    const [k, v] = this.keysAndValues(token, { offset });
    return this.readout(this.attend(q, k, v, state).to(x.dtype), gate).squeeze(1);
  }

  /** All at once but for what looks at the caches. */
  override stepRows(x: Tensor, rows: KeyValueCache[]): Tensor {
    rows.forEach((state) => checkState(`${this.constructor.name}.step`, this, state, 1));
    const token = x.unsqueeze(1);
    const offset = rows.map(({ position }) => position);
    const [q, gate] = this.queries(token, { offset });
    const [k, v] = this.keysAndValues(token, { offset });
    const outputs = rows.map((state, i) => this.attend(...of(i, q, k, v), state));
    return this.readout(cat(outputs).to(x.dtype), gate).squeeze(1);
  }

  /** A token's queries over what came before it and itself, which is added. */
  private attend(q: Tensor, k: Tensor, v: Tensor, state: KeyValueCache): Tensor {
    append(state, { keys: k, values: v }, this.shape.window);
    state.position++;
    const [keys, values] = [state.keys, state.values].map((t) => seen(t, state));
    return softmaxAttention(q.to(keys.dtype), perHead(keys, values), values, { scale: this.shape.scale });
  }

  initialState(batch: number): KeyValueCache {
    const { numKvHeads, headDim } = this.shape;
    const empty = (heads: number): Tensor =>
      zeros([batch, 0, heads, headDim], { device: this.k_proj.device, dtype: stateDType(this.k_proj) });
    return { keys: empty(this.keyHeads), values: empty(numKvHeads), start: 0, end: 0, position: 0 };
  }

  override get divisibleLength(): number {
    return this.shape.longer?.length ?? Infinity;
  }

  override pace(state: KeyValueCache): Pace {
    const { each, tokens } = paceOf(state, this.shape.window);
    const alike = tokensAlike(this.shape, state.position);
    return { each: { ...each, position: 1 }, tokens: Math.min(tokens, alike) };
  }

  private get keyHeads(): number {
    return this.shape.sharedKey ? 1 : this.shape.numKvHeads;
  }

  /** The queries, and what the gate of the output is before its sigmoid. */
  private queries(x: Tensor, at: Place): [Tensor, Tensor | null] {
    const { numHeads, headDim, outputGate = false } = this.shape;
    const heads = splitHeads(this.q_proj.forward(x), numHeads);
    const [q, gate] = outputGate ? split(heads, [headDim, headDim], -1) : [heads, null];
    return [turn(this.normed(this.q_norm, q), this.shape, at), gate];
  }

  private keysAndValues(x: Tensor, at: Place): [Tensor, Tensor] {
    const k = splitHeads(this.k_proj.forward(x), this.keyHeads);
    const v = splitHeads(this.v_proj.forward(x), this.shape.numKvHeads);
    return [turn(this.normed(this.k_norm, k), this.shape, at), v];
  }

  private normed(norm: Pointwise | null, heads: Tensor): Tensor {
    if (!norm) return heads;
    if (this.shape.qkNorm!.over === 'head') return norm.forward(heads);
    return splitHeads(norm.forward(mergeHeads(heads)), heads.shape[heads.ndim - 2]);
  }

  private readout(output: Tensor, gate: Tensor | null): Tensor {
    return this.o_proj.forward(mergeHeads(gate ? output.mul(gate.sigmoid()) : output));
  }
}
