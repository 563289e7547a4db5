// Activations that are chains of others.
import { argumentError, checkNumber, formatShape, resolveDim, type Tensor } from '../core';
import { gt, where } from './compare';
import { mul, sigmoid } from './elementwise';
import { checkFloat, computesInFloat32, takesBfloat16 } from './kernel';
import { split } from './join';

/** x where it is above 0, else `negativeSlope` x. */
export const leakyRelu = takesBfloat16((x: Tensor, negativeSlope: number = 0.01): Tensor => {
  checkFloat('leakyRelu', 'x', x);
  checkNumber('leakyRelu', 'negativeSlope', negativeSlope);
  return where(gt(x, 0), x, mul(x, negativeSlope));
});

/** The first half of a dimension, the last one by default, times the sigmoid of the second (Dauphin et al. 2017). */
export const glu = computesInFloat32((x: Tensor, dim: number = -1): Tensor => {
  checkFloat('glu', 'x', x);
  const d = resolveDim('glu', dim, x.ndim);
  const half = (x.shape[d] ?? 1) / 2;
  if (!Number.isInteger(half)) {
    throw argumentError('SHAPE', 'glu', 'x', `an even size of dimension ${d}`, formatShape(x.shape));
  }
  const [value, gate] = split(x, [half, half], d);
  return mul(value, sigmoid(gate));
});
