// YOCO: a lower half of fast-weight layers or attention over a window, and an upper one whose layers all attend to the keys and
// values of one place between, in the layout of flash-linear-attention (Sun et al. 2024).
import { argumentError, type OptionNames } from '../../core';
import { drawsWeights, init, Linear, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { Recurrent } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { rotaryFrequencies } from '../common/rotation';
import { GatedDeltaNet, type GatedDeltaNetSizes } from './gatedDeltaNet';
import { GatedRetention, type GatedRetentionShape } from './gatedRetention';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, readFla } from './skeleton';
import {
  CrossAttention,
  type CrossAttentionShape,
  SharedKeysAndValues,
  YocoDecoder,
  type YocoShape,
} from './yocoDecoder';

/** Angles per position of neighbouring coordinates: base^(-i / pairs), or with 'yoco' base^(-i / (pairs - 1)). */
type Angles = Name<'fla' | 'yoco'>;

/** The layers of the lower half, each kind with keys of its own. */
interface LowerKeys {
  /** 'gated_deltanet' by default. */
  type?: Name<'gated_deltanet' | 'gated_retention' | 'swa'>;
  /** 6 by default. */
  numHeads?: Count;
  /** Of 'gated_deltanet', and of 'swa' the heads of keys and values; numHeads by default. */
  numVHeads?: Count;
  /** Of 'gated_deltanet': width of a head's keys, 256 by default, and of its values over it, 2 by default. */
  headDim?: Count;
  expandV?: Count;
  useGate?: Flag;
  useShortConv?: Flag;
  convSize?: Count;
  allowNegEigval?: Flag;
  /** Of 'swa': tokens that one sees, itself among them; no default. */
  windowSize?: Count;
  qkvBias?: Flag;
  /** Of 'gated_retention' and 'swa', 10000 by default. */
  ropeTheta?: Count;
  /** Of 'gated_retention'. */
  ropeInvFreq?: Angles;
  /** Of 'gated_retention': what the logarithm of each decay is divided by, 16 by default. */
  gateLogitNormalizer?: Count;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  mode?: Name;
}

const LOWER_KEYS: OptionNames<LowerKeys> = {
  type: true,
  numHeads: true,
  numVHeads: true,
  headDim: true,
  expandV: true,
  useGate: 'flag',
  useShortConv: 'flag',
  convSize: true,
  allowNegEigval: 'flag',
  windowSize: true,
  qkvBias: 'flag',
  ropeTheta: true,
  ropeInvFreq: true,
  gateLogitNormalizer: true,
  mode: true,
};

/** The attention of the upper half. */
interface UpperKeys {
  /** 32 by default. */
  numHeads?: Count;
  numKvHeads?: Count;
  qkvBias?: Flag;
  qkNorm?: Flag;
  ropeTheta?: Count;
  ropeInvFreq?: Angles;
}

const UPPER_KEYS: OptionNames<UpperKeys> = {
  numHeads: true,
  numKvHeads: true,
  qkvBias: 'flag',
  qkNorm: 'flag',
  ropeTheta: true,
  ropeInvFreq: true,
};

