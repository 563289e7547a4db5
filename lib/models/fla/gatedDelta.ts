// What Gated DeltaNet and its relatives have in common: convolved q, k, v, strengths, and a learned decay.
import { checkObject, type OptionNames, type Tensor } from '../../core';
import { type GatedRMSNorm, Linear, type RMSNorm, ShortConvolution } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import type { ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { checkGroups } from '../common/shapeChecks';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { type FlaConfiguration, readFla } from './skeleton';
import { type Placed, splitHeads } from '../common/mixer';

/** Gated DeltaNet and its relatives. */
export interface GatedDeltaKeys<T extends string = string> extends FlaKeys<T>, ConvolutionKeys {
  numHeads?: Count;
  numVHeads?: Count;
  headDim?: Count;
  expandV?: Count;
}

/** Of those whose strengths may go up to 2. */
export interface NegativeEigenvalueKeys {
  allowNegEigval?: Flag;
}

export const GATED_DELTA_KEYS: OptionNames<Omit<GatedDeltaKeys, keyof CommonKeys>> = {
  ...FLA_KEYS,
  ...CONVOLUTION_KEYS,
  numHeads: true,
  numVHeads: true,
  headDim: true,
  expandV: true,
};

/** What a layer of either is made of. */
export interface GatedDeltaSizes {
  readonly hiddenSize: number;
  /** Heads of queries and keys. */
  readonly numHeads: number;
  /** Heads of values, a multiple of them: value head h reads key head floor(h numHeads / numValueHeads). */
  readonly numValueHeads: number;
  /** K and V, per head. */
  readonly keyDim: number;
  readonly valueDim: number;
  /** Strengths up to 2. */
  readonly allowNegEigval: boolean;
  /** Tokens that the convolutions of q, k and v see; none when null. */
  readonly convSize: number | null;
  /** Added to the mean square in the norm of the output. */
  readonly normEps: number;
}

export interface GatedDeltaConfiguration extends FlaConfiguration, GatedDeltaSizes {}

/** What families differ by where a key is missing, or means nothing. */
interface GatedDeltaDefaults {
  headDim: number;
  numHeads: number;
  expandV: number;
  /** 24 by default. */
  numHiddenLayers?: number;
  /** Whether value heads may be more than key heads, and strengths go up to 2, as keys of their own say; true by default. */
  valueHeads?: boolean;
  negativeEigenvalues?: boolean;
}

export function readGatedDelta(
  reader: ConfigurationReader,
  family: ModelDefinition,
  { valueHeads = true, negativeEigenvalues = true, ...defaults }: GatedDeltaDefaults,
): GatedDeltaConfiguration {
  const base = readFla(reader, family, 4, defaults.numHiddenLayers);
  const numHeads = reader.size('num_heads', defaults.numHeads);
  const numValueHeads = valueHeads ? reader.size('num_v_heads', numHeads) : numHeads;
  checkGroups(base.modelType, 'num_v_heads', numValueHeads, 'num_heads', numHeads);
  const keyDim = reader.size('head_dim', defaults.headDim);
  return {
    ...base,
    numHeads,
    numValueHeads,
    keyDim,
    valueDim: reader.scaled('expand_v', keyDim * reader.number('expand_v', defaults.expandV)),
    allowNegEigval: negativeEigenvalues && reader.flag('allow_neg_eigval', false),
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
  };
}

/** What the mixers differ by beside their configurations. */
export interface GatedDeltaParts {
  /** How many keys, values and strengths the projections give for a token; one, without a dimension of its own, by default. */
  writes?: number;
  /** How many strengths for each of them, numValueHeads by default. */
  strengths?: number;
}

export abstract class GatedDeltaMixer<
  C extends GatedDeltaSizes,
  I extends RuleInputs = RuleInputs,
> extends FastWeightMixer<I> {
  q_proj: Linear;
  k_proj: Linear;
  v_proj: Linear;
  q_conv1d: ShortConvolution | null;
  k_conv1d: ShortConvolution | null;
  v_conv1d: ShortConvolution | null;
  b_proj: Linear;
  o_proj: Linear;
  abstract o_norm: RMSNorm | GatedRMSNorm;
  private readonly writes: number | null;

  constructor(
    readonly config: C,
    options: TensorOptions,
    { writes, strengths }: GatedDeltaParts = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, numValueHeads, keyDim, valueDim, convSize } = config;
    super({ heads: numValueHeads, keyDim, valueDim });
    const [keys, values] = [numHeads * keyDim, numValueHeads * valueDim];
    const n = writes ?? 1;
    this.writes = writes ?? null;
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, options);
    this.q_proj = linear(keys);
    this.k_proj = linear(n * keys);
    this.v_proj = linear(n * values);
    this.q_conv1d = conv(keys);
    this.k_conv1d = conv(n * keys);
    this.v_conv1d = conv(n * values);
    this.b_proj = linear(n * (strengths ?? numValueHeads));
    this.o_proj = new Linear(values, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  /** The log decay, [..., HV] or [..., HV, K]; none where nothing decays. */
  protected abstract logDecay(x: Tensor): Tensor | null;

  /** [B, T, n D] to [B, T n, D], in a step [B, n D] to [B, n, D]. */
  private rows(t: Tensor): Tensor {
    const { writes } = this;
    if (writes === null) return t;
    const tokens = t.ndim === 3 ? t.shape[1] : 1;
    return t.reshape(t.shape[0], tokens * writes, t.shape[t.ndim - 1] / writes);
  }

  /** The operands of the delta rule. */
  protected deltaInputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, numValueHeads, allowNegEigval } = this.config;
    const part = (name: string, proj: Linear, conv: ShortConvolution | null): Tensor => {
      const projected = proj.forward(x);
      return conv ? past.convolve(name, conv, projected) : projected.silu();
    };
    const beta = this.rows(toFloat32(this.b_proj.forward(x)).sigmoid());
    return {
      q: splitHeads(part('q', this.q_proj, this.q_conv1d), numHeads),
      k: splitHeads(this.rows(part('k', this.k_proj, this.k_conv1d)), numHeads),
      v: splitHeads(this.rows(part('v', this.v_proj, this.v_conv1d)), numValueHeads),
      beta: allowNegEigval ? beta.mul(2) : beta,
      gate: this.logDecay(x),
      qkL2Norm: true,
    };
  }
}
