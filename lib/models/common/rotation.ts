// How queries and keys turn with their positions, by angles that may depend on how long the text is.
import type { Tensor } from '../../core';
import { cat, rope } from '../../ops';

/** The angles by which coordinates turn. */
export interface Rotation {
  /** Angle per position of each pair of coordinates; the coordinates beyond them do not turn. */
  frequencies: readonly number[];
  /** Multiplies the coordinates of queries and keys that turn, 1 by default. */
  rotaryScale?: number;
  /** Other angles in texts longer than so; none by default. */
  longer?: LongerTexts;
}

/**
 * Angles of what one call reads where the text ends behind more than `length` tokens. Those of every such text (LongRoPE, Ding et al. 2024),
 * or those of the base times (factor n / length - factor + 1)^(d / (d - 2)) where n tokens stand in the text at the end of the call and d
 * coordinates turn (NTK-aware scaling by the length). Keys stay as they were turned when they were read, as in transformers.
 */
export type LongerTexts = { length: number } & ({ frequencies: readonly number[] } | { base: number; factor: number });

/** Where tokens stand: behind how many of their text, of one for all or of each; packed texts begin at 0. */
export interface Place {
  offset: number | readonly number[];
  cuSeqlens?: readonly number[] | null;
}

/** base^(-2 i / dims) for i = 0 .. dims / 2 - 1. */
export function rotaryFrequencies(base: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
}

/** Those of what is read in one call at the end of which so many tokens stand in the text. */
function frequenciesAt({ frequencies, longer }: Rotation, tokens: number): readonly number[] {
  if (!longer || tokens <= longer.length) return frequencies;
  if ('frequencies' in longer) return longer.frequencies;
  const { base, factor, length } = longer;
  const dims = 2 * frequencies.length;
  return rotaryFrequencies(base * ((factor * tokens) / length - factor + 1) ** (dims / (dims - 2)), dims);
}

/** How many tokens, read one by one behind so many, turn by the same angles. */
export function tokensAlike({ longer }: Rotation, position: number): number {
  if (!longer) return Infinity;
  if (position < longer.length) return longer.length - position;
  return 'frequencies' in longer ? Infinity : 0;
}

/** x [B, T, H, D] turned, each text as it would be alone. */
export function turn(x: Tensor, rotation: Rotation, place: Place): Tensor {
  const { frequencies, rotaryScale = 1, longer } = rotation;
  if (frequencies.length === 0) return x;
  const dims = 2 * frequencies.length;
  const { offset, cuSeqlens } = place;
  const ends = textEnds(x.shape[1], place);
  const longest = ends.reduce((most, end) => Math.max(most, end), 0);
  const alike = ends.length === 1 || longest <= (longer?.length ?? Infinity);
  const turned = alike
    ? rope(x, { offset, cuSeqlens, frequencies: frequenciesAt(rotation, longest), dims })
    : cat(
        ends.map((end, i) => {
          const own = cuSeqlens ? x.slice(1, cuSeqlens[i], cuSeqlens[i + 1]) : x.slice(0, i, i + 1);
          return rope(own, { offset: end - own.shape[1], frequencies: frequenciesAt(rotation, end), dims });
        }),
        cuSeqlens ? 1 : 0,
      );
  if (rotaryScale === 1) return turned;
  return cat([turned.slice(-1, 0, dims).mul(rotaryScale), turned.slice(-1, dims)], -1);
}

/** How many tokens stand in each text at the end of the call; one number where all have as many. */
function textEnds(tokens: number, { offset, cuSeqlens }: Place): number[] {
  if (cuSeqlens) return cuSeqlens.slice(1).map((end, i) => end - cuSeqlens[i]);
  return typeof offset === 'number' ? [offset + tokens] : offset.map((before) => before + tokens);
}
