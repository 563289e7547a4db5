// The parts of RWKV-7's layers beside its rule (Peng et al. 2025; spec 2.13.8).
import { argumentError, formatShape, type Tensor } from '../core';
import { add, mul, sub } from './elementwise';
import { checkAlike, checkFloat, checkShape, computesInFloat32 } from './kernel';
import { sum } from './reduce';
import { reshape } from './view';

function checkLike(where: string, given: Readonly<Record<string, Tensor>>, x: Tensor, name: string): void {
  for (const [argument, t] of Object.entries(given)) {
    checkFloat(where, argument, t);
    checkAlike(where, argument, t, x, name);
  }
}

/**
 * k (1 + (a - 1) kA): the key that RWKV-7 writes, of k and the rate a [..., D] and kA [D]; with kA 1 it is as large as the
 * rate, with 0 it does not depend on it.
 */
export const rwkv7KeyUpdate = computesInFloat32((k: Tensor, a: Tensor, kA: Tensor): Tensor => {
  const where = 'rwkv7KeyUpdate';
  checkFloat(where, 'k', k);
  checkLike(where, { a, kA }, k, 'k');
  checkShape(where, 'a', a, k.shape, 'like k');
  checkShape(where, 'kA', kA, k.shape.slice(-1), 'channels');
  return add(k, mul(mul(k, sub(a, 1)), kA));
});

/**
 * (x + (sum_d r_d k_d bonus_d) v) g: what RWKV-7 reads of the present token beside its memory, and the gate of the output.
 * x and g [..., H V], r and k [..., H, K], v [..., H, V], bonus [H, K].
 */
export const rwkv7OutputCorrection = computesInFloat32(
  (x: Tensor, r: Tensor, k: Tensor, v: Tensor, bonus: Tensor, g: Tensor): Tensor => {
    const where = 'rwkv7OutputCorrection';
    checkFloat(where, 'x', x);
    checkLike(where, { r, k, v, bonus, g }, x, 'x');
    const lead = x.shape.slice(0, -1);
    if (v.ndim !== x.ndim + 1) {
      throw argumentError('SHAPE', where, 'v', `[${[...lead, 'H', 'V'].join(', ')}]`, formatShape(v.shape));
    }
    const [H, V] = v.shape.slice(-2);
    checkShape(where, 'v', v, [...lead, H, V], 'heads, value width');
    checkShape(where, 'x', x, [...lead, H * V], 'heads of v, side by side');
    checkShape(where, 'g', g, x.shape, 'like x');
    checkShape(where, 'r', r, [...lead, H, r.shape[r.ndim - 1]], 'heads, key width');
    checkShape(where, 'k', k, r.shape, 'like r');
    checkShape(where, 'bonus', bonus, r.shape.slice(-2), 'heads, key width');
    const own = mul(sum(mul(mul(r, k), bonus), -1, true), v);
    return mul(add(x, reshape(own, x.shape)), g);
  },
);
