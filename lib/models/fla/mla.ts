// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2") as a language model, in the layout of flash-linear-attention.
import { argumentError, type Tensor } from '../../core';
import { Linear, RMSNorm, Sequential } from '../../nn';
import { cat, rope, split, type TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling } from '../common/keys';
import { type LatentAttentionShape, LatentMixer } from '../common/latentMixer';
import { splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import type { Place } from '../common/rotation';
import { checkPairs, positive } from '../common/shapeChecks';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

/** Of the norms of narrow vectors: `norm_eps` never reaches them in the published program. */
const LATENT_NORM_EPS = 1e-5;

/** Sizes of a layer of `MultiheadLatentAttention`. */
export interface MultiheadLatentAttentionShape extends LatentAttentionShape {
  /** Base of the rotary frequencies of the shared part of a key, and of what meets it of a query. */
  ropeTheta: number;
}

/** `LatentMixer` whose queries may come from a narrow vector, too, and which turns the part of the keys that all heads share. */
export class MultiheadLatentAttention extends LatentMixer {
  /** To the queries; with `queryRank` a projection, an RMS norm and a projection. */
  q_proj: Linear | Sequential;
  /** To the part of the key that all heads share, weight [sharedDim, hiddenSize]. */
  k_rope: Linear;
  /** To the latent vector, its RMS norm, and from it to each head's own part of its key, and its value. */
  kv_proj: [Linear, RMSNorm, Linear];
  /** From the heads, one after the other, to the output: weight [hiddenSize, numHeads * valueDim]. */
  o_proj: Linear;

  constructor(
    override readonly shape: MultiheadLatentAttentionShape,
    options: TensorOptions = {},
  ) {
    super(shape, { ropeTheta: positive });
    const { hiddenSize, numHeads, rank, queryRank = null, ownDim, sharedDim, valueDim } = shape;
    checkPairs(new.target.name, 'sharedDim', sharedDim);
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    const through = (width: number, last: Linear): [Linear, RMSNorm, Linear] => [
      linear(hiddenSize, width),
      new RMSNorm(width, { eps: LATENT_NORM_EPS, ...options }),
      last,
    ];
    const queries = numHeads * (ownDim + sharedDim);
    this.q_proj =
      queryRank === null
        ? linear(hiddenSize, queries)
        : new Sequential(...through(queryRank, linear(queryRank, queries)));
    this.k_rope = linear(hiddenSize, sharedDim);
    this.kv_proj = through(rank, linear(rank, numHeads * (ownDim + valueDim)).keepWhole());
    this.o_proj = linear(numHeads * valueDim, hiddenSize);
  }

  protected queries(x: Tensor, at: Place): Tensor {
    const { numHeads, ownDim, sharedDim, ropeTheta: base } = this.shape;
    const [own, shared] = split(splitHeads(this.q_proj.forward(x), numHeads), [ownDim, sharedDim], -1);
    return cat([own, rope(shared, { ...at, base })], -1);
  }

  protected latents(x: Tensor, at: Place): [Tensor, Tensor] {
    const [down, norm] = this.kv_proj;
    const latent = norm.forward(down.forward(x));
    const shared = rope(this.k_rope.forward(x).unsqueeze(2), { ...at, base: this.shape.ropeTheta });
    return [latent, shared.squeeze(2)];
  }

  protected get expansion(): Linear {
    return this.kv_proj[2];
  }
}

export interface MlaKeys extends FlaKeys<'mla'> {
  /** 16 by default. */
  numHeads?: Count;
  /** Width between x and the queries, 64 by default; none where it is null. */
  qLoraRank?: Count;
  /** Width of the vector that keys and values are made of, 512 by default. */
  kvLoraRank?: Count;
  /** Width of the part of a key that turns and that all heads share, even; 64 by default. */
  qkRopeHeadDim?: Count;
  /** Width of the part of a key that each head has for itself, 128 by default. */
  qkNopeHeadDim?: Count;
  /** Both parts together, 192 by default, or null for what they give. */
  qkHeadDim?: Count;
  /** Width of a head's values, 128 by default. */
  vHeadDim?: Count;
  /** Tokens that one sees, itself included; itself and all before it by default. */
  windowSize?: Count;
  /** Base of the rotary frequencies, 10000 by default. */
  ropeTheta?: Count;
  /** null alone: the published program reads others and computes without them, so that they are UNSUPPORTED. */
  ropeScaling?: null;
  /** null alone: the published program has no other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
}

/** What `MLAForCausalLM` reads from its keys, with the defaults filled in. */
export interface MlaConfiguration extends FlaConfiguration {
  /** The same in every layer. */
  readonly latent: MultiheadLatentAttentionShape;
}

function readConfiguration(input: object): MlaConfiguration {
  const reader = ConfigurationReader.of(input, mlaFamily);
  reader.supported('attn', null, [null]);
  reader.supported('rope_scaling', null, [null]);
  const base = readFla(reader, mlaFamily);
  const ownDim = reader.size('qk_nope_head_dim', 128);
  const sharedDim = reader.size('qk_rope_head_dim', 64);
  if (sharedDim % 2 !== 0) {
    const expected = 'an even number, since rotary positions turn pairs';
    throw argumentError('INVALID_ARGUMENT', base.modelType, 'qk_rope_head_dim', expected, String(sharedDim));
  }
  const { qk_head_dim: whole } = reader.source;
  if (whole !== null) reader.equals('qk_head_dim', reader.size('qk_head_dim', 192), ownDim + sharedDim);
  return {
    ...base,
    latent: {
      hiddenSize: base.hiddenSize,
      numHeads: reader.size('num_heads', 16),
      rank: reader.size('kv_lora_rank', 512),
      queryRank: reader.source.q_lora_rank === null ? null : reader.size('q_lora_rank', 64),
      ownDim,
      sharedDim,
      valueDim: reader.size('v_head_dim', 128),
      window: reader.optionalSize('window_size'),
      ropeTheta: reader.positive('rope_theta', 10000),
    },
  };
}

/**
 * Language model of `MultiheadLatentAttention` layers under the weight names of flash-linear-attention's MLAForCausalLM,
 * `model_type` 'mla'; 24 layers of width 2048 with 16 heads by default. Its states grow with the text, by one vector per token
 * for all heads.
 */
export class MLAForCausalLM extends CausalLM<MlaConfiguration> {
  constructor(input: EitherSpelling<MlaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new MultiheadLatentAttention(config.latent, options), options), options);
  }
}

export const mlaFamily: ModelDefinition<MlaKeys, 'mla'> = {
  modelType: 'mla',
  name: 'mla',
  architecture: 'MLAForCausalLM',
  description: 'latent attention: keys and values of all heads from one narrow vector per token (DeepSeek-AI 2024)',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    qLoraRank: true,
    kvLoraRank: true,
    qkRopeHeadDim: true,
    qkNopeHeadDim: true,
    qkHeadDim: true,
    vHeadDim: true,
    windowSize: true,
    ropeTheta: true,
    ropeScaling: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    qLoraRank: 4 * headDim,
    kvLoraRank: 4 * headDim,
    qkNopeHeadDim: headDim,
    qkRopeHeadDim: 2 * Math.ceil(headDim / 4),
    qkHeadDim: null,
    vHeadDim: headDim,
    intermediateSize: feedForward,
  }),
  model: MLAForCausalLM,
};
