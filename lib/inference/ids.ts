// Token ids as callers give them.
import { argumentError, checkInteger, describe, formatShape, type Shape, Tensor } from '../core';
import { tensor } from '../ops';
import type { RecurrentModel, TokenIds } from './model';

/** Lists of ids, one after the other. */
export function joinIds(...lists: readonly ArrayLike<number>[]): Int32Array {
  const all = new Int32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}

/** Ids where the model takes them. */
export function idsOf(model: RecurrentModel, ids: Int32Array, shape: Shape): Tensor {
  return tensor(ids, { shape, dtype: 'int32', device: model.device });
}

/** Those of `batch` sequences, checked, in row-major order; none only where that is allowed. */
export function checkedIds(
  where: string,
  tokens: TokenIds,
  batch: number,
  vocabSize: number,
  emptyToo: boolean,
): Int32Array {
  const shape = tokens instanceof Tensor ? tokens.shape : [1, tokens?.length];
  if (tokens instanceof Tensor && tokens.dtype !== 'int32') {
    throw argumentError('DTYPE', where, 'ids', 'int32', tokens.dtype);
  }
  if (shape.length !== 2 || shape[0] !== batch || typeof shape[1] !== 'number') {
    const found = typeof shape[1] === 'number' ? formatShape(shape) : describe(tokens);
    throw argumentError('SHAPE', where, 'ids', `[${batch}, T]${batch === 1 ? ' or a list of numbers' : ''}`, found);
  }
  if (shape[1] === 0 && !emptyToo) {
    throw argumentError('INVALID_ARGUMENT', where, 'ids', 'at least one token', 'none');
  }
  const values = tokens instanceof Tensor ? tokens.dataSync() : tokens;
  return Int32Array.from(values, (id, i) => checkInteger(where, `ids[${i}]`, id, 0, vocabSize - 1));
}
