// Gradient clipping.
import { checkNumber, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { sumSquares, widen } from '../ops';

/**
 * The factor, a tensor [1], that brings the joint norm of all gradients to at most `maxNorm`; hand it to `step`. `norm` is
 * that norm before. Nothing is read back, so the device's queue goes on.
 */
export function clipFactor(parameters: readonly Tensor[], maxNorm: number): { factor: Tensor; norm: Tensor } {
  checkNumber('clipFactor', 'maxNorm', maxNorm, 0);
  return noGrad(() => {
    const norm = sumSquares(parameters.flatMap((t) => t.grad ?? [])).sqrt();
    return { factor: norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1), norm };
  });
}

/** Scales all gradients in place so that their joint norm is at most `maxNorm`; returns the norm before, a tensor [1]. */
export function clipGradNorm(parameters: readonly Tensor[], maxNorm: number): Tensor {
  const { factor, norm } = clipFactor(parameters, maxNorm);
  noGrad(() =>
    scope(() => {
      for (const { grad } of parameters) {
        if (grad?.dtype === 'bfloat16') grad.copy_(widen(grad).mul(factor).to('bfloat16'));
        else grad?.mul_(factor);
      }
    }),
  );
  return norm;
}
