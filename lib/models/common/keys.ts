// The keys of configurations, as programs write them: in camelCase here, and as in config.json. A key of the published
// programs that changes nothing here is known, too, so that their configurations can be given as they are.
import type { OptionNames } from '../../core';

/** null means "derive it", as a missing key does. */
export type Count = number | null;
export type Flag = boolean | null;
export type Name<T extends string = string> = T | null;

/** The keys of every family; T is its `model_type`. */
export interface CommonKeys<T extends string = string> {
  /** The family. `AutoModelForCausalLM` needs it; the constructor of a class, which knows its own, does not. */
  modelType?: T;
  /** Ids that the model knows, from 0 on; 32000 by default in the published families. */
  vocabSize?: Count;
  /**
   * Width of the vectors between the blocks. By default 2048 in the families of flash-linear-attention, 4096 in Llama,
   * 256 in DeltaNet of 2021 and LSTM.
   */
  hiddenSize?: Count;
  /** Blocks. By default 21 or 24 in the families of flash-linear-attention, 32 in Llama, 4 in DeltaNet of 2021, 2 in LSTM. */
  numHiddenLayers?: Count;
  /** Standard deviation of new Linear and Embedding weights, 0.02 by default; read weights do not depend on it. */
  initializerRange?: Count;
  /** Whether the head is the tensor of the embedding, false by default. */
  tieWordEmbeddings?: Flag;
  /** One token or several that end a generated text, each below vocabSize; none by default. */
  eosTokenId?: number | readonly number[] | null;
  /** Changes nothing here: no token is put in front of a text. It is saved again. */
  bosTokenId?: Count;
  /** Changes nothing here: `attentionMask` says what is padding. It is saved again. */
  padTokenId?: Count;
  /** Changes nothing here: no length of a text is refused. It is saved again. */
  maxPositionEmbeddings?: Count;
  /** Changes nothing here: `outputState` says whether `forward` returns a state. It is saved again. */
  useCache?: Flag;
  /** Changes nothing here: `modelType` names the class. `savePretrained` writes the name of the class it saves. */
  architectures?: readonly string[] | null;
  /**
   * Changes nothing here: the options beside the configuration give the dtype. `savePretrained` writes what the weights
   * are stored as.
   */
  dtype?: Name;
  /** The older name of `dtype`, under which `savePretrained` writes the same. */
  torchDtype?: Name;
  /** Changes nothing here: both dialects of transformers 4 and 5 are read. It is saved again. */
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

export const ROPE_TYPES = ['default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional'] as const;
export type RopeType = (typeof ROPE_TYPES)[number];

/** Rotary positions, in both dialects of transformers. */
export interface RopeKeys {
  ropeType?: Name<RopeType>;
  type?: Name<RopeType>;
  ropeTheta?: Count;
  partialRotaryFactor?: Count;
  factor?: Count;
  lowFreqFactor?: Count;
  highFreqFactor?: Count;
  originalMaxPositionEmbeddings?: Count;
  betaFast?: Count;
  betaSlow?: Count;
  truncate?: Flag;
  attentionFactor?: Count;
  shortFactor?: readonly number[] | null;
  longFactor?: readonly number[] | null;
  mscale?: Count;
  mscaleAllDim?: Count;
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
  betaFast: true,
  betaSlow: true,
  truncate: 'flag',
  attentionFactor: true,
  shortFactor: true,
  longFactor: true,
  mscale: true,
  mscaleAllDim: true,
};

type Snake<S extends string> = S extends `${infer Letter}${infer Rest}`
  ? `${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}${Snake<Rest>}`
  : S;

/** hidden_size of hiddenSize, D_has_hdim of DHasHdim. */
type FileKey<S extends string> = S extends `${infer First}${infer Rest}` ? `${First}${Snake<Rest>}` : S;

/** Keys as in config.json. */
export type FileKeys<T> = { [K in keyof T as FileKey<K & string>]: T[K] };

/** Keys in camelCase, or as in config.json. */
export type EitherSpelling<T> = T | FileKeys<T>;
