// RWKV-7: a diagonal plus low-rank memory, token shift, values that see those of the first layer (Peng et al. 2025; spec
// 2.13.8).
import { argumentError, type OptionNames, type Tensor } from '../../core';
import { GroupNorm, Linear, parameter } from '../../nn';
import {
  groupNorm,
  l2Norm,
  normalize,
  rwkv7KeyUpdate,
  rwkv7OutputCorrection,
  type TensorOptions,
  toFloat32,
  zeros,
} from '../../ops';
import { generalizedDeltaRule } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { computable, FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import type { CommonKeys, Count, EitherSpelling } from '../common/keys';
import { mergeHeads, splitHeads } from '../common/mixer';
import type { Entries } from '../common/pretrained';
import type { ModelDefinition } from '../common/registry';
import { ChannelMix } from './block';
import { FlaRwkvDecoder, readRwkv, RWKV_KEYS, type RwkvConfiguration, type RwkvKeys } from './fla';
import { assign, likeOrthogonal, LowRank, uniform } from './parts';

export interface Rwkv7Keys extends RwkvKeys<'rwkv7'> {
  /** hiddenSize / headDim; only one of the two is needed. */
  numHeads?: Count;
  /** Width of a head's keys, a divisor of the hidden size; 64 by default, or what `numHeads` says. */
  headDim?: Count;
  /** Width of all values, or a list of it for every layer: a multiple of the hidden size, which it is by default. */
  valueDim?: Count | readonly number[];
  /** Ranks of the projections to decay, output gate, rate and value mix: 64, 128, 64, 16; null derives them from the sizes. */
  decayLowRankDim?: Count;
  gateLowRankDim?: Count;
  aLowRankDim?: Count;
  vLowRankDim?: Count;
}

const KEYS: OptionNames<Omit<Rwkv7Keys, keyof CommonKeys>> = {
  ...RWKV_KEYS,
  numHeads: true,
  headDim: true,
  valueDim: true,
  decayLowRankDim: true,
  gateLowRankDim: true,
  aLowRankDim: true,
  vLowRankDim: true,
};

/** What `RWKV7ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Rwkv7Configuration extends RwkvConfiguration {
  readonly numHeads: number;
  /** K, per head. */
  readonly headDim: number;
  /** V, per head. */
  readonly headValueDim: number;
  /** Ranks of the projections to decay, output gate, rate and value mix. */
  readonly ranks: { readonly decay: number; readonly gate: number; readonly rate: number; readonly value: number };
  /** Whether keys are divided by sqrt(sum x^2 + 1e-6), or by their length, 1e-12 at least. */
  readonly fuseNorm: boolean;
}

function readHeadDim(reader: ConfigurationReader, hiddenSize: number): number {
  const numHeads = reader.optionalSize('num_heads');
  const derived = numHeads === null ? 64 : reader.divides(hiddenSize, 'num_heads', numHeads);
  const headDim = reader.size('head_dim', derived);
  reader.divides(hiddenSize, 'head_dim', headDim);
  if (numHeads !== null && headDim !== derived) {
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'head_dim', `${derived} with ${numHeads} heads`, String(headDim));
  }
  return headDim;
}

/** All layers have values of one width: the first one's go to all of them. */
function readValueDim(reader: ConfigurationReader, hiddenSize: number, layers: number): number {
  const widths = reader.integers('value_dim');
  const [width = hiddenSize] = widths;
  const found = `[${widths.join(', ')}]`;
  if (widths.length > 1 && widths.length !== layers) {
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'value_dim', `a width for each of ${layers} layers`, found);
  }
  if (width < hiddenSize || width % hiddenSize !== 0 || widths.some((other) => other !== width)) {
    const expected = `one multiple of hidden_size ${hiddenSize}`;
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'value_dim', expected, found);
  }
  return width;
}

