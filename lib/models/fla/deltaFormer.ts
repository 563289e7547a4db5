// DeltaFormer, layer and language model, in the layout of flash-linear-attention (Xu et al. 2025).
import { argumentError, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { deltaFormer } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { MemoriesRule, QkvInputs } from '../common/memoriesMixer';
import type { ModelDefinition } from '../common/registry';
import type { Past } from '../common/ruleMixer';
import { type Growing, GrowingAttention } from './growingAttention';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, QK_NORM_EPS, readFla } from './skeleton';

/** Options of `DeltaFormerAttention`, those that a tensor is made with among them. */
export interface DeltaFormerAttentionOptions extends TensorOptions {
  /** Whether the projections to q, k and v have biases, false by default. */
  qkvBias?: boolean;
  /** Whether q and k of each head have an RMS norm, false by default. */
  qkNorm?: boolean;
  /** Base of the rotary frequencies, 10000 by default. */
  ropeTheta?: number;
}

const OPTIONS: OptionNames<DeltaFormerAttentionOptions> = {
  ...TENSOR_OPTIONS,
  qkvBias: 'flag',
  qkNorm: 'flag',
  ropeTheta: true,
};

type DeltaFormerInputs = QkvInputs & { beta: Tensor };

/**
 * `deltaFormer` with rotary positions on q and k and beta = b_proj x, as it is (Xu et al. 2025, "Understanding Transformer from
 * the Perspective of Associative Memory").
 */
export class DeltaFormerAttention extends GrowingAttention<DeltaFormerInputs, Growing> {
  /** To the strengths, weight [numHeads, hidden] and a bias. */
  b_proj: Linear;
  /** Of each head's queries, weight [D]; null without `qkNorm`. */
  q_norm: RMSNorm | null;
  /** Of each head's keys, weight [D]; null without `qkNorm`. */
  k_norm: RMSNorm | null;
  protected readonly rule = deltaFormer as unknown as MemoriesRule<DeltaFormerInputs, Growing>;
  private readonly ropeTheta: number;

  constructor(hiddenSize: number, numHeads: number, options: DeltaFormerAttentionOptions = {}) {
    const where = 'DeltaFormerAttention';
    checkOptions(where, options, OPTIONS);
    const { qkvBias = false, qkNorm = false, ropeTheta = 10000, ...on } = options;
    super(hiddenSize, numHeads, numHeads, on, qkvBias);
    const width = hiddenSize / numHeads;
    if (width % 2 !== 0) {
      const expected = 'heads of an even width, which rotary positions turn in pairs';
      throw argumentError('INVALID_ARGUMENT', where, 'numHeads', expected, `${numHeads} of width ${width}`);
    }
    this.ropeTheta = checkNumber(where, 'ropeTheta', ropeTheta, Number.MIN_VALUE);
    this.b_proj = new Linear(hiddenSize, numHeads, on);
    this.q_norm = qkNorm ? new RMSNorm(width, { eps: QK_NORM_EPS, ...on }) : null;
    this.k_norm = qkNorm ? new RMSNorm(width, { eps: QK_NORM_EPS, ...on }) : null;
  }

  protected get shapes(): { keys: readonly number[]; values: readonly number[] } {
    return this.empty;
  }

  protected inputs(x: Tensor, past: Past): DeltaFormerInputs {
    const { q, k, v } = this.qkv(x);
    const turn = (norm: RMSNorm | null, y: Tensor): Tensor =>
      past.rotate(norm?.forward(y) ?? y, { base: this.ropeTheta });
    return { q: turn(this.q_norm, q), k: turn(this.k_norm, k), v, beta: toFloat32(this.b_proj.forward(x)) };
  }
}

export interface DeltaFormerKeys extends FlaKeys<'deltaformer'> {
  /** 8 by default. */
  numHeads?: Count;
  /** As many as numHeads, and nothing else: the published kernels take no other, so that it is UNSUPPORTED. */
  numKvHeads?: Count;
  /** Whether the projections to q, k and v have biases, false by default. */
  qkvBias?: Flag;
  /** Whether q and k of each head have an RMS norm, false by default. */
  qkNorm?: Flag;
  /** Base of the rotary frequencies, 10000 by default. */
  ropeTheta?: Count;
  /** null alone: the published program makes no other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
  /** Changes nothing here: no length of a text is refused. It is saved again. */
  ropeMaxPositionEmbeddings?: Count;
}

/** What `DeltaFormerForCausalLM` reads from its keys, with the defaults filled in. */
export interface DeltaFormerConfiguration extends FlaConfiguration {
  /** A divisor of hiddenSize, which leaves heads of an even width (`num_heads`, 8 by default). */
  readonly numHeads: number;
  /** Whether the projections to q, k and v have biases (`qkv_bias`, false by default). */
  readonly qkvBias: boolean;
  /** Whether q and k of each head have an RMS norm (`qk_norm`, false by default). */
  readonly qkNorm: boolean;
  /** Base of the rotary frequencies (`rope_theta`, 10000 by default). */
  readonly ropeTheta: number;
}

function readConfiguration(input: object): DeltaFormerConfiguration {
  const reader = ConfigurationReader.of(input, deltaFormerFamily);
  reader.supported('attn', null, [null]);
  const base = readFla(reader, deltaFormerFamily);
  const numHeads = reader.size('num_heads', 8);
  reader.divides(base.hiddenSize, 'num_heads', numHeads);
  reader.supported('num_kv_heads', numHeads, [numHeads]);
  return {
    ...base,
    numHeads,
    qkvBias: reader.flag('qkv_bias', false),
    qkNorm: reader.flag('qk_norm', false),
    ropeTheta: reader.positive('rope_theta', 10000),
  };
}

/**
 * Language model of `DeltaFormerAttention` layers under the weight names of flash-linear-attention's DeltaFormerForCausalLM,
 * `model_type` 'deltaformer'; 24 layers of width 2048 with 8 heads by default. Its states grow with the text.
 */
export class DeltaFormerForCausalLM extends CausalLM<DeltaFormerConfiguration> {
  constructor(input: EitherSpelling<DeltaFormerKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, qkvBias, qkNorm, ropeTheta } = config;
    const own = { qkvBias, qkNorm, ropeTheta, ...options };
    super(config, new FlaDecoder(config, () => new DeltaFormerAttention(hiddenSize, numHeads, own), options), options);
  }
}

export const deltaFormerFamily: ModelDefinition<DeltaFormerKeys, 'deltaformer'> = {
  modelType: 'deltaformer',
  name: 'deltaformer',
  architecture: 'DeltaFormerForCausalLM',
  description: 'DeltaFormer: softmax attention over values that the delta rule corrects (Xu et al. 2025)',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    numKvHeads: true,
    qkvBias: 'flag',
    qkNorm: 'flag',
    ropeTheta: true,
    ropeMaxPositionEmbeddings: true,
  },
  configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward, qkNorm: true }),
  model: DeltaFormerForCausalLM,
};
