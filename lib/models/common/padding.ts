// Batches with padding: their tokens one sequence after the other, so that no layer ever sees a padded one.
import { argumentError, checkInteger, formatShape, type Tensor } from '../../core';
import { cat, checkSameDevice, checkShape, checkTensor, indexSelect, tensor, zerosBeside } from '../../ops';

/** Where the tokens of a padded batch [B, T] stand. */
export interface Padding {
  /** Bounds of the sequences without padding: B + 1 offsets. */
  cuSeqlens: number[];
  /** [B, T] to [1, tokens]. */
  pack(t: Tensor): Tensor;
  /** [1, tokens, D] to [B, T, D], zeros where there is padding. */
  unpack(y: Tensor): Tensor;
}

/**
 * Reads a mask [B, T], bool or int32: 1 for tokens, 0 for padding, which may stand anywhere. Null where there is none. The
 * mask comes from the host in most programs, so reading it back costs little.
 */
export function readPadding(where: string, mask: Tensor, ids: Tensor): Padding | null {
  checkTensor(where, 'attentionMask', mask);
  if (mask.dtype !== 'bool' && mask.dtype !== 'int32') {
    throw argumentError('DTYPE', where, 'attentionMask', 'bool or int32', mask.dtype);
  }
  checkSameDevice(where, 'attentionMask', mask, ids);
  checkShape(where, 'attentionMask', mask, ids.shape, `batch, time like ids ${formatShape(ids.shape)}`);
  const [batch, tokens] = ids.shape;
  const values = mask.dataSync();
  const places: number[] = [];
  const cuSeqlens = [0];
  values.forEach((value, i) => {
    if (checkInteger(where, 'attentionMask', value, 0, 1) === 1) places.push(i);
    if (i % tokens === tokens - 1) cuSeqlens.push(places.length);
  });
  if (places.length === values.length) return null;
  const options = { dtype: 'int32', device: ids.device } as const;
  const back = new Int32Array(values.length).fill(places.length);
  places.forEach((place, i) => (back[place] = i));
  return {
    cuSeqlens,
    pack: (t) => indexSelect(t.reshape(-1), 0, tensor(Int32Array.from(places), options)).unsqueeze(0),
    unpack: (y) => {
      const width = y.shape[2];
      const rows = cat([y.squeeze(0), zerosBeside(y, [1, width])], 0);
      return indexSelect(rows, 0, tensor(back, options)).reshape(batch, tokens, width);
    },
  };
}
