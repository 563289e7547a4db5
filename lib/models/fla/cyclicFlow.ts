// CyFA: attention to slots of relative time, through which a learned clock carries what was written, in the layout of
// flash-linear-attention (2026).
import { argumentError, describe, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear, parameter, RMSNorm, ShortConvolution } from '../../nn';
import { eye, gatedDeltaNetGate, type TensorOptions, toFloat32 } from '../../ops';
import { cyclicFlowAttention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { logUniform, timeStepBias } from '../common/initialize';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import { mergeHeads, type Placed, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import type { Past } from '../common/ruleMixer';
import { checkShapeOf, flag, notNegative, orNull, type ShapeChecks, size } from '../common/shapeChecks';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface CyclicFlowKeys extends FlaKeys<'cyclic_flow_attention'>, ConvolutionKeys {
  numHeads?: Count;
  headDim?: Count;
  expandK?: Count;
  expandV?: Count;
  convBias?: Flag;
  /** An even number, one more than there are slots; 128 by default. */
  numSlots?: Count;
  /** null alone: the published program makes no other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
  /** Changes nothing here: the backward pass computes again what `gradientCheckpointing` says. It is saved again. */
  checkpointLevel?: Count;
}

/** What a layer is made of. */
export interface CyclicFlowShape {
  /** Width of x. */
  readonly hiddenSize: number;
  /** Of queries, keys and values (`num_heads`, 8 by default). */
  readonly numHeads: number;
  /** Width of a head's keys (`head_dim`, 256 by default, times `expand_k`, 1 by default). */
  readonly keyDim: number;
  /** Width of a head's values (`head_dim` times `expand_v`, 1 by default). */
  readonly valueDim: number;
  /** R, an odd number (`num_slots` less 1, 127 by default). */
  readonly numSlots: number;
  /** Tokens that the convolutions of q, k and v see, 4 by default; none when null. */
  readonly convSize: number | null;
  /** Whether they have biases (`conv_bias`, false by default). */
  readonly convBias: boolean;
  /** Added to the mean square in the norms of queries, keys and the output. */
  readonly normEps: number;
}

const SHAPE: ShapeChecks<CyclicFlowShape> = {
  hiddenSize: size,
  numHeads: size,
  keyDim: size,
  valueDim: size,
  numSlots: size,
  convSize: orNull(size),
  convBias: flag,
  normEps: notNegative,
};

/** What `CyclicFlowAttentionForCausalLM` reads from its keys, with the defaults filled in. */
export interface CyclicFlowConfiguration extends FlaConfiguration, CyclicFlowShape {}

function readConfiguration(input: object): CyclicFlowConfiguration {
  const reader = ConfigurationReader.of(input, cyclicFlowFamily);
  reader.supported('attn', null, [null]);
  const base = readFla(reader, cyclicFlowFamily);
  const headDim = reader.size('head_dim', 256);
  const numSlots = reader.size('num_slots', 128);
  if (numSlots % 2 !== 0) {
    throw argumentError('INVALID_ARGUMENT', base.modelType, 'num_slots', 'an even number', String(numSlots));
  }
  return {
    ...base,
    numHeads: reader.size('num_heads', 8),
    keyDim: reader.scaled('expand_k', headDim * reader.number('expand_k', 1)),
    valueDim: reader.scaled('expand_v', headDim * reader.number('expand_v', 1)),
    numSlots: numSlots - 1,
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
    convBias: reader.flag('conv_bias', false),
  };
}

/** Keys [B, H, K, R] and values [B, H, R, V] of the slots, and the clock [B, H]. */
type Slots = { keyState: Tensor; valueState: Tensor; clock: Tensor };
type Inputs = QkvInputs & { gate: Tensor; beta: Tensor; delta: Tensor; readout: Tensor };

/**
 * `cyclicFlowAttention` ("CyFA", arXiv 2609.36259): q and k behind convolutions without an activation and a norm, log decay
 * -exp(A_log) softplus(a_proj x + dt_bias), beta = sigmoid(b_proj x), the clock goes on by sigmoid(d_proj x), from which no
 * gradient reaches x. A norm of each head's output times the number of slots; its gate is a sigmoid.
 */
export class CyclicFlowAttention extends MemoriesMixer<Inputs, Slots> {
  /** Queries, weight [H K, hiddenSize], no bias. */
  q_proj: Linear;
  /** Keys, weight [H K, hiddenSize], no bias. */
  k_proj: Linear;
  /** Values, weight [H V, hiddenSize], no bias. */
  v_proj: Linear;
  /** Over the queries, weight [H K, 1, convSize]; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [H K, 1, convSize]; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [H V, 1, convSize]; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** To the decays, weight [H, hiddenSize], no bias. */
  a_proj: Linear;
  /** To the strengths, weight [H, hiddenSize] and a bias. */
  b_proj: Linear;
  /** To the steps of the clock, weight [H, hiddenSize] and a bias. */
  d_proj: Linear;
  /** Log of each head's rate of decay [H]; float32 also in a bfloat16 model. New rates are uniform in (0.001, 16). */
  A_log: Tensor;
  /** In front of the softplus of the decays [H], likewise. New time steps softplus(dt_bias) are log-uniform in (0.001, 0.1). */
  dt_bias: Tensor;
  /** From the slots to the scores that are weighed, and back [H, R, R], `readout` among the weights; the identity at first. */
  table: Tensor;
  /** Of each head's queries, weight [K]. */
  q_norm: RMSNorm;
  /** Of each head's keys, weight [K]. */
  k_norm: RMSNorm;
  /** To the gate of the output through rank V: weights [V, hiddenSize] and, with a bias, [H V, V]. */
  g_proj: [Linear, Linear];
  /** Of each head's output, times sigmoid of the gate; weight [V] for all heads. */
  o_norm: GatedRMSNorm;
  /** To the output, weight [hiddenSize, H V], no bias. */
  o_proj: Linear;
  protected readonly rule = cyclicFlowAttention as unknown as MemoriesRule<Inputs, Slots>;
  protected readonly shapes: { [N in keyof Slots]: readonly number[] };

  constructor(
    /** What the layer was made with. */
    readonly shape: CyclicFlowShape,
    options: TensorOptions = {},
  ) {
    super();
    checkShapeOf(new.target.name, 'shape', shape, SHAPE);
    const { hiddenSize, numHeads, keyDim, valueDim, numSlots, convSize, convBias, normEps: eps } = shape;
    if (numSlots % 2 === 0) {
      throw argumentError('INVALID_ARGUMENT', new.target.name, 'numSlots', 'an odd number', describe(numSlots));
    }
    const [keys, values] = [numHeads * keyDim, numHeads * valueDim];
    const linear = (to: number, from = hiddenSize): Linear => new Linear(from, to, { bias: false, ...options });
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, { bias: convBias, activation: null, ...options });
    this.shapes = {
      keyState: [numHeads, keyDim, numSlots],
      valueState: [numHeads, numSlots, valueDim],
      clock: [numHeads],
    };
    this.q_proj = linear(keys);
    this.k_proj = linear(keys);
    this.v_proj = linear(values);
    this.q_conv1d = conv(keys);
    this.k_conv1d = conv(keys);
    this.v_conv1d = conv(values);
    this.a_proj = linear(numHeads);
    this.b_proj = new Linear(hiddenSize, numHeads, options);
    this.d_proj = new Linear(hiddenSize, numHeads, options);
    this.A_log = logUniform(numHeads, 0, 16, options);
    this.dt_bias = timeStepBias(numHeads, options);
    this.table = parameter(noGrad(() => eye(numSlots, options).expand([numHeads, numSlots, numSlots]).contiguous()));
    this.q_norm = new RMSNorm(keyDim, { eps, ...options });
    this.k_norm = new RMSNorm(keyDim, { eps, ...options });
    this.g_proj = [linear(valueDim), new Linear(valueDim, values, options)];
    this.o_norm = new GatedRMSNorm(valueDim, { eps, activation: 'sigmoid', ...options });
    this.o_proj = linear(hiddenSize, values);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected inputs(x: Tensor, past: Past): Inputs {
    const part = (name: string, proj: Linear, conv: ShortConvolution | null): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), this.shape.numHeads);
    return {
      q: this.q_norm.forward(part('q', this.q_proj, this.q_conv1d)),
      k: this.k_norm.forward(part('k', this.k_proj, this.k_conv1d)),
      v: part('v', this.v_proj, this.v_conv1d),
      gate: gatedDeltaNetGate(this.a_proj.forward(x), this.A_log, this.dt_bias),
      beta: toFloat32(this.b_proj.forward(x)).sigmoid(),
      delta: toFloat32(this.d_proj.forward(x.detach())).sigmoid(),
      readout: toFloat32(this.table),
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const { numHeads, numSlots } = this.shape;
    const [down, up] = this.g_proj;
    const gate = splitHeads(up.forward(down.forward(x)), numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output.mul(numSlots), gate)));
  }

  /** The method of the name is no weight. */
  protected override *memberProperties(): Generator<[string, unknown]> {
    for (const [key, value] of super.memberProperties()) yield [key === 'table' ? 'readout' : key, value];
  }
}

/**
 * Language model of `CyclicFlowAttention` layers under the weight names of flash-linear-attention's
 * CyclicFlowAttentionForCausalLM, `model_type` 'cyclic_flow_attention'; 24 layers of width 2048 with 8 heads of 256 and 127 slots
 * by default.
 */
export class CyclicFlowAttentionForCausalLM extends CausalLM<CyclicFlowConfiguration> {
  constructor(input: EitherSpelling<CyclicFlowKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new CyclicFlowAttention(config, options), options), options);
  }
}

export const cyclicFlowFamily: ModelDefinition<CyclicFlowKeys, 'cyfa'> = {
  modelType: 'cyclic_flow_attention',
  name: 'cyfa',
  architecture: 'CyclicFlowAttentionForCausalLM',
  description: 'CyFA: attention to slots of relative time, through which a learned clock moves the past (2026)',
  keys: {
    ...FLA_KEYS,
    ...CONVOLUTION_KEYS,
    numHeads: true,
    headDim: true,
    expandK: true,
    expandV: true,
    convBias: 'flag',
    numSlots: true,
    checkpointLevel: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    numSlots: 2 * Math.ceil(headDim / 2),
    intermediateSize: feedForward,
  }),
  model: CyclicFlowAttentionForCausalLM,
};
