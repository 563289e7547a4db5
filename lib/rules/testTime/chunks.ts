// The walk over mini-batches that rules which learn at test time share: tokens go in chunks through products of matrices, and
// what they learn goes from chunk to chunk.
import { argumentError, checkInteger, describe, type Tensor } from '../../core';
import { recording } from '../../autograd';
import { cat, type CuSeqlens, split } from '../../ops';
import { inSegments, type Loop, type Named, type Token } from '../sequential/segments';

/** Tokens of the chunk that a text stopped in, for each packed sequence where they differ; 0 by default. */
export type Position = number | readonly number[];

/** Where a text goes on. */
export interface ChunkOptions {
  /** Tokens of a chunk. */
  size: number;
  position: Position;
  cuSeqlens: CuSeqlens | null;
}

/** What all chunks of a segment have in common. */
export interface ChunkPlace {
  /** Tokens of each of them. */
  length: number;
  /** Tokens of the same chunk that came before: 0 but for a text that goes on inside one. */
  position: number;
  /** Whether the last token of a chunk is among them. */
  complete: boolean;
}

/** Chunks between the states that a recorded walk keeps. */
const SEGMENT = 16;

/** Tokens between those that a kernel's walk frees, and tokens of a chunk from which on it keeps the states of all. */
const KERNEL_SEGMENT = 1024;
const KEPT_CHUNK = 16;

/** Requires a position inside a chunk, or a list of them. */
export function checkPosition(where: string, position: unknown, size: number): Position {
  if (position === undefined || position === null) return 0;
  if (typeof position === 'number') return checkInteger(where, 'position', position, 0, size - 1);
  if (!Array.isArray(position)) {
    throw argumentError('INVALID_ARGUMENT', where, 'position', 'a number, or a list of them', describe(position));
  }
  return position.map((item) => checkInteger(where, 'position', item, 0, size - 1));
}

/** T tokens from a position on, cut into runs of equal chunks: at most one begun chunk, whole ones, and one that is left. */
function runsOf(T: number, size: number, position: number): (ChunkPlace & { from: number; to: number })[] {
  const first = position > 0 ? Math.min(T, size - position) : 0;
  const whole = first + Math.floor((T - first) / size) * size;
  return [
    { from: 0, to: first, length: first, position, complete: position + first === size },
    { from: first, to: whole, length: size, position: 0, complete: true },
    { from: whole, to: T, length: T - whole, position: 0, complete: false },
  ].filter(({ from, to }) => to > from);
}

/** [B, n C, H, ...] as [n, B, H, C, ...], so that a chunk is a matrix for each sequence and head. */
function toChunks(x: Tensor, length: number): Tensor {
  const [B, T, H, ...rest] = x.shape;
  const apart = x.reshape(B, T / length, length, H, ...rest);
  return apart.permute(1, 0, 3, 2, ...rest.map((_, i) => 4 + i));
}

/** Tokens of a segment for a kernel: a recorded one may keep the states of chunks that are not too short. */
function kernelSegment({ tokens, states, weights }: Loop<Named, Named, Named>, length: number): number {
  const all = [tokens, states, weights].flatMap((group) => Object.values(group));
  if (!recording(all)) return Math.ceil(KERNEL_SEGMENT / length) * length;
  return length >= KEPT_CHUNK ? all[0].shape[1] : SEGMENT * length;
}

/** The chunks of x [n, ...], one by one. */
export function apart(x: Tensor): Tensor[] {
  return split(x, new Array<number>(x.shape[0]).fill(1), 0).map((part) => part.squeeze(0));
}

/** [n, B, H, C, D] to [B, n C, H, D]. */
function fromChunks(x: Tensor): Tensor {
  const [n, B, H, C, D] = x.shape;
  return x.permute(1, 0, 3, 2, 4).reshape(B, n * C, H, D);
}

/**
 * Runs the tokens [B, T, H, ...] of every sequence through chunks of `size` tokens. `run` gets up to 16 chunks of one length at
 * once, tokens [n, B, H, C, ...], with the states before them and gives outputs [n, B, H, C, V] and the states after them; it
 * must depend on what it is given only, since it runs again in the backward pass. `kernel`, where there is one, gets runs of
 * whole chunks instead, as they are, tokens and outputs [B, n C, H, ...].
 */
export function overChunks<X extends Named, S extends Named, W extends Named>(
  loop: Loop<X, S, W>,
  options: ChunkOptions & { where: string },
  run: (tokens: X, states: S, weights: W, place: ChunkPlace) => Token<S>,
  kernel: ((tokens: X, states: S, weights: W) => Token<S>) | null = null,
): Token<S> {
  const { size, position, cuSeqlens, where } = options;
  const slice = <N extends Named>(group: N, dim: number, from: number, to: number): N =>
    Object.fromEntries(Object.entries(group).map(([name, t]) => [name, t.slice(dim, from, to)])) as unknown as N;
  const one = (own: Loop<X, S, W>, at: number): Token<S> => {
    const T = Object.values(own.tokens)[0].shape[1];
    let { states } = own;
    const outputs: Tensor[] = [];
    for (const { from, to, ...place } of runsOf(T, size, at)) {
      const part = { ...own, tokens: slice(own.tokens, 1, from, to), states };
      const result =
        kernel && place.complete && place.position === 0
          ? inSegments(part, kernelSegment(part, place.length), kernel)
          : inSegments(part, SEGMENT * place.length, (tokens, before, weights) => {
              const apart = Object.entries(tokens).map(([name, x]) => [name, toChunks(x, place.length)]);
              const { output, states: after } = run(Object.fromEntries(apart) as X, before, weights, place);
              return { output: fromChunks(output), states: after };
            });
      outputs.push(result.output);
      states = result.states;
    }
    return { output: outputs.length === 1 ? outputs[0] : cat(outputs, 1), states };
  };
  if (!cuSeqlens) {
    if (typeof position === 'number') return one(loop, position);
    throw argumentError('INVALID_ARGUMENT', where, 'position', 'a number without cuSeqlens', describe(position));
  }
  const members = cuSeqlens.length - 1;
  if (typeof position !== 'number' && position.length !== members) {
    throw argumentError('INVALID_ARGUMENT', where, 'position', `${members} numbers`, `${position.length}`);
  }
  const results = Array.from({ length: members }, (_, n) => {
    const [from, to] = [cuSeqlens[n], cuSeqlens[n + 1]];
    const own = { ...loop, tokens: slice(loop.tokens, 1, from, to), states: slice(loop.states, 0, n, n + 1) };
    return from === to
      ? { output: null, states: own.states }
      : one(own, typeof position === 'number' ? position : position[n]);
  });
  const joined = Object.keys(loop.states).map((name) => [name, cat(results.map(({ states }) => states[name]))]);
  return {
    output: cat(
      results.flatMap(({ output }) => output ?? []),
      1,
    ),
    states: Object.fromEntries(joined) as S,
  };
}