function readConfiguration(input: object): Rwkv7Configuration {
  const reader = ConfigurationReader.of(input, rwkv7Family);
  const base = readRwkv(reader, rwkv7Family, 4);
  // The published program passes nothing on between attention layers and others.
  reader.supported('attn', null, [null]);
  const { hiddenSize, numHiddenLayers } = base;
  const headDim = readHeadDim(reader, hiddenSize);
  const numHeads = hiddenSize / headDim;
  const rank = (key: string, usual: number, derived: number): number =>
    reader.source[key] === null ? Math.max(32, 32 * Math.round(derived / 32)) : reader.size(key, usual);
  const width = hiddenSize ** 0.5;
  const factor = headDim / 64;
  return {
    ...base,
    numHeads,
    headDim,
    headValueDim: readValueDim(reader, hiddenSize, numHiddenLayers) / numHeads,
    ranks: {
      decay: rank('decay_low_rank_dim', 64, 2.5 * width * factor),
      gate: rank('gate_low_rank_dim', 128, 5 * width),
      rate: rank('a_low_rank_dim', 64, 2.5 * width * factor),
      value: rank('v_low_rank_dim', 16, 1.7 * width * factor),
    },
    fuseNorm: reader.flag('fuse_norm', true),
  };
}

interface Rwkv7Inputs extends RuleInputs {
  a: Tensor;
  b: Tensor;
  carry: Tensor;
}

/** How much of the token before goes into r, decay, k, v, rate and gate. */
const MIXES = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'] as const;

/** -exp(-1/2): the least log decay. */
const LEAST_DECAY = -0.6065306597126334;

/** Of channel n of D, for new weights: how far along it stands. */
const along = (D: number, f: (share: number, n: number) => number): number[] =>
  Array.from({ length: D }, (_, n) => f(n / Math.max(1, D - 1), n));

/**
 * S_t = diag(w_t) S_{t-1} - kappa_t (a_t kappa_t)^T S_{t-1} + k_t v_t^T with decays w, rates a and keys that each mix the token
 * with the one before it (Peng et al. 2025, "RWKV-7 Goose"). Layers behind the first mix their values with those of the first.
 */
export class RWKV7Attention extends FastWeightMixer<Rwkv7Inputs> {
  /** How much of the token before goes into r, decay, k, v, rate and gate: [1, 1, hiddenSize] each. */
  x_r: Tensor;
  x_w: Tensor;
  x_k: Tensor;
  x_v: Tensor;
  x_a: Tensor;
  x_g: Tensor;
  /** What keys are multiplied by before they erase [hiddenSize]. */
  k_k: Tensor;
  /** How much the rate says of the written key [hiddenSize]. */
  k_a: Tensor;
  /** Weight of the present token in the output [numHeads, headDim]. */
  r_k: Tensor;
  /** Weights [hiddenSize, hiddenSize]. */
  r_proj: Linear;
  k_proj: Linear;
  /** [numHeads * headValueDim, hiddenSize] */
  v_proj: Linear;
  /** [hiddenSize, numHeads * headValueDim] */
  o_proj: Linear;
  /** To the decay. */
  w_lora: LowRank;
  /** To the share of the first layer's values; null in the first layer. */
  v_lora: LowRank | null;
  /** To the rate. */
  a_lora: LowRank;
  /** To the gate of the output. */
  g_lora: LowRank;
  /** Of each head's output; weight and bias [numHeads * headValueDim], eps headDim * normEps. */
  g_norm: GroupNorm;
  protected readonly rule = generalizedDeltaRule;

  constructor(
    readonly config: Rwkv7Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    const { hiddenSize, numHeads, headDim, headValueDim, normEps, ranks } = config;
    super({ heads: numHeads, keyDim: headDim, valueDim: headValueDim });
    const values = numHeads * headValueDim;
    const vector = (shape: number[]): Tensor => parameter(zeros(shape, options));
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    const mix = (): Tensor => vector([1, 1, hiddenSize]);
    [this.x_r, this.x_w, this.x_k, this.x_v, this.x_a, this.x_g] = MIXES.map(mix);
    this.k_k = vector([hiddenSize]);
    this.k_a = vector([hiddenSize]);
    this.r_k = vector([numHeads, headDim]);
    this.r_proj = linear(hiddenSize, hiddenSize);
    this.k_proj = linear(hiddenSize, hiddenSize);
    this.v_proj = linear(hiddenSize, values);
    this.o_proj = linear(values, hiddenSize);
    this.w_lora = new LowRank(hiddenSize, hiddenSize, ranks.decay, 'tanh', options);
    this.v_lora = layer === 0 ? null : new LowRank(hiddenSize, values, ranks.value, null, options);
    this.a_lora = new LowRank(hiddenSize, hiddenSize, ranks.rate, null, options);
    this.g_lora = new LowRank(hiddenSize, values, ranks.gate, 'sigmoid', { bias: false, ...options });
    this.g_norm = new GroupNorm(numHeads, values, { eps: headDim * normEps, ...options });
  }

