// The keys of every family's configuration, as programs write them: in camelCase here, and as in config.json. A key of
// the published programs that changes nothing here is known, too, so that their configurations can be given as they are.
import type { OptionNames } from '../core';

/** null means "derive it", as a missing key does. */
type Count = number | null;
type Flag = boolean | null;
type Name<T extends string = string> = T | null;

export interface CommonKeys<T extends string = string> {
  modelType?: T;
  vocabSize?: Count;
  hiddenSize?: Count;
  numHiddenLayers?: Count;
  initializerRange?: Count;
  tieWordEmbeddings?: Flag;
  eosTokenId?: number | readonly number[] | null;
  bosTokenId?: Count;
  padTokenId?: Count;
  maxPositionEmbeddings?: Count;
  useCache?: Flag;
  architectures?: readonly string[] | null;
  dtype?: Name;
  torchDtype?: Name;
  transformersVersion?: Name;
}

const COMMON: OptionNames<CommonKeys> = {
  modelType: true,
  vocabSize: true,
  hiddenSize: true,
  numHiddenLayers: true,
  initializerRange: true,
  tieWordEmbeddings: 'flag',
  eosTokenId: true,
  bosTokenId: true,
  padTokenId: true,
  maxPositionEmbeddings: true,
  useCache: 'flag',
  architectures: true,
  dtype: true,
  torchDtype: true,
  transformersVersion: true,
};

/** A layer of softmax attention in place of the mixer. */
export interface AttentionKeys {
  layers: readonly number[];
  numHeads: number;
  numKvHeads?: Count;
  qkvBias?: Flag;
  windowSize?: Count;
  ropeTheta?: Count;
}

export const ATTENTION_KEYS: OptionNames<AttentionKeys> = {
  layers: true,
  numHeads: true,
  numKvHeads: true,
  qkvBias: 'flag',
  windowSize: true,
  ropeTheta: true,
};

/** What the models of flash-linear-attention share. */
export interface FlaKeys<T extends string = string> extends CommonKeys<T> {
  intermediateSize?: Count;
  hiddenRatio?: Count;
  hiddenAct?: Name<'swish' | 'silu'>;
  normEps?: Count;
  elementwiseAffine?: true | null;
  attnresBlockSize?: null;
  attn?: EitherSpelling<AttentionKeys> | readonly EitherSpelling<AttentionKeys>[] | null;
  fuseNorm?: Flag;
  attnMode?: Name;
  fuseSwiglu?: Flag;
  fuseCrossEntropy?: Flag;
  fuseLinearCrossEntropy?: Flag;
  useL2warp?: Flag;
}

const FLA: OptionNames<FlaKeys> = {
  ...COMMON,
  intermediateSize: true,
  hiddenRatio: true,
  hiddenAct: true,
  normEps: true,
  elementwiseAffine: 'flag',
  attnresBlockSize: true,
  attn: true,
  fuseNorm: 'flag',
  attnMode: true,
  fuseSwiglu: 'flag',
  fuseCrossEntropy: 'flag',
  fuseLinearCrossEntropy: 'flag',
  useL2warp: 'flag',
};

/** Heads whose widths are shares of the hidden size. */
interface HeadKeys {
  numHeads?: Count;
  numKvHeads?: Count;
  expandK?: Count;
  expandV?: Count;
}

const HEADS: OptionNames<HeadKeys> = { numHeads: true, numKvHeads: true, expandK: true, expandV: true };

/** Convolutions in front of q, k and v. */
interface ConvolutionKeys {
  useShortConv?: Flag;
  convSize?: Count;
}

const CONVOLUTIONS: OptionNames<ConvolutionKeys> = { useShortConv: 'flag', convSize: true };

export interface LinearAttentionKeys extends FlaKeys<'linear_attn'>, HeadKeys {
  featureMap?: Name<'elementwise_product' | 'hedgehog' | 't2r' | 'dpfp' | 'elu' | 'relu' | 'identity'>;
  tieFeatureMapQk?: false | null;
  normQ?: Flag;
  normK?: Flag;
  normFeatureMap?: Flag;
}

export interface RetNetKeys extends FlaKeys<'retnet'>, HeadKeys, ConvolutionKeys {
  featureMap?: Name<'identity' | 'relu' | 'silu' | 'swish'>;
  useOutputGate?: Flag;
}

export interface GlaKeys extends FlaKeys<'gla'>, HeadKeys, ConvolutionKeys {
  featureMap?: Name<'identity' | 'relu' | 'silu' | 'swish'>;
  useOutputGate?: Flag;
  useGk?: true | null;
  useGv?: false | null;
  clampMin?: Count;
}

export interface DeltaNetKeys extends FlaKeys<'delta_net'>, HeadKeys, ConvolutionKeys {
  qkActivation?: Name<'silu' | 'relu' | 'elu' | 'identity'>;
  qkNorm?: Name<'l2' | 'sum'>;
  useBeta?: Flag;
  useGate?: Flag;
  useOutputNorm?: Flag;
  allowNegEigval?: Flag;
}

/** Gated DeltaNet and Kimi Delta Attention. */
interface GatedDeltaKeys<T extends string = string> extends FlaKeys<T>, ConvolutionKeys {
  numHeads?: Count;
  numVHeads?: Count;
  headDim?: Count;
  expandV?: Count;
  allowNegEigval?: Flag;
}

