// RWKV-6: a memory that is read before it is written, with a bonus for the present token (Peng et al. 2024; spec 2.13.7).
import { checkObject, type OptionNames, type Tensor } from '../../core';
import { drawsWeights, Linear, Module, parameter } from '../../nn';
import { diag, ones, type TensorOptions, toFloat32, zeros } from '../../ops';
import { rwkv6 } from '../../rules';
import { Attention, type AttentionShape } from '../common/attention';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { computable, FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import type { CommonKeys, Count, EitherSpelling } from '../common/keys';
import { type Placed, mergeHeads, type Recurrent, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { type HeadSizes, readAttention, readHeads } from '../fla/skeleton';
import { ChannelMix } from './block';
import { FlaRwkvDecoder, readRwkv, RWKV_KEYS, type RwkvConfiguration, type RwkvKeys } from './fla';
import { HeadNorm, LowRank, uniform } from './parts';

export interface Rwkv6Keys extends RwkvKeys<'rwkv6'> {
  /** 4 by default. */
  numHeads?: Count;
  /** Width of all keys over the hidden size, 0.5 by default. */
  expandK?: Count;
  /** Width of all values over the hidden size, 1 by default. */
  expandV?: Count;
  /** Rank of each of the five mixes with the token before, 32 by default. */
  projLowRankDim?: Count;
  /** Rank of the projection to the decay, 64 by default. */
  gateLowRankDim?: Count;
}

const KEYS: OptionNames<Omit<Rwkv6Keys, keyof CommonKeys>> = {
  ...RWKV_KEYS,
  numHeads: true,
  expandK: true,
  expandV: true,
  projLowRankDim: true,
  gateLowRankDim: true,
};

/** What `RWKV6ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Rwkv6Configuration extends RwkvConfiguration, Omit<HeadSizes, 'numKvHeads'> {
  /** Rank of each of the five mixes with the token before. */
  readonly mixRank: number;
  /** Rank of the projection to the decay. */
  readonly decayRank: number;
  /** Softmax attention in place of the mixer, by layer. */
  readonly attention: ReadonlyMap<number, AttentionShape>;
}

function readConfiguration(input: object): Rwkv6Configuration {
  const reader = ConfigurationReader.of(input, rwkv6Family);
  const base = readRwkv(reader, rwkv6Family, 3.5);
  const { numKvHeads: _, ...heads } = readHeads(reader, base.hiddenSize, { expandK: 0.5, expandV: 1 });
  return {
    ...base,
    ...heads,
    mixRank: reader.size('proj_low_rank_dim', 32),
    decayRank: reader.size('gate_low_rank_dim', 64),
    attention: readAttention(reader, base),
  };
}

/** W (x + mu delta), delta the token before less x. */
export class LerpLinear extends Module {
  /** [out, in], no bias. */
  linear: Linear;
  /** How much of the token before goes in [in]; 0 at first. */
  mu: Tensor;

  constructor(inFeatures: number, outFeatures: number, options: TensorOptions = {}) {
    super();
    this.linear = new Linear(inFeatures, outFeatures, { bias: false, ...options });
    this.mu = parameter(zeros([inFeatures], options));
  }

  /** x and delta [..., in] to [..., out]. */
  forward(x: Tensor, delta: Tensor): Tensor {
    return this.linear.forward(x.add(delta.mul(this.mu)));
  }
}

/** r, decay, k, v and gate. */
const MIXES = 5;

/**
 * o_t = S_{t-1}^T r_t + (r_t . (u * k_t)) v_t, S_t = diag(w_t) S_{t-1} + k_t v_t^T, with a learned decay w per key channel; what
 * each projection sees is a mix of the token with the one before it that depends on both (Peng et al. 2024, "Eagle and Finch").
 */
export class RWKV6Attention extends FastWeightMixer<RuleInputs & { bonus: Tensor }> {
  /** From a first mix of x with the token before to those of the projections: 0 [5 rank, hiddenSize], 2 [hiddenSize, 5 rank]. */
  x_proj: { '0': LerpLinear; '2': Linear };
  /** The mixes where nothing is known [5, hiddenSize]. */
  x_bias: Tensor;
  /** `linear` [numHeads * keyDim, hiddenSize]. */
  r_proj: { linear: Linear };
  /** `linear` [numHeads * keyDim, hiddenSize]. */
  k_proj: { linear: Linear };
  /** `linear` to the logarithm of minus the log decay. */
  w_proj: { linear: LowRank };
  /** `linear` [numHeads * valueDim, hiddenSize]. */
  v_proj: { linear: Linear };
  /** To the gate of the output, before its silu. */
  g_proj: { linear: Linear };
  /** u: weight of the present token [numHeads, keyDim]. */
  bonus: Tensor;
  /** Of each head's output; weight and bias [numHeads * valueDim]. */
  g_norm: HeadNorm;
  /** [hiddenSize, numHeads * valueDim] */
  o_proj: Linear;
  protected readonly rule = rwkv6;

  constructor(
    /** Of the model. */
    readonly config: Rwkv6Configuration,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, keyDim, valueDim, mixRank, decayRank, normEps } = config;
    super({ heads: numHeads, keyDim, valueDim });
    const [keys, values] = [numHeads * keyDim, numHeads * valueDim];
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    this.x_proj = {
      '0': new LerpLinear(hiddenSize, MIXES * mixRank, options),
      '2': linear(MIXES * mixRank, hiddenSize),
    };
    this.x_bias = parameter(zeros([MIXES, hiddenSize], options));
    this.r_proj = { linear: linear(hiddenSize, keys) };
    this.k_proj = { linear: linear(hiddenSize, keys) };
    this.w_proj = { linear: new LowRank(hiddenSize, keys, decayRank, 'tanh', options) };
    this.v_proj = { linear: linear(hiddenSize, values) };
    this.g_proj = { linear: linear(hiddenSize, values) };
    this.bonus = parameter(zeros([numHeads, keyDim], options));
    this.g_norm = new HeadNorm(numHeads, values, { eps: normEps, ...options });
    this.o_proj = linear(values, hiddenSize);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get shifts(): Record<string, number> {
    return { x: this.config.hiddenSize };
  }

  /** What the projections see [..., 5, hiddenSize]. */
  private mixed(x: Tensor, delta: Tensor): Tensor {
    const ranks = this.x_proj['0'].forward(x, delta).tanh();
    // Each mix has columns of its own in the second matrix: the others' ranks are 0 in its row.
    const { mixRank } = this.config;
    const own = diag(ones([MIXES], { device: x.device, dtype: x.dtype })).unsqueeze(-1);
    const parts = ranks.reshape([...ranks.shape.slice(0, -1), 1, MIXES, mixRank]).mul(own);
    const rows = parts.reshape([...parts.shape.slice(0, -2), MIXES * mixRank]);
    const mixes = this.x_proj['2'].forward(rows).add(this.x_bias);
    return x.unsqueeze(-2).add(delta.unsqueeze(-2).mul(mixes));
  }

  protected inputs(x: Tensor, past: Past): RuleInputs & { bonus: Tensor } {
    const { numHeads } = this.config;
    const heads = (t: Tensor): Tensor => splitHeads(t, numHeads);
    const [r, w, k, v, g] = this.mixed(x, past.shift('x', x)).unbind(-2);
    return {
      q: heads(this.r_proj.linear.forward(r)),
      k: heads(this.k_proj.linear.forward(k)),
      v: heads(this.v_proj.linear.forward(v)),
      gate: heads(toFloat32(this.w_proj.linear.forward(w)).exp().neg()),
      bonus: computable(this.bonus),
      scale: 1,
      carry: this.g_proj.linear.forward(g),
    };
  }

  protected readout(output: Tensor, _x: Tensor, { carry: gate }: RuleInputs): Tensor {
    return this.o_proj.forward(this.g_norm.forward(mergeHeads(output)).mul(gate!.silu()));
  }

  /** As published: projections small, uniform as Glorot and Bengio have it. */
  initialize(): void {
    const { x_proj, r_proj, k_proj, v_proj, g_proj, o_proj } = this;
    const projections = [x_proj['0'], r_proj, k_proj, v_proj, g_proj].map(({ linear }) => linear);
    for (const { weight } of [...projections, x_proj['2'], o_proj]) {
      uniform(weight, 2 ** -2.5 * (6 / (weight.shape[0] + weight.shape[1])) ** 0.5);
    }
    this.w_proj.linear.initialize();
  }
}

/** sigmoid(receptance) value(relu(key)^2), where key and receptance see a mix of x with the token before. */
export class RWKV6FeedForward extends ChannelMix {
  /** To [intermediateSize]. */
  key: LerpLinear;
  /** [hiddenSize, intermediateSize] */
  value: Linear;
  /** To [hiddenSize]. */
  receptance: LerpLinear;

  constructor(config: RwkvConfiguration, options: TensorOptions = {}) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, intermediateSize } = config;
    super(hiddenSize);
    this.key = new LerpLinear(hiddenSize, intermediateSize, options);
    this.value = new Linear(intermediateSize, hiddenSize, { bias: false, ...options });
    this.receptance = new LerpLinear(hiddenSize, hiddenSize, options);
  }

  protected get reference(): Placed {
    return this.value;
  }

  protected mixed(x: Tensor, delta: Tensor): Tensor {
    const value = this.value.forward(this.key.forward(x, delta).relu().square());
    return this.receptance.forward(x, delta).sigmoid().mul(value);
  }
}

