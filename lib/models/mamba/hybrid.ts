// What Bamba and Falcon-H1 share: the keys of a layer of Mamba-2 and of attention beside each other, and the decoder's names.
import type { OptionNames } from '../../core';
import { Embedding, RMSNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import type { AttentionShape } from '../common/attention';
import { type Block, Decoder } from '../common/block';
import type { Configuration, ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag, Name, RopeKeys } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { readRotation, type RotaryDefaults } from '../common/rotary';
import type { Mamba2Shape } from './mamba2Mixer';

/** Keys of both; T is their `model_type`. */
export interface HybridKeys<T extends string = string> extends CommonKeys<T> {
  intermediateSize?: Count;
  hiddenAct?: Name<'silu' | 'swish'>;
  rmsNormEps?: Count;
  mlpBias?: Flag;
  numAttentionHeads?: Count;
  numKeyValueHeads?: Count;
  headDim?: Count;
  attentionBias?: Flag;
  attentionDropout?: Count;
  ropeTheta?: Count;
  ropeParameters?: EitherSpelling<RopeKeys> | null;
  ropeScaling?: EitherSpelling<RopeKeys> | null;
  mambaNHeads?: Count;
  /** 'auto' and null: what the width inside a layer gives. */
  mambaDHead?: number | 'auto' | null;
  mambaDState?: Count;
  mambaNGroups?: Count;
  mambaDConv?: Count;
  mambaExpand?: Count;
  mambaConvBias?: Flag;
  mambaProjBias?: Flag;
  /** Least and largest step in time. */
  timeStepLimit?: readonly number[] | null;
  /** Changes nothing here: new dt_bias are 1. It is saved again. */
  timeStepMin?: Count;
  /** Changes nothing here: new dt_bias are 1. It is saved again. */
  timeStepMax?: Count;
  /** Changes nothing here: it sizes pieces of a kernel. It is saved again. */
  mambaChunkSize?: Count;
  /** Changes nothing here: logits are always returned. It is saved again. */
  numLogitsToKeep?: Count;
}

export const HYBRID_KEYS: OptionNames<Omit<HybridKeys, keyof CommonKeys>> = {
  intermediateSize: true,
  hiddenAct: true,
  rmsNormEps: true,
  mlpBias: 'flag',
  numAttentionHeads: true,
  numKeyValueHeads: true,
  headDim: true,
  attentionBias: 'flag',
  attentionDropout: true,
  ropeTheta: true,
  ropeParameters: true,
  ropeScaling: true,
  mambaNHeads: true,
  mambaDHead: true,
  mambaDState: true,
  mambaNGroups: true,
  mambaDConv: true,
  mambaExpand: true,
  mambaConvBias: 'flag',
  mambaProjBias: 'flag',
  timeStepLimit: true,
  timeStepMin: true,
  timeStepMax: true,
  mambaChunkSize: true,
  numLogitsToKeep: true,
};

/** What both read from their keys, with the defaults filled in. */
export interface HybridConfiguration extends Configuration {
  /** Rows of `gate_proj` and `up_proj` in the feed-forward of each block (`intermediate_size`, 14336 by default). */
  readonly intermediateSize: number;
  /** Added to the mean square in every norm (`rms_norm_eps`, 1e-5 by default). */
  readonly normEps: number;
  /** Whether the projections of the feed-forward have biases (`mlp_bias`, false by default). */
  readonly mlpBias: boolean;
  /** The same wherever there is attention. */
  readonly attention: AttentionShape;
  /** The same wherever there is a layer of Mamba-2. */
  readonly mamba: Mamba2Shape;
}

/** What is not the same in both. */
interface Differences {
  /** The width inside a layer of Mamba-2; expansion times hiddenSize by default. */
  inner: number | null;
  /** How queries and keys turn where the configuration does not say so. */
  rotary: RotaryDefaults;
  /** Whether the projection out of a layer of Mamba-2 has a bias. */
  outputBias: boolean;
  norm(eps: number, groups: number): Mamba2Shape['norm'];
}

/** Reads the keys that both have. */
export function readHybrid(
  reader: ConfigurationReader,
  family: ModelDefinition,
  { inner: given, rotary, outputBias, norm }: Differences,
): HybridConfiguration {
  const common = reader.common(family, { vocabSize: 128000, hiddenSize: 4096, numHiddenLayers: 32 });
  const { hiddenSize } = common;
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const numHeads = reader.size('num_attention_heads', 32);
  const numKvHeads = reader.keyValueHeads(numHeads, 8);
  const headDim = reader.optionalSize('head_dim') ?? reader.divides(hiddenSize, 'num_attention_heads', numHeads);
  const attentionBias = reader.flag('attention_bias', false);
  const normEps = reader.number('rms_norm_eps', 1e-5);
  const inner = given ?? reader.scaled('mamba_expand', hiddenSize * reader.expansion('mamba_expand', 2));
  const mambaHeads = reader.size('mamba_n_heads', 128);
  const mambaHeadDim = reader.divides(inner, 'mamba_n_heads', mambaHeads);
  reader.equals('mamba_d_head', reader.autoSize('mamba_d_head') ?? mambaHeadDim, mambaHeadDim);
  const numGroups = reader.size('mamba_n_groups', 1);
  reader.divides(mambaHeads, 'mamba_n_groups', numGroups);
  return {
    ...common,
    intermediateSize: reader.size('intermediate_size', 14336),
    normEps,
    mlpBias: reader.flag('mlp_bias', false),
    attention: {
      hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      qkvBias: attentionBias,
      outputBias: attentionBias,
      window: null,
      ...readRotation(reader, headDim, rotary),
    },
    mamba: {
      hiddenSize,
      numHeads: mambaHeads,
      headDim: mambaHeadDim,
      stateSize: reader.size('mamba_d_state', 256),
      numGroups,
      convSize: reader.size('mamba_d_conv', 4),
      convBias: reader.flag('mamba_conv_bias', true),
      inputBias: reader.flag('mamba_proj_bias', false),
      outputBias,
      timeStepLimit: reader.limits('time_step_limit', [0, Infinity]),
      skipPerValue: false,
      norm: norm(normEps, numGroups),
      newRates: null,
      newTimeSteps: null,
    },
  };
}

/** Embedding, blocks and final norm; `makeBlock` is called once for each layer. */
export class HybridDecoder extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embed_tokens: Embedding;
  /** From the embedding up. */
  layers: Block[];
  /** Behind the last block, weight [hiddenSize]. */
  final_layernorm: RMSNorm;

  constructor(
    { vocabSize, hiddenSize, numHiddenLayers, normEps }: HybridConfiguration,
    makeBlock: (layer: number) => Block,
    options: TensorOptions,
    embedding = new Embedding(vocabSize, hiddenSize, options),
  ) {
    super();
    this.embed_tokens = embedding;
    this.layers = Array.from({ length: numHiddenLayers }, (_, layer) => makeBlock(layer));
    this.final_layernorm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
  }

  get tokens(): Embedding {
    return this.embed_tokens;
  }

  get norm(): RMSNorm {
    return this.final_layernorm;
  }
}