const GATED_DELTA: OptionNames<GatedDeltaKeys> = {
  ...FLA,
  ...CONVOLUTIONS,
  numHeads: true,
  numVHeads: true,
  headDim: true,
  expandV: true,
  allowNegEigval: 'flag',
};

export interface GatedDeltaNetKeys extends GatedDeltaKeys<'gated_deltanet'> {
  useGate?: Flag;
}

export interface KimiDeltaKeys extends GatedDeltaKeys<'kda'> {
  lowerBound?: Count;
  safeGate?: Flag;
}

export interface DeltaNet2021Keys extends CommonKeys<'delta_net_2021'> {
  intermediateSize?: Count;
  normEps?: Count;
  numHeads?: Count;
  featureMap?: Name<'elu1' | 'relu' | 'softmax' | 'dpfp'>;
  nu?: Count;
  /** Probability, while training, in front of each residual and behind the activation of the feed-forward; 0 by default. */
  dropout?: Count;
}

/** Rotary positions, in both dialects of transformers. */
export interface RopeKeys {
  ropeType?: Name<'default' | 'linear' | 'llama3'>;
  type?: Name<'default' | 'linear' | 'llama3'>;
  ropeTheta?: Count;
  partialRotaryFactor?: Count;
  factor?: Count;
  lowFreqFactor?: Count;
  highFreqFactor?: Count;
  originalMaxPositionEmbeddings?: Count;
}

export const ROPE_KEYS: OptionNames<RopeKeys> = {
  ropeType: true,
  type: true,
  ropeTheta: true,
  partialRotaryFactor: true,
  factor: true,
  lowFreqFactor: true,
  highFreqFactor: true,
  originalMaxPositionEmbeddings: true,
};

export interface LlamaKeys extends CommonKeys<'llama'> {
  intermediateSize?: Count;
  hiddenAct?: Name<'swish' | 'silu'>;
  rmsNormEps?: Count;
  numAttentionHeads?: Count;
  numKeyValueHeads?: Count;
  headDim?: Count;
  attentionBias?: Flag;
  mlpBias?: Flag;
  ropeTheta?: Count;
  partialRotaryFactor?: Count;
  ropeParameters?: EitherSpelling<RopeKeys> | null;
  ropeScaling?: EitherSpelling<RopeKeys> | null;
  attentionDropout?: Count;
  pretrainingTp?: Count;
}

export type LstmKeys = CommonKeys<'lstm'>;

/** The keys of each family, by the `model_type` of its checkpoints. */
export interface KeysByType {
  linear_attn: LinearAttentionKeys;
  retnet: RetNetKeys;
  gla: GlaKeys;
  delta_net: DeltaNetKeys;
  delta_net_2021: DeltaNet2021Keys;
  gated_deltanet: GatedDeltaNetKeys;
  kda: KimiDeltaKeys;
  llama: LlamaKeys;
  lstm: LstmKeys;
}

export type ModelType = keyof KeysByType;

export const KEYS: { readonly [T in ModelType]: OptionNames<KeysByType[T]> } = {
  linear_attn: {
    ...FLA,
    ...HEADS,
    featureMap: true,
    tieFeatureMapQk: 'flag',
    normQ: 'flag',
    normK: 'flag',
    normFeatureMap: 'flag',
  },
  retnet: { ...FLA, ...HEADS, ...CONVOLUTIONS, featureMap: true, useOutputGate: 'flag' },
  gla: {
    ...FLA,
    ...HEADS,
    ...CONVOLUTIONS,
    featureMap: true,
    useOutputGate: 'flag',
    useGk: 'flag',
    useGv: 'flag',
    clampMin: true,
  },
  delta_net: {
    ...FLA,
    ...HEADS,
    ...CONVOLUTIONS,
    qkActivation: true,
    qkNorm: true,
    useBeta: 'flag',
    useGate: 'flag',
    useOutputNorm: 'flag',
    allowNegEigval: 'flag',
  },
  delta_net_2021: {
    ...COMMON,
    intermediateSize: true,
    normEps: true,
    numHeads: true,
    featureMap: true,
    nu: true,
    dropout: true,
  },
  gated_deltanet: { ...GATED_DELTA, useGate: 'flag' },
  kda: { ...GATED_DELTA, lowerBound: true, safeGate: 'flag' },
  llama: {
    ...COMMON,
    intermediateSize: true,
    hiddenAct: true,
    rmsNormEps: true,
    numAttentionHeads: true,
    numKeyValueHeads: true,
    headDim: true,
    attentionBias: 'flag',
    mlpBias: 'flag',
    ropeTheta: true,
    partialRotaryFactor: true,
    ropeParameters: true,
    ropeScaling: true,
    attentionDropout: true,
    pretrainingTp: true,
  },
  lstm: COMMON,
};

/** hidden_size of hiddenSize. */
type FileKey<S extends string> = S extends `${infer Letter}${infer Rest}`
  ? `${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}${FileKey<Rest>}`
  : S;

/** Keys in camelCase, or as in config.json. */
export type EitherSpelling<T> = T | { [K in keyof T as FileKey<K & string>]: T[K] };

/** The configuration of a family, for programs. */
export type ConfigurationOf<T extends ModelType> = EitherSpelling<KeysByType[T]>;

/** The configuration of any family: its type, and the family's keys. */
export type ConfigurationInput = {
  [T in ModelType]:
    | (KeysByType[T] & { modelType: T })
    | ({ [K in keyof KeysByType[T] as FileKey<K & string>]: KeysByType[T][K] } & { model_type: T });
}[ModelType];