  protected get reference(): Tensor {
    return this.o_proj.weight;
  }

  protected override get shifts(): Record<string, number> {
    return { x: this.config.hiddenSize };
  }

  protected inputs(x: Tensor, past: Past): Rwkv7Inputs {
    const { numHeads, fuseNorm } = this.config;
    const delta = past.shift('x', x);
    const mixed = (mu: Tensor): Tensor => x.add(delta.mul(mu.reshape(-1)));
    const heads = (t: Tensor): Tensor => splitHeads(t, numHeads);
    const k = this.k_proj.forward(mixed(this.x_k));
    const rate = this.a_lora.forward(mixed(this.x_a)).sigmoid();
    const kappa = heads(k.mul(this.k_k));
    const unit = fuseNorm ? l2Norm(kappa) : normalize(kappa, { dim: -1 });
    return {
      q: heads(this.r_proj.forward(mixed(this.x_r))),
      k: heads(rwkv7KeyUpdate(k, rate, this.k_a)),
      v: heads(this.values(mixed(this.x_v), past)),
      a: computable(unit.neg()),
      b: computable(unit.mul(heads(rate))),
      gate: heads(toFloat32(this.w_lora.forward(mixed(this.x_w))).sigmoid().mul(LEAST_DECAY)),
      scale: 1,
      carry: this.g_lora.forward(mixed(this.x_g)),
    };
  }

  /** The first layer hands its values on to all others. */
  private values(x: Tensor, { beside }: Past): Tensor {
    const v = this.v_proj.forward(x);
    if (!this.v_lora) {
      beside.value = v;
      return v;
    }
    if (!('value' in beside)) {
      const expected = '{ value: the values of the first layer }';
      throw argumentError('INVALID_ARGUMENT', 'RWKV7Attention', 'beside', expected, 'nothing of that name');
    }
    return v.add(this.v_lora.forward(x).sigmoid().mul(beside.value.sub(v)));
  }

  protected readout(output: Tensor, _x: Tensor, { q, k, v, carry }: Rwkv7Inputs): Tensor {
    const { weight, bias, numGroups, eps } = this.g_norm;
    const normed = groupNorm(mergeHeads(output), numGroups, weight, bias, { eps });
    return this.o_proj.forward(rwkv7OutputCorrection(normed, q, k, v, this.r_k, carry));
  }

  /** As published. */
  initialize(): void {
    const { layer } = this;
    const { hiddenSize: D, headDim, numHiddenLayers: layers } = this.config;
    const depth = layer / Math.max(1, layers - 1);
    const left = 1 - layer / layers;
    const powers = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2];
    MIXES.forEach((mix, i) => assign(this[mix], along(D, (_, n) => 1 - (n / D) ** (powers[i] * left))));
    const zigzag = (n: number): number => {
      const z = headDim === 1 ? 0 : ((n % headDim) * 2) / (headDim - 1) - 1;
      return z * Math.abs(z);
    };
    assign(this.k_k, along(D, (share) => 0.71 - 0.1 * (share - 0.5)));
    assign(this.k_a, along(D, () => 1.02));
    assign(this.r_k, along(D, () => -0.04));
    this.w_lora.initialize(along(D, (share, n) => 6 * share ** (1 + depth ** 0.3) - 5.5 + 2.5 * zigzag(n)));
    this.a_lora.initialize(along(D, (share, n) => -0.19 + 0.3 * zigzag(n) + 0.4 * (share - 0.5)));
    this.v_lora?.initialize(along(this.v_proj.weight.shape[0], (share) => 0.73 - 0.4 * (share - 0.5)));
    this.g_lora.initialize();
    const { weight } = this.g_norm;
    assign(weight!, along(weight!.size, () => ((layer + 1) / layers) ** 0.7));
    likeOrthogonal(this.r_proj.weight);
    likeOrthogonal(this.k_proj.weight, 0.1);
    likeOrthogonal(this.v_proj.weight);
    const { weight: out } = this.o_proj;
    uniform(out, (out.shape[1] * 2 * layers) ** -0.5);
  }
}

