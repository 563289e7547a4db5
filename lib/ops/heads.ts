// Heads that serve several others.
import { scoped, type Tensor } from '../core';
import { expand, reshape } from './view';

/** [..., H, D] -> [..., HV, D]: each head HV / H times in a row. */
export const repeatHeads = scoped((x: Tensor, heads: number): Tensor => {
  const lead = x.shape.slice(0, -2);
  const [H, D] = x.shape.slice(-2);
  if (H === heads) return x;
  return reshape(expand(reshape(x, [...lead, H, 1, D]), [...lead, H, heads / H, D]), [...lead, heads, D]);
});
