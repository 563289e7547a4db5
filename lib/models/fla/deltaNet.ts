// DeltaNet with short convolutions and normalised keys (Yang et al. 2024; spec 2.3.5).
import { checkObject, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, RMSNorm, ShortConvolution } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { deltaRule } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { POINTWISE_MAPS } from './featureMaps';
import { type FlaConfiguration, FlaDecoder, type HeadSizes, readFla, readHeads } from './skeleton';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';

export interface DeltaNetKeys extends FlaKeys<'delta_net'>, HeadKeys, ConvolutionKeys {
  qkActivation?: Name<'silu' | 'relu' | 'elu' | 'identity'>;
  qkNorm?: Name<'l2' | 'sum'>;
  useBeta?: Flag;
  useGate?: Flag;
  useOutputNorm?: Flag;
  allowNegEigval?: Flag;
}

/** What `DeltaNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface DeltaNetConfiguration extends FlaConfiguration, HeadSizes {
  /** Between the convolution of q and k and their norm (`qk_activation`, 'silu' by default); 'elu' is elu + 1. */
  readonly qkActivation: 'silu' | 'relu' | 'elu' | 'identity';
  /** q and k over their length ('l2', the default) or over their sum ('sum', Schlag et al. 2021); `qk_norm`. */
  readonly qkNorm: 'l2' | 'sum';
  /** Without it the strength of every write is 1. */
  readonly useBeta: boolean;
  /** Strengths up to 2, so that a write may turn a direction of the state round. */
  readonly allowNegEigval: boolean;
  /** Gates the output. */
  readonly useGate: boolean;
  /** Tokens that the convolutions of q, k and v see; none when null. */
  readonly convSize: number | null;
}

function readConfiguration(input: object): DeltaNetConfiguration {
  const reader = ConfigurationReader.of(input, deltaNetFamily);
  const base = readFla(reader, deltaNetFamily);
  const allowNegEigval = reader.flag('allow_neg_eigval', false);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 1, numHeads: 16 }),
    qkActivation: reader.supported('qk_activation', 'silu', ['silu', 'relu', 'elu', 'identity']),
    qkNorm: reader.supported('qk_norm', 'l2', ['l2', 'sum']),
    useBeta: reader.supported('use_beta', true, allowNegEigval ? [true] : [true, false]),
    allowNegEigval,
    useGate: reader.flag('use_gate', false),
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
  };
}

/**
 * The delta rule behind short convolutions (Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule
 * over Sequence Length"): strengths sigmoid(b_proj x), a norm of each head in the read-out, no decay.
 */
export class DeltaNet extends FastWeightMixer {
  /** To the queries, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /**
   * Over the queries, weight [numHeads * keyDim, 1, convSize], with the silu where `qkActivation` is 'silu'; null
   * without `convSize`.
   */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, of the shape and with the activation of `q_conv1d`; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [numHeads * valueDim, 1, convSize], always with silu; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** To the strength of the write before its sigmoid, weight [numHeads, hiddenSize]; null without `useBeta`. */
  b_proj: Linear | null;
  /** To the gate of the output before its silu, weight [numHeads * valueDim, hiddenSize]; null without `useGate`. */
  g_proj: Linear | null;
  /** Of each head's output, weight [valueDim] for all heads; times silu of the gate with `useGate`. */
  o_norm: RMSNorm | GatedRMSNorm;
  /** From the heads to the output, weight [hiddenSize, numHeads * valueDim], no bias. */
  o_proj: Linear;
  protected readonly rule = deltaRule;

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: DeltaNetConfiguration,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, keyDim, valueDim, normEps, qkActivation, useBeta, useGate, convSize } = config;
    super({ heads: numHeads, keyDim, valueDim });
    const [keys, values] = [numHeads * keyDim, numHeads * valueDim];
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const conv = (dim: number, activation: 'silu' | null): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, { activation, ...options });
    const inConvolution = qkActivation === 'silu' ? 'silu' : null;
    this.q_proj = linear(keys);
    this.k_proj = linear(keys);
    this.v_proj = linear(values);
    this.q_conv1d = conv(keys, inConvolution);
    this.k_conv1d = conv(keys, inConvolution);
    this.v_conv1d = conv(values, 'silu');
    this.b_proj = useBeta ? linear(numHeads) : null;
    this.g_proj = useGate ? linear(values) : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(valueDim, { eps: normEps, ...options })
      : new RMSNorm(valueDim, { eps: normEps, ...options });
    this.o_proj = new Linear(values, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, qkActivation, qkNorm, allowNegEigval } = this.config;
    const part = (
      name: string,
      proj: Linear,
      conv: ShortConvolution | null,
      activation: typeof qkActivation,
    ): Tensor => {
      if (!conv && activation === 'silu') return splitHeads(proj.forward(x, { activation }), numHeads);
      const projected = proj.forward(x);
      if (!conv) return splitHeads(POINTWISE_MAPS[activation](projected), numHeads);
      const convolved = past.convolve(name, conv, projected);
      return splitHeads(conv.activation ? convolved : POINTWISE_MAPS[activation](convolved), numHeads);
    };
    const beta = toFloat32(this.b_proj?.forward(x))?.sigmoid();
    return {
      q: part('q', this.q_proj, this.q_conv1d, qkActivation),
      k: part('k', this.k_proj, this.k_conv1d, qkActivation),
      v: part('v', this.v_proj, this.v_conv1d, 'silu'),
      beta: beta && allowNegEigval ? beta.mul(2) : beta,
      qkL2Norm: qkNorm === 'l2',
      sumNorm: qkNorm === 'sum',
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const { g_proj, o_norm } = this;
    const normed =
      o_norm instanceof GatedRMSNorm
        ? o_norm.forward(output, splitHeads(g_proj!.forward(x), this.config.numHeads))
        : o_norm.forward(output);
    return this.o_proj.forward(mergeHeads(normed));
  }
}

/**
 * Language model of `DeltaNet` layers under the weight names of flash-linear-attention's DeltaNetForCausalLM,
 * `model_type` 'delta_net'; 24 layers of width 2048 with 16 heads by default.
 */
export class DeltaNetForCausalLM extends CausalLM<DeltaNetConfiguration> {
  constructor(input: EitherSpelling<DeltaNetKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new DeltaNet(config, options), options), options);
  }
}

export const deltaNetFamily: ModelDefinition<DeltaNetKeys, 'deltanet'> = {
  modelType: 'delta_net',
  name: 'deltanet',
  architecture: 'DeltaNetForCausalLM',
  description: 'DeltaNet: the delta rule with short convolutions and normalised keys (Yang et al. 2024)',
  keys: {
    ...FLA_KEYS,
    ...HEAD_KEYS,
    ...CONVOLUTION_KEYS,
    qkActivation: true,
    qkNorm: true,
    useBeta: 'flag',
    useGate: 'flag',
    useOutputNorm: 'flag',
    allowNegEigval: 'flag',
  },
  configuration: ({ numHeads, feedForward }) => ({
    numHeads,
    intermediateSize: feedForward,
    expandK: 1,
    expandV: 1,
    convSize: 4,
  }),
  model: DeltaNetForCausalLM,
};
