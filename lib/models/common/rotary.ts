// Rotary positions of published configurations: their settings in both dialects, and the scalings of transformers
// (`modeling_rope_utils` of 5.24).
import type { ConfigurationReader } from './configuration';
import { ROPE_KEYS, ROPE_TYPES } from './keys';
import { type Rotation, rotaryFrequencies } from './rotation';

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

/** What a family says where its configuration does not. */
export interface RotaryDefaults {
  /** Longest text that the model is made for. */
  length: number;
  /** Base of the angles, 10000 by default. */
  theta?: number;
  /** Share of the coordinates of a head that turn, all by default. */
  share?: number;
  /** Whether the share stands in the section of rotary settings alone, false by default: at top level it counts for nothing. */
  shareInSection?: boolean;
}

/**
 * Reads rotary settings in both dialects. What their section leaves out, `rope_theta` and `partial_rotary_factor`, may stand
 * at top level.
 */
export function readRotation(
  reader: ConfigurationReader,
  headDim: number,
  { length: longest, theta = 10000, share = 1, shareInSection = false }: RotaryDefaults,
): Rotation {
  const section = readRopeSection(reader);
  const outer = {
    theta: reader.positive('rope_theta', theta),
    share: shareInSection ? share : reader.positive('partial_rotary_factor', share, 1),
  };
  const base = section?.positive('rope_theta', outer.theta) ?? outer.theta;
  const part = section?.positive('partial_rotary_factor', outer.share, 1) ?? outer.share;
  const pairs = Math.floor((headDim * part) / 2);
  const frequencies = rotaryFrequencies(base, 2 * pairs);
  if (!section) return { frequencies };
  const key = 'rope_type' in section.source ? 'rope_type' : 'type';
  const length = reader.size('max_position_embeddings', longest, LONGEST);
  /** That of the texts that the model was trained with. */
  const context = (min = 1): number => reader.count(CONTEXT, section.count(CONTEXT, length, min), min);
  switch (section.supported(key, 'default', ROPE_TYPES)) {
    case 'default':
      return { frequencies };
    case 'linear':
      return { frequencies: slowed(frequencies, section) };
    case 'proportional': {
      // All coordinates count, those that do not turn with a frequency of 0.
      const all = rotaryFrequencies(base, 2 * Math.floor(headDim / 2)).map((f, i) => (i < pairs ? f : 0));
      return { frequencies: slowed(all, section) };
    }
    case 'dynamic':
      return { frequencies, longer: { length, base, factor: section.number('factor', 1, 1) } };
    case 'longrope':
      // Growth is reckoned by the logarithm of the length, which is 0 for 1.
      return longRotation(section, frequencies, context(2), length);
    case 'llama3':
      return { frequencies: llama3Frequencies(section, frequencies, context()) };
    case 'yarn':
      return yarnRotation(section, frequencies, base, context(), length);
  }
}

const CONTEXT = 'original_max_position_embeddings';
const LONGEST = Number.MAX_SAFE_INTEGER;

function slowed(frequencies: number[], scaling: ConfigurationReader): number[] {
  const factor = scaling.number('factor', 1, 1);
  return frequencies.map((f) => f / factor);
}

/**
 * Each pair slows down by a factor of its own, one for texts up to `context` and one for longer ones; what turns grows with the root
 * of the logarithm of how much longer the model reads (LongRoPE, Ding et al. 2024). `length` is that of the model.
 */
function longRotation(scaling: ConfigurationReader, frequencies: number[], context: number, length: number): Rotation {
  const [short, long] = ['short_factor', 'long_factor'].map((key) => {
    const factors = scaling.positives(key, frequencies.length);
    return frequencies.map((f, i) => f / factors[i]);
  });
  const factor = scaling.positive('factor', length / context);
  const growth = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(context));
  return {
    frequencies: short,
    rotaryScale: scaling.positive('attention_factor', growth),
    longer: { length: context, frequencies: long },
  };
}

/** Long waves slow down by `factor`, short ones stay, those between are mixed (Llama 3.1). */
function llama3Frequencies(scaling: ConfigurationReader, frequencies: number[], context: number): number[] {
  const factor = scaling.number('factor', 8, 1);
  const low = scaling.number('low_freq_factor', 1);
  const high = scaling.number('high_freq_factor', 4);
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
 * 2023). `length` is that of the model.
 */
function yarnRotation(
  scaling: ConfigurationReader,
  frequencies: number[],
  base: number,
  context: number,
  length: number,
): Rotation {
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
