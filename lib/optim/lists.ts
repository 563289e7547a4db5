// Whole lists of tensors changed in place by one call, all or, where the scale is NaN, none: what optimisers are composed of.
import type { Tensor } from '../core';
import { kernelsOf } from '../ops';

/** x -= rate (scale y + decay x) for every pair; nothing where `scale`, a tensor [1], is NaN. At most MAX_LIST pairs. */
export function descend(
  x: readonly Tensor[],
  y: readonly Tensor[],
  rate: number,
  decay: number,
  scale: Tensor | null,
): void {
  if (x.length === 0) return;
  kernelsOf(x[0]).sgd({
    parameters: x,
    gradients: y,
    momentumBuffers: [],
    gradientScale: scale,
    learningRate: rate,
    momentum: 0,
    nesterov: 0,
    weightDecay: decay,
  });
}

/** x += weight (scale y - x) for every pair, PyTorch's `lerp_`; nothing where `scale` is NaN. */
export function blend(x: readonly Tensor[], y: readonly Tensor[], weight: number, scale: Tensor | null): void {
  descend(x, y, -weight, -1, scale);
}

/** For what was scaled already: 1, or NaN where `scale` is not finite. */
export function guard(scale: Tensor | null): Tensor | null {
  return scale && scale.mul(0).add(1);
}
