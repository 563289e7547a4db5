// The configuration of the hybrid quadratic-linear Transformer (Irie et al. 2025; spec 2.11).
import { argumentError, type OptionNames } from '../../../core';
import { ConfigurationReader } from '../../common/configuration';
import type { CommonKeys, Flag, Name } from '../../common/keys';
import type { ModelDefinition } from '../../common/registry';
import {
  CONVOLUTION_KEYS,
  type ConvolutionKeys,
  FLA_KEYS,
  type FlaKeys,
  HEAD_KEYS,
  type HeadKeys,
} from '../../fla/keys';
import { type FlaConfiguration, type HeadSizes, readFla, readHeads } from '../../fla/skeleton';

/** The published names of the modes. */
const MODES = {
  sync_chunk: 'synchronous',
  sync_chunk_linear: 'synchronousLinear',
  delayed: 'delayedStream',
  chunk: 'delayedChunk',
} as const;

type AttnMode = keyof typeof MODES;

export interface HybridQLTKeys extends FlaKeys<'hybrid_qlt'>, HeadKeys, ConvolutionKeys {
  /** 'sync_chunk' synchronous, 'sync_chunk_linear', 'delayed' delayed-stream, 'chunk' delayed-chunk, the default. */
  attnMode?: Name<AttnMode>;
  /** The window, in 'chunk' the chunk, of the attention: 64 by default. */
  chunkSize?: number | null;
  /** Gates the output; true by default. */
  useGate?: Flag;
  /** Without it the strength of every write is 1; true by default. */
  useBeta?: Flag;
  /** Strengths up to 2; true by default. */
  allowNegEigval?: Flag;
  /** Rotary positions in the attention; false by default. */
  useLocalPosEncoding?: Flag;
  /** A gate for each value weighs fast weights against attention; false by default. */
  useMemoryGate?: Flag;
  /** With `useMemoryGate`: a gate of its own for each; false by default. */
  useMemoryGateSeparate?: Flag;
  /** A number for each head and token weighs either; false by default. */
  useMemoryDynamicScaler?: Flag;
  /** A trained number weighs either; false by default. */
  useMemoryScaler?: Flag;
  /** 'l2' alone. */
  qkNorm?: Name<'l2'>;
  /** 'identity' alone: the silu of the fast weights' queries and keys is always there. */
  qkActivation?: Name<'identity'>;
  /** false alone. */
  useForgettingGate?: Flag;
  /** Changes nothing here: there always is one. It is saved again. */
  useOutputNorm?: Flag;
  /** Changes nothing here: the heads share the hidden size. It is saved again. */
  headDim?: number | null;
}

/** What `HybridQLTForCausalLM` reads from its keys, with the defaults filled in. */
export interface HybridQLTConfiguration extends FlaConfiguration, HeadSizes {
  /**
   * When a token is written to the fast weights: at once ('synchronous'; 'synchronousLinear' is linear attention in place of the
   * delta rule), when it leaves the attention's window ('delayedStream'), or with its whole chunk, to which the attention is
   * confined ('delayedChunk').
   */
  readonly mode: (typeof MODES)[AttnMode];
  /** Tokens that attention sees: the token itself and the window - 1 before it; in 'delayedChunk' the size of a chunk. */
  readonly window: number;
  /**
   * How what the fast weights f and the attention a give becomes one: f + a ('sum'), m f + (1 - m) a with a gate for each value
   * ('gate') or one for each of the two ('gate2'), a weight for each head and token ('dynamic') or a trained one ('static').
   */
  readonly combine: 'sum' | 'gate' | 'gate2' | 'dynamic' | 'static';
  /** Rotary positions in the attention. */
  readonly rotary: boolean;
  /** Without it the strength of every write is 1. */
  readonly useBeta: boolean;
  /** Strengths up to 2. */
  readonly allowNegEigval: boolean;
  /** Gates the output. */
  readonly useGate: boolean;
  /** Tokens that the convolutions of q, k and v see; none when null. */
  readonly convSize: number | null;
}

function readCombine(reader: ConfigurationReader): HybridQLTConfiguration['combine'] {
  const gate = reader.flag('use_memory_gate', false);
  const others = { use_memory_dynamic_scaler: 'dynamic', use_memory_scaler: 'static' } as const;
  const chosen = Object.entries(others).filter(([key]) => reader.flag(key, false));
  const separate = reader.supported('use_memory_gate_separate', false, gate ? [true, false] : [false]);
  if (chosen.length + Number(gate) > 1) {
    throw argumentError('INVALID_ARGUMENT', 'hybrid_qlt', chosen[0][0], 'one way to combine', 'several');
  }
  if (gate) return separate ? 'gate2' : 'gate';
  return chosen.length > 0 ? chosen[0][1] : 'sum';
}

/** Reads the configuration of the family. */
export function readHybridQlt(input: object, family: ModelDefinition): HybridQLTConfiguration {
  const reader = ConfigurationReader.of(input, family);
  const base = readFla(reader, family);
  const heads = readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 1 });
  const mode = MODES[reader.supported('attn_mode', 'chunk', Object.keys(MODES) as AttnMode[])];
  reader.supported('qk_norm', 'l2', ['l2']);
  reader.supported('qk_activation', 'identity', ['identity']);
  reader.supported('use_forgetting_gate', false, [false]);
  const rotary = reader.supported('use_local_pos_encoding', false, heads.keyDim % 2 === 0 ? [true, false] : [false]);
  const allowNegEigval = reader.flag('allow_neg_eigval', true);
  return {
    ...base,
    ...heads,
    mode,
    window: reader.size('chunk_size', 64),
    combine: readCombine(reader),
    rotary,
    useBeta: reader.supported('use_beta', true, allowNegEigval ? [true] : [true, false]),
    allowNegEigval,
    useGate: reader.flag('use_gate', true),
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
  };
}

/** The names of its keys. */
export const HYBRID_QLT_KEYS: OptionNames<Omit<HybridQLTKeys, keyof CommonKeys>> = {
  ...FLA_KEYS,
  ...HEAD_KEYS,
  ...CONVOLUTION_KEYS,
  chunkSize: true,
  useGate: 'flag',
  useBeta: 'flag',
  allowNegEigval: 'flag',
  useLocalPosEncoding: 'flag',
  useMemoryGate: 'flag',
  useMemoryGateSeparate: 'flag',
  useMemoryDynamicScaler: 'flag',
  useMemoryScaler: 'flag',
  qkNorm: true,
  qkActivation: true,
  useForgettingGate: 'flag',
  useOutputNorm: 'flag',
  headDim: true,
};
