// The decoder of YOCO: layers with states of their own, and above them layers that all attend to the keys and values of the one
// place between, under the names of flash-linear-attention (Sun et al. 2024).
import { FastWeightsError, scope, type Tensor } from '../../core';
import { atOnce, type Pace, type Stages, type State } from '../../inference';
import { type Embedding, Linear, Module, RMSNorm, SwiGLU } from '../../nn';
import { cat, rope, softmaxAttention, type TensorOptions, zeros } from '../../ops';
import type { KeyValueCache } from '../common/attention';
import { Decoder, Layer } from '../common/block';
import {
  checkState,
  mergeHeads,
  type Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from '../common/mixer';
import { append, paceOf, seen } from '../common/recent';
import { ScaledEmbedding } from '../common/scaledEmbedding';
import { type FlaConfiguration, FlaBlock } from './skeleton';

/** Attention of the upper half. */
export interface CrossAttentionShape {
  readonly numHeads: number;
  /** Heads of the keys and values that all layers share, a divisor of numHeads. */
  readonly numKvHeads: number;
  /** Whether the projections to q, k and v have biases. */
  readonly qkvBias: boolean;
  /** Whether the queries of each head have an RMS norm; the keys come from normed vectors in any case. */
  readonly qkNorm: boolean;
  /** Angle per position of each pair of neighbouring coordinates of q and k. */
  readonly frequencies: readonly number[];
}

/** What the decoder is made of. */
export interface YocoShape extends FlaConfiguration {
  /** Layers of the lower half (`num_self_decoder_layers`, 10 by default); those above them are of the upper one. */
  readonly numSelfLayers: number;
  /** Of all layers of the upper half. */
  readonly cross: CrossAttentionShape;
}

/** Where the tokens stand in the text. */
interface Place {
  offset: number | readonly number[];
  cuSeqlens?: readonly number[] | null;
}

/** Of the norm of queries: `norm_eps` never reaches it in the published program. */
const Q_NORM_EPS = 1e-5;

/** Keys and values of the upper half, which its layers share. */
export class SharedKeysAndValues extends Module {
  /** In front of both, weight [hiddenSize]. */
  kv_norm: RMSNorm;
  /** Keys, weight [numKvHeads * D, hiddenSize]. */
  k_proj: Linear;
  /** Values, weight [numKvHeads * D, hiddenSize]. */
  v_proj: Linear;
  /** D */
  readonly headDim: number;

  constructor(
    { hiddenSize, normEps }: YocoShape,
    readonly shape: CrossAttentionShape,
    options: TensorOptions,
  ) {
    super();
    const { numHeads, numKvHeads, qkvBias } = shape;
    this.headDim = hiddenSize / numHeads;
    const linear = (): Linear => new Linear(hiddenSize, numKvHeads * this.headDim, { bias: qkvBias, ...options });
    this.kv_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.k_proj = linear();
    this.v_proj = linear();
  }

  /** Turned keys and the values [B, T, numKvHeads, D] of x [B, T, hiddenSize]. */
  forward(x: Tensor, at: Place): [keys: Tensor, values: Tensor] {
    const { numKvHeads, frequencies } = this.shape;
    const normed = this.kv_norm.forward(x);
    const [k, v] = [this.k_proj, this.v_proj].map((proj) => splitHeads(proj.forward(normed), numKvHeads));
    return [rope(k, { ...at, frequencies, interleaved: true }), v];
  }
}

/** What queries [B, T, H, D] read. */
type Look = (q: Tensor) => Tensor;

/** Attention to keys and values that come from elsewhere. */
export class CrossAttention extends Module {
  /** Queries, weight [hiddenSize, hiddenSize]. */
  q_proj: Linear;
  /** To the output, weight [hiddenSize, hiddenSize], no bias. */
  o_proj: Linear;
  /** Of each head's queries, weight [D]; null without `qkNorm`. */
  q_norm: RMSNorm | null;

  constructor(
    hiddenSize: number,
    readonly shape: CrossAttentionShape,
    options: TensorOptions,
  ) {
    super();
    const { numHeads, qkvBias, qkNorm } = shape;
    this.q_proj = new Linear(hiddenSize, hiddenSize, { bias: qkvBias, ...options });
    this.o_proj = new Linear(hiddenSize, hiddenSize, { bias: false, ...options });
    this.q_norm = qkNorm ? new RMSNorm(hiddenSize / numHeads, { eps: Q_NORM_EPS, ...options }) : null;
  }

  /** x [B, T, hiddenSize] */
  forward(x: Tensor, at: Place, look: Look): Tensor {
    const { numHeads, frequencies } = this.shape;
    const q = splitHeads(this.q_proj.forward(x), numHeads);
    const turned = rope(this.q_norm?.forward(q) ?? q, { ...at, frequencies, interleaved: true });
    return this.o_proj.forward(mergeHeads(look(turned).to(x.dtype)));
  }
}

/** x + attn(norm(x)), then x + mlp(norm(x)). */
class CrossBlock extends Module {
  attn_norm: RMSNorm;
  attn: CrossAttention;
  mlp_norm: RMSNorm;
  mlp: SwiGLU;

  constructor({ hiddenSize, intermediateSize, normEps, cross }: YocoShape, options: TensorOptions) {
    super();
    this.attn_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.attn = new CrossAttention(hiddenSize, cross, options);
    this.mlp_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, options);
  }

  forward(x: Tensor, at: Place, look: Look): Tensor {
    const y = x.add(this.attn.forward(this.attn_norm.forward(x), at, look));
    return this.mlp.forward(this.mlp_norm.forward(y), y);
  }
}

