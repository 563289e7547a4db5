// What the hybrids of transformers have in common: layers of softmax attention among those with a fast-weight memory, and how
// a configuration says which is which.
import type { OptionNames } from '../../core';
import type { AttentionShape, QueryKeyNorm } from '../common/attention';
import type { Configuration, ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag, Name, RopeKeys } from '../common/keys';
import type { Rotation } from '../common/rotation';

/** The two kinds of layers. */
const LAYER_TYPES = ['linear_attention', 'full_attention'] as const;

/** 'linear_attention' is the layer with a fast-weight memory, whatever its rule. */
export type LayerType = (typeof LAYER_TYPES)[number];

/** Keys that all of them have. */
export interface HybridKeys<T extends string = string> extends CommonKeys<T> {
  /** The kind of each layer; by default as the family says. */
  layerTypes?: readonly LayerType[] | null;
  /** Width of the feed-forward of layers without experts, in MiniMax that of each expert. */
  intermediateSize?: Count;
  /** Two names of one function. */
  hiddenAct?: Name<'swish' | 'silu'>;
  /** Added to the mean square in the RMSNorms. */
  rmsNormEps?: Count;
  /** Query heads of the attention layers. */
  numAttentionHeads?: Count;
  /** Key and value heads of the attention layers, a divisor of their query heads. */
  numKeyValueHeads?: Count;
  /** Width of a head in the attention layers; by default the hidden size over the heads, in Qwen 256. */
  headDim?: Count;
  /** Biases of the attention layers' projections, false by default. */
  attentionBias?: Flag;
  /** Rotary positions of the attention layers, as transformers 5 writes them. */
  ropeParameters?: EitherSpelling<RopeKeys> | null;
  /** The base of the rotary angles, as published files have it. */
  ropeTheta?: Count;
  /** Scaling of the rotary angles, as published files have it. */
  ropeScaling?: EitherSpelling<RopeKeys> | null;
  /** The share of a head that turns, as published files have it. */
  partialRotaryFactor?: Count;
  /** 0 alone: another value is UNSUPPORTED. */
  attentionDropout?: Count;
}

export const HYBRID_KEYS: OptionNames<Omit<HybridKeys, keyof CommonKeys>> = {
  layerTypes: true,
  intermediateSize: true,
  hiddenAct: true,
  rmsNormEps: true,
  numAttentionHeads: true,
  numKeyValueHeads: true,
  headDim: true,
  attentionBias: 'flag',
  ropeParameters: true,
  ropeTheta: true,
  ropeScaling: true,
  partialRotaryFactor: true,
  attentionDropout: true,
};

/** What their configurations have in common. */
export interface HybridConfiguration extends Configuration {
  /** Of each layer. */
  readonly layerTypes: readonly LayerType[];
  /** Width of the feed-forward without experts. */
  readonly intermediateSize: number;
  /** Added to the mean square in every RMSNorm, unless a layer says otherwise. */
  readonly rmsNormEps: number;
}

/** `layer_types`, or where it is not given what `kind` says of each layer, counted from 0. */
export function readLayerTypes(
  reader: ConfigurationReader,
  layers: number,
  kind: (layer: number) => LayerType,
): readonly LayerType[] {
  const given = reader.choices('layer_types', LAYER_TYPES);
  return given ? reader.perLayer('layer_types', given, layers) : Array.from({ length: layers }, (_, i) => kind(i));
}

/** Every n-th layer is softmax attention. */
export const everyNth =
  (n: number) =>
  (layer: number): LayerType =>
    (layer + 1) % n === 0 ? 'full_attention' : 'linear_attention';

/** Sizes of the attention layers where the configuration leaves them open; a null is derived from the others. */
export interface AttentionDefaults {
  numHeads: number;
  numKvHeads: number | null;
  headDim: number | null;
}

/** The attention layers of a configuration. */
export function readAttentionShape(
  reader: ConfigurationReader,
  hiddenSize: number,
  defaults: AttentionDefaults,
  parts: { rotation: (headDim: number) => Rotation; qkNorm?: QueryKeyNorm; outputGate?: boolean },
): AttentionShape {
  const numHeads = reader.size('num_attention_heads', defaults.numHeads);
  const numKvHeads = reader.keyValueHeads(numHeads, defaults.numKvHeads ?? numHeads);
  const given = reader.optionalSize('head_dim') ?? defaults.headDim;
  const headDim = given ?? reader.divides(hiddenSize, 'num_attention_heads', numHeads);
  const bias = reader.flag('attention_bias', false);
  return {
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    qkvBias: bias,
    outputBias: bias,
    window: null,
    ...parts.rotation(headDim),
    qkNorm: parts.qkNorm ?? null,
    outputGate: parts.outputGate ?? false,
  };
}
