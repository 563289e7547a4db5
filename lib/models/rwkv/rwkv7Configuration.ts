// The configuration of RWKV-7.
import { argumentError, type OptionNames } from '../../core';
import type { ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { readRwkv, RWKV_KEYS, type RwkvConfiguration, type RwkvKeys } from './fla';

export interface Rwkv7Keys extends RwkvKeys<'rwkv7'> {
  /** hiddenSize / headDim; only one of the two is needed. */
  numHeads?: Count;
  /** Width of a head's keys, a divisor of the hidden size; 64 by default, or what `numHeads` says. */
  headDim?: Count;
  /** Width of all values, or a list of it for every layer: a multiple of the hidden size, which it is by default. */
  valueDim?: Count | readonly number[];
  /** Ranks of the projections to decay, output gate, rate and value mix: 64, 128, 64, 16; null derives them from the sizes. */
  decayLowRankDim?: Count;
  gateLowRankDim?: Count;
  aLowRankDim?: Count;
  vLowRankDim?: Count;
}

export const RWKV7_KEYS: OptionNames<Omit<Rwkv7Keys, keyof CommonKeys>> = {
  ...RWKV_KEYS,
  numHeads: true,
  headDim: true,
  valueDim: true,
  decayLowRankDim: true,
  gateLowRankDim: true,
  aLowRankDim: true,
  vLowRankDim: true,
};

/** What `RWKV7ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Rwkv7Configuration extends RwkvConfiguration {
  /** hiddenSize / headDim */
  readonly numHeads: number;
  /** K, per head. */
  readonly headDim: number;
  /** V, per head. */
  readonly headValueDim: number;
  /** Ranks of the projections to decay, output gate, rate and value mix. */
  readonly ranks: { readonly decay: number; readonly gate: number; readonly rate: number; readonly value: number };
  /** Whether keys are divided by sqrt(sum x^2 + 1e-6), or by their length, 1e-12 at least. */
  readonly fuseNorm: boolean;
}

function readHeadDim(reader: ConfigurationReader, hiddenSize: number): number {
  const numHeads = reader.optionalSize('num_heads');
  const derived = numHeads === null ? 64 : reader.divides(hiddenSize, 'num_heads', numHeads);
  const headDim = reader.size('head_dim', derived);
  reader.divides(hiddenSize, 'head_dim', headDim);
  if (numHeads !== null && headDim !== derived) {
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'head_dim', `${derived} with ${numHeads} heads`, String(headDim));
  }
  return headDim;
}

/** All layers have values of one width: the first one's go to all of them. */
function readValueDim(reader: ConfigurationReader, hiddenSize: number, layers: number): number {
  const widths = reader.integers('value_dim');
  const [width = hiddenSize] = widths;
  const found = `[${widths.join(', ')}]`;
  if (widths.length > 1 && widths.length !== layers) {
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'value_dim', `a width for each of ${layers} layers`, found);
  }
  if (width < hiddenSize || width % hiddenSize !== 0 || widths.some((other) => other !== width)) {
    const expected = `one multiple of hidden_size ${hiddenSize}`;
    throw argumentError('INVALID_ARGUMENT', 'rwkv7', 'value_dim', expected, found);
  }
  return width;
}

export function readRwkv7(reader: ConfigurationReader, family: ModelDefinition): Rwkv7Configuration {
  const base = readRwkv(reader, family, 4);
  // The published program passes nothing on between attention layers and others.
  reader.supported('attn', null, [null]);
  const { hiddenSize, numHiddenLayers } = base;
  const headDim = readHeadDim(reader, hiddenSize);
  const numHeads = hiddenSize / headDim;
  const rank = (key: string, usual: number, derived: number): number =>
    reader.source[key] === null ? Math.max(32, 32 * Math.round(derived / 32)) : reader.size(key, usual);
  const width = hiddenSize ** 0.5;
  const factor = headDim / 64;
  return {
    ...base,
    numHeads,
    headDim,
    headValueDim: readValueDim(reader, hiddenSize, numHiddenLayers) / numHeads,
    ranks: {
      decay: rank('decay_low_rank_dim', 64, 2.5 * width * factor),
      gate: rank('gate_low_rank_dim', 128, 5 * width),
      rate: rank('a_low_rank_dim', 64, 2.5 * width * factor),
      value: rank('v_low_rank_dim', 16, 1.7 * width * factor),
    },
    fuseNorm: reader.flag('fuse_norm', true),
  };
}
