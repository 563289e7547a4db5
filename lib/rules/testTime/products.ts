// Products of factors between any two tokens of a chunk, without a division: a factor may be 0.
import type { Tensor } from '../../core';
import { cat, ones, zerosBeside } from '../../ops';

/** Products of factors f [.., C]. */
export interface Products {
  /** [.., C, C]: the product of f_r over i < r <= t at t and i <= t, 1 on the diagonal, 0 above it. */
  between: Tensor;
  /** [.., C]: the product of f_r over r <= t. */
  upTo: Tensor;
}

/** Every second of the m blocks x [.., m, *], and the others. */
function pairs(x: Tensor, dim: number): [Tensor, Tensor] {
  const shape = [...x.shape.slice(0, dim), x.shape[dim] / 2, 2, ...x.shape.slice(dim + 1)];
  const both = x.reshape(shape);
  return [both.slice(dim + 1, 0, 1).squeeze(dim + 1), both.slice(dim + 1, 1).squeeze(dim + 1)];
}

/** The products of blocks of 1, 2, 4, ... factors, each from two of half its length. */
export function productsOf(factors: Tensor): Products {
  const lead = factors.shape.slice(0, -1);
  const C = factors.shape[factors.ndim - 1];
  const d = lead.length;
  const size = 2 ** Math.ceil(Math.log2(Math.max(1, C)));
  const one = ones([1], { dtype: factors.dtype, device: factors.device });
  const padded = size === C ? factors : cat([factors, one.expand([...lead, size - C])], d);
  // Of each block [.., m, b]: the products up to each place, behind each place, and between any two.
  let upTo = padded.reshape([...lead, size, 1]);
  let behind = one.expand([...lead, size, 1]);
  let between = behind.unsqueeze(d + 2);
  for (let b = 1; b < size; b *= 2) {
    const [[firstUp, secondUp], [firstBehind, secondBehind]] = [pairs(upTo, d), pairs(behind, d)];
    const [first, second] = pairs(between, d);
    const corner = secondUp.unsqueeze(d + 2).mul(firstBehind.unsqueeze(d + 1));
    between = cat([cat([first, zerosBeside(first)], d + 2), cat([corner, second], d + 2)], d + 1);
    const [all, rest] = [firstUp, secondUp].map((t) => t.slice(d + 1, b - 1, b));
    upTo = cat([firstUp, secondUp.mul(all)], d + 1);
    behind = cat([firstBehind.mul(rest), secondBehind], d + 1);
  }
  return {
    between: between
      .squeeze(d)
      .slice(d, 0, C)
      .slice(d + 1, 0, C),
    upTo: upTo.squeeze(d).slice(d, 0, C),
  };
}
