// Which tensors share memory: what is written in place must know.
import { sameShape } from './shape';
import type { Tensor } from './tensor';

/** Whether two places of the tensor are one element, as after `expand`. Exact for views of `expand`, `slice`, `permute`. */
export function overlapsItself(t: Tensor): boolean {
  if (t.isContiguous || t.size < 2) return false;
  const walked = t.shape.map((d, i) => ({ d, stride: t.strides[i] })).filter(({ d }) => d > 1);
  walked.sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { d, stride } of walked) {
    if (stride <= reach) return true;
    reach += (d - 1) * stride;
  }
  return false;
}

/** Whether the memory between the first and the last elements of two tensors meets; interleaved views count as sharing. */
export function overlaps(a: Tensor, b: Tensor | null | undefined): boolean {
  if (b?.storage !== a.storage) return false;
  return a.offset < b.offset + b.reach && b.offset < a.offset + a.reach && a.size > 0 && b.size > 0;
}

/** The same elements at the same places. */
export function isSameView(a: Tensor, b: Tensor): boolean {
  const { shape, strides } = a;
  return (
    a.storage === b.storage &&
    a.offset === b.offset &&
    sameShape(shape, b.shape) &&
    strides.every((s, i) => s === b.strides[i] || shape[i] <= 1)
  );
}
