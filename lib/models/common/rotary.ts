// Rotary positions of published configurations: the angle per position of each pair of coordinates, and what multiplies them.
import type { ConfigurationReader } from './configuration';
import type { AttentionShape } from './attention';
import { ROPE_KEYS, ROPE_TYPES } from './keys';

/** base^(-2 i / dims) for i = 0 .. dims / 2 - 1. */
export function rotaryFrequencies(base: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
}

/**
 * The rotary settings of their own section: `rope_parameters` (transformers 5) or `rope_scaling` (transformers 4). Where a
 * file has both, `rope_scaling` replaces the whole of the other, its `rope_theta` included, as in transformers 5
 * (`convert_rope_params_to_dict` of 5.24); an empty one replaces nothing.
 */
export function readRopeSection(reader: ConfigurationReader): ConfigurationReader | null {
  const parameters = reader.section('rope_parameters', ROPE_KEYS);
  const scaling = reader.section('rope_scaling', ROPE_KEYS);
  return scaling && Object.keys(scaling.source).length > 0 ? scaling : parameters;
}

/** How queries and keys turn. */
export type Rotation = Pick<AttentionShape, 'frequencies' | 'rotaryScale'>;

/**
 * Reads rotary settings in both dialects. What their section leaves out, `rope_theta` and `partial_rotary_factor`, may stand
 * at top level; `theta` and `share` are the family's defaults.
 */
export function readRotation(
  reader: ConfigurationReader,
  headDim: number,
  { theta = 10000, share = 1 }: { theta?: number; share?: number } = {},
): Rotation {
  const section = readRopeSection(reader);
  const outer = {
    theta: reader.positive('rope_theta', theta),
    share: reader.positive('partial_rotary_factor', share, 1),
  };
  const base = section?.positive('rope_theta', outer.theta) ?? outer.theta;
  const part = section?.positive('partial_rotary_factor', outer.share, 1) ?? outer.share;
  const dims = 2 * Math.floor((headDim * part) / 2);
  const frequencies = rotaryFrequencies(base, dims);
  if (!section) return { frequencies };
  const key = 'rope_type' in section.source ? 'rope_type' : 'type';
  const length = (): number => reader.size('max_position_embeddings', 8192, LONGEST);
  switch (section.supported(key, 'default', ROPE_TYPES)) {
    case 'default':
      return { frequencies };
    case 'linear': {
      const factor = section.number('factor', 1, 1);
      return { frequencies: frequencies.map((f) => f / factor) };
    }
    case 'llama3':
      return { frequencies: llama3Frequencies(section, frequencies, length()) };
    case 'yarn':
      return yarnRotation(section, frequencies, base, length());
  }
}

const LONGEST = Number.MAX_SAFE_INTEGER;

/** Long waves slow down by `factor`, short ones stay, those between are mixed (Llama 3.1). `length` is that of the model. */
function llama3Frequencies(scaling: ConfigurationReader, frequencies: number[], length: number): number[] {
  const factor = scaling.number('factor', 8, 1);
  const low = scaling.number('low_freq_factor', 1);
  const high = scaling.number('high_freq_factor', 4);
  const context = scaling.size('original_max_position_embeddings', length, LONGEST);
  return frequencies.map((f) => {
    const turns = (context * f) / (2 * Math.PI);
    if (turns > high) return f;
    if (turns < low) return f / factor;
    const smooth = (turns - low) / (high - low);
    return (1 - smooth) * (f / factor) + smooth * f;
  });
}

/**
 * Pairs that turn fewer than `beta_slow` times in the text that the model was trained with slow down by `factor`, those of more
 * than `beta_fast` turns stay, those between are mixed; what turns grows with the logarithm of the factor (YaRN, Peng et al.
 * 2023, as `_compute_yarn_parameters` of transformers 5). `length` is that of the model.
 */
function yarnRotation(scaling: ConfigurationReader, frequencies: number[], base: number, length: number): Rotation {
  const context = scaling.size('original_max_position_embeddings', length, LONGEST);
  const factor = scaling.positive('factor', length / context);
  const [fast, slow] = [scaling.positive('beta_fast', 32), scaling.positive('beta_slow', 1)];
  const dims = 2 * frequencies.length;
  /** The pair, whole or not, that turns so often. */
  const pairOf = (turns: number): number => (dims * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const whole = scaling.flag('truncate', true);
  const first = Math.max(whole ? Math.floor(pairOf(fast)) : pairOf(fast), 0);
  const last = Math.min(whole ? Math.ceil(pairOf(slow)) : pairOf(slow), dims - 1);
  const width = last === first ? 1e-3 : last - first;
  const growth = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  const [own, all] = [scaling.number('mscale', 0), scaling.number('mscale_all_dim', 0)];
  const derived = own > 0 && all > 0 ? growth(own) / growth(all) : growth(1);
  return {
    frequencies: frequencies.map((f, i) => {
      const slowed = Math.min(Math.max((i - first) / width, 0), 1);
      return slowed * (f / factor) + (1 - slowed) * f;
    }),
    rotaryScale: scaling.positive('attention_factor', derived),
  };
}
