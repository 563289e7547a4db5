// Gradient clipping.
import { argumentError, checkNumber, describe, type DType, scope, Tensor, scoped } from '../core';
import { noGrad } from '../autograd';
import { ones, sumSquares, toFloat32, zeros } from '../ops';

/** Requires a list of tensors; names and groups are what optimisers take. */
function checkParameters(where: string, parameters: unknown): void {
  if (Array.isArray(parameters) && parameters.every((p) => p instanceof Tensor)) return;
  throw argumentError('INVALID_ARGUMENT', where, 'parameters', 'a list of tensors', describe(parameters));
}

/** The gradients that count; frozen parameters have none. */
function gradientsOf(parameters: readonly Tensor[]): Tensor[] {
  return parameters.flatMap(({ grad, requiresGrad }) => (grad && requiresGrad ? [grad] : []));
}

/** The joint norm [1]; of no gradients 0. A kernel's list has one dtype, so there is a sum for each. */
function normOf(where: string, parameters: readonly Tensor[]): Tensor {
  const gradients = gradientsOf(parameters);
  const device = gradients[0]?.device ?? parameters[0]?.device;
  const byDtype = new Map<DType, Tensor[]>();
  for (const grad of gradients) {
    if (grad.device !== device) {
      throw argumentError('DEVICE', where, 'parameters', `on one device, '${device}'`, `'${grad.device}'`);
    }
    byDtype.set(grad.dtype, [...(byDtype.get(grad.dtype) ?? []), grad]);
  }
  const sums = [...byDtype.values()].map(sumSquares);
  if (sums.length === 0) return zeros([1], { device });
  return sums.reduce((a, b) => a.add(b)).sqrt();
}

/**
 * The factor, a tensor [1], that brings the joint norm of all gradients to at most `maxNorm`, 1 where that is null; hand
 * it to `step`. `norm` is that norm before. Nothing is read back, so the device's queue goes on.
 */
export function clipFactor(parameters: readonly Tensor[], maxNorm: number | null): { factor: Tensor; norm: Tensor } {
  checkParameters('clipFactor', parameters);
  if (maxNorm !== null) checkNumber('clipFactor', 'maxNorm', maxNorm, 0);
  return noGrad(() =>
    scope(() => {
      const norm = normOf('clipFactor', parameters);
      if (maxNorm === null) return { factor: ones([1], { dtype: norm.dtype, device: norm.device }), norm };
      return { factor: norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1), norm };
    }),
  );
}

/** Scales all gradients in place so that their joint norm is at most `maxNorm`; returns the norm before, a tensor [1]. */
export const clipGradNorm = scoped((parameters: readonly Tensor[], maxNorm: number): Tensor => {
  const { factor, norm } = clipFactor(parameters, maxNorm);
  noGrad(() =>
    scope(() => {
      for (const grad of gradientsOf(parameters)) {
        if (grad.dtype === 'bfloat16') grad.copy_(toFloat32(grad).mul(factor).to('bfloat16'));
        else grad.mul_(factor);
      }
    }),
  );
  return norm;
});