export interface YocoKeys extends FlaKeys<'yoco'> {
  /** Layers of the lower half, numHiddenLayers at most; 10 by default. */
  numSelfDecoderLayers?: Count;
  selfDecoderAttn?: EitherSpelling<LowerKeys> | null;
  crossDecoderAttn?: EitherSpelling<UpperKeys> | null;
  /** null alone: the published program makes no other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
}

/** A kind of layer of the lower half, and what it is made of. */
type Lower =
  | { readonly type: 'gated_deltanet'; readonly shape: GatedDeltaNetSizes }
  | { readonly type: 'gated_retention'; readonly shape: GatedRetentionShape }
  | { readonly type: 'swa'; readonly shape: AttentionShape };

/** What `YOCOForCausalLM` reads from its keys, with the defaults filled in. */
export interface YocoConfiguration extends YocoShape {
  /** All layers of the lower half (`self_decoder_attn`). */
  readonly lower: Lower;
}

function readFrequencies(reader: ConfigurationReader, headDim: number): number[] {
  const base = reader.positive('rope_theta', 10000);
  if (headDim % 2 !== 0) {
    const expected = 'heads of an even width, which rotary positions turn in pairs';
    throw argumentError('INVALID_ARGUMENT', 'yoco', 'num_heads', expected, `heads of width ${headDim}`);
  }
  if (reader.choice('rope_inv_freq', 'fla', ['fla', 'yoco']) === 'fla') return rotaryFrequencies(base, headDim);
  const last = Math.max(1, headDim / 2 - 1);
  return Array.from({ length: headDim / 2 }, (_, i) => base ** (-i / last));
}

function readLower(reader: ConfigurationReader, { hiddenSize, normEps }: FlaConfiguration): Lower {
  const kinds = ['gated_deltanet', 'gated_retention', 'swa'] as const;
  const type = reader.choice('type', 'gated_deltanet', kinds);
  const numHeads = reader.size('num_heads', 6);
  const valueHeads = reader.size('num_v_heads', numHeads);
  if (type === 'gated_deltanet') {
    reader.divides(valueHeads, 'num_heads', numHeads);
    const keyDim = reader.size('head_dim', 256);
    const shape = {
      hiddenSize,
      normEps,
      numHeads,
      numValueHeads: valueHeads,
      keyDim,
      valueDim: reader.scaled('expand_v', keyDim * reader.number('expand_v', 2)),
      allowNegEigval: reader.flag('allow_neg_eigval', false),
      convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
      useGate: reader.flag('use_gate', true),
    };
    return { type, shape };
  }
  const headDim = reader.divides(hiddenSize, 'num_heads', numHeads);
  if (type === 'gated_retention') {
    const gateNormalizer = reader.positive('gate_logit_normalizer', 16);
    return {
      type,
      shape: { hiddenSize, normEps, numHeads, frequencies: readFrequencies(reader, headDim), gateNormalizer },
    };
  }
  reader.divides(numHeads, 'num_v_heads', valueHeads);
  const shape = {
    hiddenSize,
    numHeads,
    numKvHeads: valueHeads,
    headDim,
    qkvBias: reader.flag('qkv_bias', false),
    outputBias: false,
    window: reader.size('window_size'),
    frequencies: rotaryFrequencies(reader.positive('rope_theta', 10000), 2 * Math.floor(headDim / 2)),
  };
  return { type, shape };
}

function readCross(reader: ConfigurationReader, hiddenSize: number): CrossAttentionShape {
  const numHeads = reader.size('num_heads', 32);
  const headDim = reader.divides(hiddenSize, 'num_heads', numHeads);
  const numKvHeads = reader.size('num_kv_heads', numHeads);
  reader.divides(numHeads, 'num_kv_heads', numKvHeads);
  return {
    numHeads,
    numKvHeads,
    qkvBias: reader.flag('qkv_bias', false),
    qkNorm: reader.flag('qk_norm', false),
    frequencies: readFrequencies(reader, headDim),
  };
}

function readConfiguration(input: object): YocoConfiguration {
  const reader = ConfigurationReader.of(input, yocoFamily);
  reader.supported('attn', null, [null]);
  const base = readFla(reader, yocoFamily, 4, 21);
  const section = (key: string, known: object): ConfigurationReader =>
    reader.section(key, known) ?? new ConfigurationReader({}, `yoco: ${key}`, known);
  return {
    ...base,
    numSelfLayers: reader.size('num_self_decoder_layers', 10, base.numHiddenLayers),
    lower: readLower(section('self_decoder_attn', LOWER_KEYS), base),
    cross: readCross(section('cross_decoder_attn', UPPER_KEYS), base.hiddenSize),
  };
}

function makeLower({ type, shape }: Lower, options: TensorOptions): Recurrent {
  if (type === 'gated_deltanet') return new GatedDeltaNet(shape, options);
  return type === 'swa' ? new Attention(shape, options) : new GatedRetention(shape, options);
}

/**
 * Language model under the weight names of flash-linear-attention's YOCOForCausalLM, `model_type` 'yoco': 10 layers of
 * `GatedDeltaNet` of width 2048 and 11 of attention above them by default, which keep the keys and values of one layer.
 */
export class YOCOForCausalLM extends CausalLM<YocoConfiguration> {
  constructor(input: EitherSpelling<YocoKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const decoder = new YocoDecoder(config, () => makeLower(config.lower, options), options);
    super(config, decoder, options);
    if (!drawsWeights()) return;
    init.normal_(decoder.embeddings.weight, 0, config.hiddenSize ** -0.5);
    for (const [, module] of decoder.namedModules()) {
      const plain =
        module instanceof SwiGLU || module instanceof SharedKeysAndValues || module instanceof CrossAttention;
      if (!plain && !(module instanceof GatedRetention)) continue;
      for (const [name, part] of module.namedModules()) {
        if (!(part instanceof Linear)) continue;
        if (plain) initializeResidual(part, 1);
        else init.xavierUniform_(part.weight, name === 'o_proj' ? 0.5 : 2 ** -2.5);
      }
    }
  }
}

export const yocoFamily: ModelDefinition<YocoKeys, 'yoco'> = {
  modelType: 'yoco',
  name: 'yoco',
  architecture: 'YOCOForCausalLM',
  description: 'YOCO: fast weights below, softmax attention to one set of keys and values above (Sun et al. 2024)',
  heads: true,
  keys: { ...FLA_KEYS, numSelfDecoderLayers: true, selfDecoderAttn: true, crossDecoderAttn: true },
  configuration: ({ numLayers, numHeads, headDim, feedForward }) => ({
    numSelfDecoderLayers: Math.ceil(numLayers / 2),
    selfDecoderAttn: { numHeads, headDim, expandV: 1 },
    crossDecoderAttn: { numHeads },
    intermediateSize: feedForward,
  }),
  model: YOCOForCausalLM,
};