/** value(relu(key(x + delta x_k))^2), delta the token before less x. */
export class RWKV7FeedForward extends ChannelMix {
  /** How much of the token before goes in [hiddenSize]. */
  x_k: Tensor;
  /** [intermediateSize, hiddenSize] */
  key: Linear;
  /** [hiddenSize, intermediateSize] */
  value: Linear;

  constructor(
    readonly config: RwkvConfiguration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    const { hiddenSize, intermediateSize } = config;
    super(hiddenSize);
    this.x_k = parameter(zeros([hiddenSize], options));
    this.key = new Linear(hiddenSize, intermediateSize, { bias: false, ...options });
    this.value = new Linear(intermediateSize, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Tensor {
    return this.key.weight;
  }

  protected mixed(x: Tensor, delta: Tensor): Tensor {
    return this.value.forward(this.key.forward(x.add(delta.mul(this.x_k))).relu().square());
  }

  /** As published. */
  initialize(): void {
    const D = this.hiddenSize;
    const left = 1 - this.layer / this.config.numHiddenLayers;
    assign(this.x_k, along(D, (_, n) => 1 - (n / D) ** left ** 4));
    likeOrthogonal(this.key.weight);
    assign(this.value.weight, new Array<number>(this.value.weight.size).fill(0));
  }
}

/**
 * Language model of `RWKV7Attention` layers under the weight names of flash-linear-attention's RWKV7ForCausalLM, `model_type`
 * 'rwkv7'; 24 layers of width 2048 with heads of 64 by default. New weights are those of the published program, whatever
 * `initializerRange` is, but normal where that has orthogonal matrices.
 */
export class RWKV7ForCausalLM extends CausalLM<Rwkv7Configuration> {
  constructor(input: EitherSpelling<Rwkv7Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const mixer = (layer: number): RWKV7Attention => new RWKV7Attention(config, layer, options);
    const feedForward = (layer: number): RWKV7FeedForward => new RWKV7FeedForward(config, layer, options);
    super(config, new FlaRwkvDecoder(config, { mixer, feedForward }, options), options);
    for (const [, module] of this.namedModules()) {
      if (module instanceof RWKV7Attention || module instanceof RWKV7FeedForward) module.initialize();
    }
    const { vocabSize, hiddenSize, tieWordEmbeddings } = config;
    uniform(this.model.tokens.weight, 1e-4);
    if (!tieWordEmbeddings) likeOrthogonal(this.lm_head.weight, 0.5 * Math.max(1, vocabSize / hiddenSize) ** 0.5);
  }
}

/** Older files hold the six mixes of a layer as one [6, hiddenSize]. */
function splitMixes(entries: Entries): Entries {
  const found = new Map(entries);
  for (const [name, entry] of entries) {
    const [rows, width] = entry.shape;
    if (!/\.attn\.x_x$/.test(name) || entry.shape.length !== 2 || rows !== MIXES.length) continue;
    found.delete(name);
    MIXES.forEach((mix, i) => {
      const own = name.replace(/x_x$/, mix);
      found.set(own, entry.part(own, i * width, [1, 1, width]));
    });
  }
  return found;
}

export const rwkv7Family: ModelDefinition<Rwkv7Keys, 'rwkv7'> = {
  modelType: 'rwkv7',
  name: 'rwkv7',
  architecture: 'RWKV7ForCausalLM',
  description: 'RWKV-7: a diagonal plus low-rank memory with token shift (Peng et al. 2025)',
  keys: KEYS,
  configuration: ({ headDim, numHeads, intermediateSize = null }) => ({
    numHeads,
    headDim,
    intermediateSize,
    decayLowRankDim: null,
    gateLowRankDim: null,
    aLowRankDim: null,
    vLowRankDim: null,
  }),
  fromFolder: splitMixes,
  model: RWKV7ForCausalLM,
};
