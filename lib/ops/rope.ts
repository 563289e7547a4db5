// Rotary position embedding.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  type Tensor,
} from '../core';
import { record } from '../autograd';
import { checkFloat, emptyLike, kernelsOf, statisticsDtype, takesBfloat16 } from './kernel';
import { contiguous } from './view';
import { type CuSeqlens, positionsOf } from './sequences';

/** Options of `rope`. */
export interface RopeOptions {
  /** Angle of pair i at position p: p * base^(-i / pairs); 10000 by default. */
  base?: number;
  /** Or the angles per position directly, one for each pair. */
  frequencies?: readonly number[];
  /** Coordinates that turn, an even number; all by default. The others stay. */
  dims?: number;
  /** Position of the first token, 0 by default; a list has one for each sequence. */
  offset?: number | readonly number[];
  /** Pairs (2i, 2i + 1) instead of (i, i + pairs). */
  interleaved?: boolean;
  /** Positions are taken modulo this number when it is above 0 (TTT layers). */
  modulo?: number;
  /** Packed sequences in a batch of 1; in each, positions start anew at `offset`. None by default. */
  cuSeqlens?: CuSeqlens | null;
}

const OPTIONS: OptionNames<RopeOptions> = {
  base: true,
  frequencies: true,
  dims: true,
  offset: true,
  interleaved: 'flag',
  modulo: true,
  cuSeqlens: true,
};

function checkOffsets(offset: number | readonly number[], sequences: number, tokens: number): void {
  const most = 2 ** 31 - 1 - tokens;
  if (!Array.isArray(offset)) return void checkInteger('rope', 'offset', offset, 0, most);
  if (offset.length !== sequences)
    throw argumentError('SHAPE', 'rope', 'offset', `[${sequences}]`, `[${offset.length}]`);
  offset.forEach((each, i) => checkInteger('rope', `offset[${i}]`, each, 0, most));
}

/** Turns pairs of coordinates of x [B, T, H, K] by their position (Su et al. 2021). */
export const rope = takesBfloat16((x: Tensor, options: RopeOptions = {}): Tensor => {
  checkOptions('rope', options, OPTIONS);
  const { base = 10000, offset = 0, interleaved = false, modulo = 0 } = options;
  checkFloat('rope', 'x', x);
  if (x.ndim !== 4) throw argumentError('SHAPE', 'rope', 'x', '[B, T, H, K]', formatShape(x.shape));
  const [batch, tokens, heads, width] = x.shape;
  const dims = checkInteger('rope', 'dims', options.dims ?? width, 0, width);
  if (dims % 2 !== 0) throw argumentError('INVALID_ARGUMENT', 'rope', 'dims', 'even', String(dims));
  checkOffsets(offset, options.cuSeqlens ? options.cuSeqlens.length - 1 : batch, tokens);
  checkInteger('rope', 'modulo', modulo, 0);
  if (checkNumber('rope', 'base', base, 0) === 0) {
    throw argumentError('INVALID_ARGUMENT', 'rope', 'base', 'above 0', '0');
  }
  const pairs = dims / 2;
  const angles = options.frequencies ?? Array.from({ length: pairs }, (_, i) => base ** (-i / pairs));
  if (!Array.isArray(angles) && !ArrayBuffer.isView(angles)) {
    throw argumentError('INVALID_ARGUMENT', 'rope', 'frequencies', 'a list of numbers', describe(angles));
  }
  if (angles.length !== pairs) throw argumentError('SHAPE', 'rope', 'frequencies', `[${pairs}]`, `[${angles.length}]`);
  angles.forEach((angle, i) => checkNumber('rope', `frequencies[${i}]`, angle));
  const frequencies = emptyLike(x, [pairs], statisticsDtype(x));
  const packed = x.dtype === 'float64' ? Float64Array.from(angles) : Float32Array.from(angles);
  frequencies.storage.memory.write(frequencies.storage.handle, 0, packed);
  const positions = positionsOf('rope', x, offset, options.cuSeqlens, modulo);
  const numbers = { tokens: batch * tokens, heads, width, pairs, interleaved: Number(interleaved) };
  const turn = (from: Tensor, at: Tensor, by: Tensor, inverse: number): Tensor => {
    const to = emptyLike(from);
    kernelsOf(from).rope({ x: contiguous(from), y: to, positions: at, frequencies: by, ...numbers, inverse });
    record('rope', [from], [to], [at, by], ([g], [sat, sby]) => [g && turn(g, sat, sby, 1 - inverse)], 'composed');
    return to;
  };
  return turn(x, positions, frequencies, 0);
});
