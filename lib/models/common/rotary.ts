// Rotary positions of published configurations: the angle per position of each pair of coordinates.
import type { ConfigurationReader } from './configuration';
import { ROPE_KEYS } from './keys';

/** base^(-2 i / dims) for i = 0 .. dims / 2 - 1. */
export function rotaryFrequencies(base: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
}

/**
 * Reads rotary settings in both dialects: `rope_parameters` (transformers 5), or `rope_theta`, `rope_scaling` and
 * `partial_rotary_factor` at top level (transformers 4). `theta` and `share` are the family's defaults.
 */
export function readFrequencies(
  reader: ConfigurationReader,
  headDim: number,
  { theta = 10000, share = 1 }: { theta?: number; share?: number } = {},
): number[] {
  const parameters = reader.section('rope_parameters', ROPE_KEYS);
  const scaling = parameters ?? reader.section('rope_scaling', ROPE_KEYS);
  const base = (parameters ?? reader).positive('rope_theta', reader.positive('rope_theta', theta));
  const wide = reader.positive('partial_rotary_factor', share, 1);
  const factor = (parameters ?? reader).positive('partial_rotary_factor', wide, 1);
  const dims = 2 * Math.floor((headDim * factor) / 2);
  const frequencies = rotaryFrequencies(base, dims);
  if (!scaling) return frequencies;
  const key = 'rope_type' in scaling.source ? 'rope_type' : 'type';
  switch (scaling.supported(key, 'default', ['default', 'linear', 'llama3'])) {
    case 'default':
      return frequencies;
    case 'linear': {
      const factor = scaling.number('factor', 1, 1);
      return frequencies.map((f) => f / factor);
    }
    case 'llama3':
      return llama3Frequencies(scaling, frequencies);
  }
}

/** Long waves slow down by `factor`, short ones stay, those between are mixed (Llama 3.1). */
function llama3Frequencies(scaling: ConfigurationReader, frequencies: number[]): number[] {
  const factor = scaling.number('factor', 8, 1);
  const low = scaling.number('low_freq_factor', 1);
  const high = scaling.number('high_freq_factor', 4);
  const context = scaling.size('original_max_position_embeddings', 8192, Number.MAX_SAFE_INTEGER);
  return frequencies.map((f) => {
    const turns = (context * f) / (2 * Math.PI);
    if (turns > high) return f;
    if (turns < low) return f / factor;
    const smooth = (turns - low) / (high - low);
    return (1 - smooth) * (f / factor) + smooth * f;
  });
}
