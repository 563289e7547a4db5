// What Gated DeltaNet and Kimi Delta Attention have in common: convolved q, k, v, strengths, and a learned decay.
import type { OptionNames, Tensor } from '../../core';
import { type GatedRMSNorm, Linear, type RMSNorm, ShortConvolution } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { deltaRule } from '../../rules';
import type { ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { type FlaConfiguration, readFla } from './skeleton';
import { splitHeads } from '../common/mixer';

/** Gated DeltaNet and Kimi Delta Attention. */
export interface GatedDeltaKeys<T extends string = string> extends FlaKeys<T>, ConvolutionKeys {
  numHeads?: Count;
  numVHeads?: Count;
  headDim?: Count;
  expandV?: Count;
  allowNegEigval?: Flag;
}

export const GATED_DELTA_KEYS: OptionNames<Omit<GatedDeltaKeys, keyof CommonKeys>> = {
  ...FLA_KEYS,
  ...CONVOLUTION_KEYS,
  numHeads: true,
  numVHeads: true,
  headDim: true,
  expandV: true,
  allowNegEigval: 'flag',
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

export function readGatedDelta(
  reader: ConfigurationReader,
  family: ModelDefinition,
  defaults: { headDim: number; numHeads: number; expandV: number },
): GatedDeltaConfiguration {
  const base = readFla(reader, family);
  const numHeads = reader.size('num_heads', defaults.numHeads);
  const numValueHeads = reader.size('num_v_heads', numHeads);
  reader.divides(numValueHeads, 'num_heads', numHeads);
  const keyDim = reader.size('head_dim', defaults.headDim);
  return {
    ...base,
    numHeads,
    numValueHeads,
    keyDim,
    valueDim: reader.scaled('expand_v', keyDim * reader.number('expand_v', defaults.expandV)),
    allowNegEigval: reader.flag('allow_neg_eigval', false),
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
  };
}

export abstract class GatedDeltaMixer<C extends GatedDeltaSizes> extends FastWeightMixer {
  q_proj: Linear;
  k_proj: Linear;
  v_proj: Linear;
  q_conv1d: ShortConvolution | null;
  k_conv1d: ShortConvolution | null;
  v_conv1d: ShortConvolution | null;
  b_proj: Linear;
  o_proj: Linear;
  abstract o_norm: RMSNorm | GatedRMSNorm;
  protected readonly rule = deltaRule;

  constructor(
    readonly config: C,
    options: TensorOptions,
  ) {
    const { hiddenSize, numHeads, numValueHeads, keyDim, valueDim, convSize } = config;
    super({ heads: numValueHeads, keyDim, valueDim });
    const [keys, values] = [numHeads * keyDim, numValueHeads * valueDim];
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, options);
    this.q_proj = linear(keys);
    this.k_proj = linear(keys);
    this.v_proj = linear(values);
    this.q_conv1d = conv(keys);
    this.k_conv1d = conv(keys);
    this.v_conv1d = conv(values);
    this.b_proj = linear(numValueHeads);
    this.o_proj = new Linear(values, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Tensor {
    return this.o_proj.weight;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  /** The log decay, [..., HV] or [..., HV, K]. */
  protected abstract decay(x: Tensor): Tensor;

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, numValueHeads, allowNegEigval } = this.config;
    const part = (name: string, proj: Linear, conv: ShortConvolution | null, heads: number): Tensor => {
      const projected = proj.forward(x);
      return splitHeads(conv ? past.convolve(name, conv, projected) : projected.silu(), heads);
    };
    const beta = toFloat32(this.b_proj.forward(x)).sigmoid();
    return {
      q: part('q', this.q_proj, this.q_conv1d, numHeads),
      k: part('k', this.k_proj, this.k_conv1d, numHeads),
      v: part('v', this.v_proj, this.v_conv1d, numValueHeads),
      beta: allowNegEigval ? beta.mul(2) : beta,
      gate: this.decay(x),
      qkL2Norm: true,
    };
  }
}
