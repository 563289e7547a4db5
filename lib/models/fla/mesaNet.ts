// MesaNet: the best fit of the whole past, found anew for every query (von Oswald et al. 2025; spec 2.13.15).
import { checkObject, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, parameter, RMSNorm, ShortConvolution } from '../../nn';
import { full, l2Norm, type TensorOptions, toFloat32 } from '../../ops';
import { mesa } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { decayOptions } from '../common/initialize';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { MemoriesMixer, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { computable, type Past } from '../common/ruleMixer';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface MesaNetKeys extends FlaKeys<'mesa_net'>, ConvolutionKeys {
  numHeads?: Count;
  headDim?: Count;
  useOutputGate?: Flag;
  lambdaLowerBound?: Count;
  maxCgStepTraining?: Count;
  maxCgStepDecoding?: Count;
}

/** What `MesaNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface MesaNetConfiguration extends FlaConfiguration {
  /** Heads of queries, keys and values (`num_heads`, 16 by default). */
  readonly numHeads: number;
  /** Width of each (`head_dim`, 128 by default). */
  readonly headDim: number;
  /** Gates the output (`use_output_gate`, false by default). */
  readonly useGate: boolean;
  /** Least lambda of a channel (`lambda_lower_bound`, 0.25 by default). */
  readonly lambdaLowerBound: number;
  /** Tokens that the convolutions of q and k see (`conv_size`, 4 by default). */
  readonly convSize: number;
}

/**
 * The systems are solved exactly here: `max_cg_step_training` and `max_cg_step_decoding`, after which the published program
 * stops, change nothing. `use_short_conv` never reaches its layers, which always convolve.
 */
function readConfiguration(input: object): MesaNetConfiguration {
  const reader = ConfigurationReader.of(input, mesaNetFamily);
  return {
    ...readFla(reader, mesaNetFamily),
    numHeads: reader.size('num_heads', 16),
    headDim: reader.size('head_dim', 128),
    useGate: reader.flag('use_output_gate', false),
    lambdaLowerBound: reader.number('lambda_lower_bound', 0.25),
    convSize: reader.size('conv_size', 4),
  };
}

/** The lambda that new layers have, where the bound is not above it. */
const FIRST_LAMBDA = 1;

type Fit = {
  /** Sum of the outer products of the keys [B, numHeads, headDim, headDim]. */
  keyState: Tensor;
  /** Sum of the outer products of keys and values [B, numHeads, headDim, headDim]. */
  state: Tensor;
};
type MesaInputs = QkvInputs & { gate: Tensor; beta: Tensor; lambda: Tensor };

/**
 * Reads the regularised least squares fit of all values to all keys so far (von Oswald et al. 2025, "MesaNet: Sequence
 * Modeling by Locally Optimal Test-Time Training"): strengths sigmoid(b_proj x), log decays logsigmoid(a_proj x), lambda
 * softplus(lambda_params) + `lambdaLowerBound` of each channel, q and k of unit length.
 */
export class MesaNet extends MemoriesMixer<MesaInputs, Fit> {
  /** To the queries, weight [numHeads * headDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numHeads * headDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numHeads * headDim, hiddenSize], no bias. */
  v_proj: Linear;
  /** Over the queries, weight [numHeads * headDim, 1, convSize], with silu. */
  q_conv1d: ShortConvolution;
  /** Over the keys, weight [numHeads * headDim, 1, convSize], with silu. */
  k_conv1d: ShortConvolution;
  /** To the decay in front of its log-sigmoid, weight [numHeads, hiddenSize], with a bias. */
  a_proj: Linear;
  /** To the strength in front of its sigmoid, weight [numHeads, hiddenSize], with a bias. */
  b_proj: Linear;
  /** Of lambda in front of its softplus, [numHeads * headDim]; float32 also in a bfloat16 model. New lambdas are 1. */
  lambda_params: Tensor;
  /** To the gate of the output before its silu, weight [numHeads * headDim, hiddenSize]; null without `useGate`. */
  g_proj: Linear | null;
  /** Of each head's output, weight [headDim] for all heads; times silu of the gate with `useGate`. */
  o_norm: RMSNorm | GatedRMSNorm;
  /** From the heads to the output, weight [hiddenSize, numHeads * headDim], no bias. */
  o_proj: Linear;
  protected readonly rule = mesa;
  protected readonly shapes: { keyState: readonly number[]; state: readonly number[] };

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: MesaNetConfiguration,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, headDim, normEps, useGate, lambdaLowerBound, convSize } = config;
    const width = numHeads * headDim;
    const linear = (): Linear => new Linear(hiddenSize, width, { bias: false, ...options });
    this.shapes = { keyState: [numHeads, headDim, headDim], state: [numHeads, headDim, headDim] };
    this.q_proj = linear();
    this.k_proj = linear();
    this.v_proj = linear();
    this.q_conv1d = new ShortConvolution(width, convSize, options);
    this.k_conv1d = new ShortConvolution(width, convSize, options);
    this.a_proj = new Linear(hiddenSize, numHeads, options);
    this.b_proj = new Linear(hiddenSize, numHeads, options);
    const above = Math.max(FIRST_LAMBDA - lambdaLowerBound, 1e-3);
    this.lambda_params = parameter(full([width], Math.log(Math.expm1(above)), decayOptions(options)));
    this.g_proj = useGate ? linear() : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(headDim, { eps: normEps, ...options })
      : new RMSNorm(headDim, { eps: normEps, ...options });
    this.o_proj = new Linear(width, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d };
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['lambda_params'];
  }

  protected inputs(x: Tensor, past: Past): MesaInputs {
    const { numHeads, headDim, lambdaLowerBound } = this.config;
    const unit = (name: string, proj: Linear, conv: ShortConvolution): Tensor =>
      l2Norm(computable(splitHeads(past.convolve(name, conv, proj.forward(x)), numHeads)));
    return {
      q: unit('q', this.q_proj, this.q_conv1d),
      k: unit('k', this.k_proj, this.k_conv1d),
      v: splitHeads(this.v_proj.forward(x), numHeads),
      gate: toFloat32(this.a_proj.forward(x)).logSigmoid(),
      beta: toFloat32(this.b_proj.forward(x)).sigmoid(),
      lambda: toFloat32(this.lambda_params).softplus().add(lambdaLowerBound).reshape(numHeads, headDim),
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
 * Language model of `MesaNet` layers under the weight names of flash-linear-attention's MesaNetForCausalLM, `model_type`
 * 'mesa_net'; 24 layers of width 2048 with 16 heads of 128 by default. Its systems are solved exactly, in training, reading
 * and generating alike; where the published program stops earlier, logits differ by about 1e-3.
 */
export class MesaNetForCausalLM extends CausalLM<MesaNetConfiguration> {
  constructor(input: EitherSpelling<MesaNetKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new MesaNet(config, options), options), options);
  }
}

export const mesaNetFamily: ModelDefinition<MesaNetKeys, 'mesa-net'> = {
  modelType: 'mesa_net',
  name: 'mesa-net',
  architecture: 'MesaNetForCausalLM',
  description: 'MesaNet: the least squares fit of the whole past, solved for each query (von Oswald et al. 2025)',
  keys: {
    ...FLA_KEYS,
    ...CONVOLUTION_KEYS,
    numHeads: true,
    headDim: true,
    useOutputGate: 'flag',
    lambdaLowerBound: true,
    maxCgStepTraining: true,
    maxCgStepDecoding: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({ numHeads, headDim, intermediateSize: feedForward }),
  model: MesaNetForCausalLM,
};
