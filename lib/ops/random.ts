// Dropout, from the seeded generator.
import { checkNumber, nextStream, type Tensor } from '../core';
import { record } from '../autograd';
import { checkFloat, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { contiguous } from './view';

/** Sets each element to 0 with probability p and divides the others by 1 - p; the same mask on every device. */
export const dropout = takesBfloat16((x: Tensor, p: number): Tensor => {
  checkFloat('dropout', 'x', x);
  checkNumber('dropout', 'p', p, 0, 1);
  if (p === 0) return x;
  const mask = { n: x.size, p, ...nextStream() };
  const y = emptyLike(x);
  kernelsOf(x).dropout({ x: contiguous(x), y, ...mask });
  record('dropout', [x], [y], [], ([g]) => {
    if (!g) return [null];
    const dx = emptyLike(g);
    kernelsOf(g).dropout({ x: contiguous(g), y: dx, ...mask });
    return [dx];
  });
  return y;
});