/**
 * Language model of `RWKV6Attention` layers under the weight names of flash-linear-attention's RWKV6ForCausalLM, `model_type`
 * 'rwkv6'; 24 layers of width 2048 with 4 heads by default.
 */
export class RWKV6ForCausalLM extends CausalLM<Rwkv6Configuration> {
  constructor(input: EitherSpelling<Rwkv6Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const mixer = (layer: number): Recurrent => {
      const shape = config.attention.get(layer);
      return shape ? new Attention(shape, options) : new RWKV6Attention(config, options);
    };
    const feedForward = (): ChannelMix => new RWKV6FeedForward(config, options);
    super(config, new FlaRwkvDecoder(config, { mixer, feedForward }, options), options);
    if (!drawsWeights()) return;
    for (const [, module] of this.namedModules()) if (module instanceof RWKV6Attention) module.initialize();
  }
}

export const rwkv6Family: ModelDefinition<Rwkv6Keys, 'rwkv6'> = {
  modelType: 'rwkv6',
  name: 'rwkv6',
  architecture: 'RWKV6ForCausalLM',
  description: 'RWKV-6: a memory with learned decay, read before it is written (Peng et al. 2024)',
  keys: KEYS,
  configuration: ({ numHeads, intermediateSize = null }) => ({ numHeads, intermediateSize }),
  model: RWKV6ForCausalLM,
};
