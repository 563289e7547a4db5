// The keys of configurations, as programs write them: in camelCase here, and as in config.json. A key of the published
// programs that changes nothing here is known, too, so that their configurations can be given as they are.
import type { OptionNames } from '../../core';

/** null means "derive it", as a missing key does. */
export type Count = number | null;
export type Flag = boolean | null;
export type Name<T extends string = string> = T | null;

/** The keys of every family; T is its `model_type`. */
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

export const COMMON_KEYS: OptionNames<CommonKeys> = {
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

/** hidden_size of hiddenSize. */
type FileKey<S extends string> = S extends `${infer Letter}${infer Rest}`
  ? `${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}${FileKey<Rest>}`
  : S;

/** Keys as in config.json. */
export type FileKeys<T> = { [K in keyof T as FileKey<K & string>]: T[K] };

/** Keys in camelCase, or as in config.json. */
export type EitherSpelling<T> = T | FileKeys<T>;
