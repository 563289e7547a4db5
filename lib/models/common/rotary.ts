// Rotary positions of published configurations: the angle per position of each pair of coordinates.
import type { ConfigurationReader } from './configuration';
import { ROPE_KEYS } from './keys';

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

/**
 * Reads rotary settings in both dialects. What their section leaves out, `rope_theta` and `partial_rotary_factor`, may stand
 * at top level; `theta` and `share` are the family's defaults.
 */
export function readFrequencies(
  reader: ConfigurationReader,
  headDim: number,
  { theta = 10000, share = 1 }: { theta?: number; share?: number } = {},
): number[] {
  const section = readRopeSection(reader);
  const outer = {
    theta: reader.positive('rope_theta', theta),
    share: reader.positive('partial_rotary_factor', share, 1),
  };
  const base = section?.positive('rope_theta', outer.theta) ?? outer.theta;
  const factor = section?.positive('partial_rotary_factor', outer.share, 1) ?? outer.share;
  const dims = 2 * Math.floor((headDim * factor) / 2);
  const frequencies = rotaryFrequencies(base, dims);
  if (!section) return frequencies;
  const key = 'rope_type' in section.source ? 'rope_type' : 'type';
  switch (section.supported(key, 'default', ['default', 'linear', 'llama3'])) {
    case 'default':
      return frequencies;
    case 'linear': {
      const factor = section.number('factor', 1, 1);
      return frequencies.map((f) => f / factor);
    }
    case 'llama3':
      return llama3Frequencies(section, frequencies, reader.size('max_position_embeddings', 8192, LONGEST));
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
