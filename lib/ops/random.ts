// Dropout, from the seeded generator.
import { checkNumber, nextStream, type Tensor } from '../core';
import { record } from '../autograd';
import type { KernelArguments } from '../backends';
import { checkFloat, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { contiguous } from './view';

/** Sets each element to 0 with probability p and divides the others by 1 - p; the same mask on every device. */
export const dropout = takesBfloat16((x: Tensor, p: number): Tensor => {
  checkFloat('dropout', 'x', x);
  checkNumber('dropout', 'p', p, 0, 1);
  if (p === 0) return x;
  return masked(x, { n: x.size, p, ...nextStream() });
});

/** Linear in x: its backward pass is itself. */
function masked(x: Tensor, mask: Omit<KernelArguments<'dropout'>, 'x' | 'y'>): Tensor {
  const y = emptyLike(x);
  kernelsOf(x).dropout({ x: contiguous(x), y, ...mask });
  record('dropout', [x], [y], [], ([g]) => [g && masked(g, mask)], 'composed');
  return y;
}
