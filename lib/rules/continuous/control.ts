// The values and slopes of a spline: what a differential equation is driven by.
import { argumentError, checkObject, formatShape, sameShape, scoped, type Tensor } from '../../core';
import { checkFloat, split, stack, tensor } from '../../ops';
import { checkTimes, numbersOf } from './odeint';
import type { NaturalCubicSpline } from './spline';

/** The piece that a time belongs to, a knot to the one that ends there, and the time since that began. */
function pieceOf(times: readonly number[], t: number): [piece: number, since: number] {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] < t) low = middle;
    else high = middle - 1;
  }
  const piece = Math.min(low, times.length - 2);
  return [piece, t - times[piece]];
}

/** @internal All coefficients [B, L - 1, 4 C] of a spline as one tensor, to be given to a field. */
export function packSpline({ a, b, twoC, threeD }: NaturalCubicSpline): Tensor {
  const packed = stack([a, b, twoC, threeD], 2);
  return packed.flatten(2, 3);
}

/** @internal Value and derivative [B, C] at a time of the spline whose coefficients are given. */
export function controlAt(times: readonly number[], packed: Tensor, t: number): { x: Tensor; dx: Tensor } {
  const [piece, f] = pieceOf(times, t);
  const C = packed.shape[2] / 4;
  const [a, b, twoC, threeD] = split(packed.slice(1, piece, piece + 1).squeeze(1), [C, C, C, C], 1);
  const x = twoC
    .mul(0.5)
    .add(threeD.mul(f / 3))
    .mul(f)
    .add(b)
    .mul(f)
    .add(a);
  return { x, dx: twoC.add(threeD.mul(f)).mul(f).add(b) };
}

/** Requires what `naturalCubicSpline` gives: knots, and coefficients that fit them and each other. */
function checkSpline(where: string, spline: NaturalCubicSpline): void {
  checkObject(where, 'spline', spline);
  const pieces = checkTimes(where, 'spline.times', spline.times, 2).length - 1;
  const { a, b, twoC, threeD } = spline;
  for (const [name, t] of Object.entries({ a, b, twoC, threeD })) {
    checkFloat(where, `spline.${name}`, t);
    if (t.ndim === 3 && t.shape[1] === pieces && sameShape(t.shape, a.shape)) continue;
    const expected = name === 'a' ? `[B, ${pieces}, C]` : formatShape(a.shape);
    throw argumentError('SHAPE', where, `spline.${name}`, expected, formatShape(t.shape));
  }
}

/**
 * Value and derivative [B, times, C] of a spline at times in any order; before its first knot and after its last the pieces
 * at its ends go on.
 */
export const evaluateSpline = scoped(
  (spline: NaturalCubicSpline, at: readonly number[] | Tensor): { values: Tensor; derivatives: Tensor } => {
    checkSpline('evaluateSpline', spline);
    const list = numbersOf('evaluateSpline', 'at', at, 'finite times');
    const places = list.map((t) => pieceOf(spline.times, t));
    const { device, dtype } = spline.a;
    const index = tensor(
      Int32Array.from(places, ([piece]) => piece),
      { device, dtype: 'int32', shape: [list.length] },
    );
    const f = tensor(
      Float64Array.from(places, ([, since]) => since),
      { device, dtype, shape: [list.length, 1] },
    );
    const [a, b, twoC, threeD] = [spline.a, spline.b, spline.twoC, spline.threeD].map((t) => t.indexSelect(1, index));
    const values = twoC.mul(0.5).add(threeD.mul(f).div(3)).mul(f).add(b).mul(f).add(a);
    return { values, derivatives: twoC.add(threeD.mul(f)).mul(f).add(b) };
  },
);