/** All of the upper half: its state are the keys and values that its layers share. */
class UpperHalf extends Layer {
  constructor(
    private readonly shared: SharedKeysAndValues,
    private readonly blocks: readonly CrossBlock[],
  ) {
    super();
  }

  *stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult> {
    const { outputState = false, cuSeqlens = null } = options;
    const state = (options.state ?? null) as KeyValueCache | null;
    if (cuSeqlens && (state || outputState)) {
      throw new FastWeightsError('UNSUPPORTED', 'YOCO: packed sequences have no state', { argument: 'cuSeqlens' });
    }
    const at = { offset: state?.position ?? 0, cuSeqlens };
    const [keys, values] = scope(() => {
      const [k, v] = this.shared.forward(x, at);
      if (!state) return [k, v];
      return [cat([seen(state.keys, state).to(k.dtype), k], 1), cat([seen(state.values, state).to(v.dtype), v], 1)];
    });
    let y = x.another();
    for (const block of this.blocks) {
      yield [y, keys, values];
      const next = scope(() => block.forward(y, at, (q) => softmaxAttention(q, keys, values, { cuSeqlens })));
      y.dispose();
      y = next;
    }
    const dtype = stateDType(this.shared.k_proj);
    const [end, position] = [keys.shape[1], at.offset + x.shape[1]];
    const after = outputState
      ? { keys: keys.to(dtype).clone(), values: values.to(dtype).clone(), start: 0, end, position }
      : undefined;
    keys.dispose();
    values.dispose();
    return { output: y, state: after };
  }

  *stepStages(x: Tensor, state: State): Stages<Tensor> {
    checkState(`${this.constructor.name}.step`, this, state, x.shape[0]);
    return yield* this.walk(x, [state as KeyValueCache]);
  }

  /** All at once but for what looks at the caches. */
  override stepRows(x: Tensor, rows: State[]): Tensor {
    for (const state of rows) checkState(`${this.constructor.name}.step`, this, state, 1);
    return atOnce(this.walk(x, rows as KeyValueCache[]));
  }

  /** A token each of texts with one state, or with a state each. */
  private *walk(x: Tensor, states: readonly KeyValueCache[]): Stages<Tensor> {
    const one = states.length === 1;
    const at = { offset: one ? states[0].position : states.map(({ position }) => position) };
    const of = (t: Tensor, i: number): Tensor => (one ? t : t.slice(0, i, i + 1));
    let y = x.unsqueeze(1);
    const [k, v] = this.shared.forward(y, at);
    states.forEach((state, i) => {
      append(state, { keys: of(k, i), values: of(v, i) }, null);
      state.position++;
    });
    const look = (q: Tensor): Tensor =>
      cat(
        states.map((state, i) => {
          const [keys, values] = [state.keys, state.values].map((t) => seen(t, state));
          return softmaxAttention(of(q, i).to(keys.dtype), keys, values);
        }),
      );
    for (const block of this.blocks) {
      y = block.forward(y, at, look);
      yield [y];
    }
    return y.squeeze(1);
  }

  initialState(batch: number): KeyValueCache {
    const { k_proj, shape, headDim } = this.shared;
    const where = { device: k_proj.device, dtype: stateDType(k_proj) };
    const empty = (): Tensor => zeros([batch, 0, shape.numKvHeads, headDim], where);
    return { keys: empty(), values: empty(), start: 0, end: 0, position: 0 };
  }

  override pace(state: State): Pace {
    const { each, tokens } = paceOf(state as KeyValueCache, null);
    return { each: { ...each, position: 1 }, tokens };
  }
}

/** Embedding, times the root of its width, lower half, upper half, final norm; `makeMixer` makes the mixers of the lower one. */
export class YocoDecoder extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embeddings: ScaledEmbedding;
  /** The lower half. */
  self_layers: FlaBlock[];
  /** Between them; null where there is no upper half. */
  shared_kv_builder: SharedKeysAndValues | null;
  /** The upper half. */
  cross_layers: CrossBlock[];
  /** Behind the last block, weight [hiddenSize]. */
  norm: RMSNorm;
  readonly layers: Layer[];

  constructor(config: YocoShape, makeMixer: () => Recurrent, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, numSelfLayers, normEps, cross } = config;
    const upper = numHiddenLayers - numSelfLayers;
    this.embeddings = new ScaledEmbedding(vocabSize, hiddenSize, Math.sqrt(hiddenSize), options);
    this.self_layers = Array.from({ length: numSelfLayers }, () => new FlaBlock(config, makeMixer(), options));
    this.shared_kv_builder = upper === 0 ? null : new SharedKeysAndValues(config, cross, options);
    this.cross_layers = Array.from({ length: upper }, () => new CrossBlock(config, options));
    this.norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    const above = this.shared_kv_builder && new UpperHalf(this.shared_kv_builder, this.cross_layers);
    this.layers = above ? [...this.self_layers, above] : this.self_layers;
  }

  /** Weights stand under the halves, and not under `layers` again. */
  protected override *memberProperties(): Generator<[string, unknown]> {
    for (const [key, value] of super.memberProperties()) if (key !== 'layers') yield [key, value];
  }

  override get stageCount(): number {
    return 2 * (this.self_layers.length + this.cross_layers.length) + 1;
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}
