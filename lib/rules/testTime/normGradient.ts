// The gradient that the inner loss of TTT has at the output of the inner network, which a layer norm stands behind.
import type { Tensor } from '../../core';
import { NORM_KINDS } from '../../backends';
import { type BackwardFunction, record } from '../../autograd';
import { emptyLike, kernelsOf, statisticsDtype } from '../../ops';

const LAYER = NORM_KINDS.indexOf('layer');

/** (g - mean g - x mean (g x)) / std, through the layer norm that gave x from z. */
function throughNorm(z: Tensor, stats: Tensor, g: Tensor): Tensor {
  const [dx, n] = [emptyLike(z), z.shape[z.ndim - 1]];
  const numbers = { rows: z.size / Math.max(1, n), n, groups: 1, kind: LAYER, accumulate: 0 };
  const dy = g.contiguous();
  kernelsOf(z).normBackward({ x: z, weight: null, stats, dy, dx, dweight: null, dbias: null, ...numbers });
  return dx;
}

/**
 * With x the layer norm of z [.., D] and e = x square - shift, the gradient (e - mean e - x mean (e x)) / std that a loss has at z
 * whose gradient at x is e: that of 1/2 |weight x + bias - target|^2 for square = weight^2 and shift = weight (target - bias). All
 * of one shape.
 */
export function normGradient(z: Tensor, square: Tensor, shift: Tensor, eps: number): Tensor {
  const source = z.detach().contiguous();
  const n = z.shape[z.ndim - 1];
  const rows = n === 0 ? 0 : z.size / n;
  const x = emptyLike(source);
  const stats = emptyLike(source, [rows, 2], statisticsDtype(source));
  kernelsOf(z).norm({ x: source, weight: null, bias: null, y: x, stats, rows, n, groups: 1, kind: LAYER, eps });
  const e = x.mul(square.detach()).sub(shift.detach());
  const gradient = throughNorm(source, stats, e);
  const back: BackwardFunction = ([g], [sz, sstats, sx, se, sgradient, ssquare]) => {
    if (!g) return [];
    const mean = (a: Tensor, b: Tensor): Tensor => a.mul(b).mean(-1, true);
    const perDeviation = sstats.slice(1, 1).reshape([...sz.shape.slice(0, -1), 1]);
    const de = throughNorm(sz, sstats, g);
    const direct = g.mul(mean(se, sx)).add(se.mul(mean(g, sx)));
    const dx = de.mul(ssquare).sub(direct.mul(perDeviation));
    const dz = throughNorm(sz, sstats, dx).sub(sx.mul(perDeviation).mul(mean(g, sgradient)));
    return [dz, de.mul(sx), de.neg()];
  };
  record('normGradient', [z, square, shift], [gradient], [source, stats, x, e, gradient, square], back);
  return gradient;
}
