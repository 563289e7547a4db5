// The nearest orthogonal matrix, roughly, by matrix products alone.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
} from '../core';
import type { Tensor } from '../core';
import { checkFloat, computesInFloat32, matmul } from '../ops';

/** How `orthogonalize` iterates. */
export interface OrthogonalizeOptions {
  /** Iterations, 5 by default, below 100. */
  steps?: number;
  /** a, b and c of x -> a x + (b x x^T + c (x x^T)^2) x; [3.4445, -4.775, 2.0315] by default. */
  coefficients?: readonly [number, number, number];
  /** Least norm that a matrix is divided by, 1e-7 by default. */
  eps?: number;
}

const OPTIONS: OptionNames<OrthogonalizeOptions> = { steps: true, coefficients: true, eps: true };

/** Those of Jordan 2024: as steep at 0 as can be, at the price of an end near 1 instead of at 1. */
export const NEWTON_SCHULZ: readonly [number, number, number] = [3.4445, -4.775, 2.0315];

/** Requires the settings of the iteration. */
export function checkIteration(where: string, steps: unknown, coefficients: unknown, eps: unknown): void {
  checkInteger(where, 'steps', steps, 0, 99);
  checkNumber(where, 'eps', eps, 0);
  const valid =
    Array.isArray(coefficients) && coefficients.length === 3 && coefficients.every((c) => Number.isFinite(c));
  if (valid) return;
  throw argumentError('INVALID_ARGUMENT', where, 'coefficients', 'three finite numbers', describe(coefficients));
}

const iterate = computesInFloat32((x: Tensor, steps: number, [a, b, c]: readonly number[], eps: number): Tensor => {
  const tall = x.shape.at(-2)! > x.shape.at(-1)!;
  let y = tall ? x.transpose(-2, -1) : x;
  y = y.div(y.square().sum([-2, -1], true).sqrt().maximum(eps));
  for (let step = 0; step < steps; step++) {
    const gram = matmul(y, y.transpose(-2, -1));
    y = y.mul(a).add(matmul(gram.mul(b).add(matmul(gram, gram).mul(c)), y));
  }
  return tall ? y.transpose(-2, -1).contiguous() : y;
});

/**
 * For each matrix of x [..., m, n] with singular value decomposition U S V^T about U V^T: the singular values become ones
 * between 0.7 and 1.2, small ones less, by a quintic Newton-Schulz iteration (Jordan et al. 2024, "Muon: An optimizer for
 * hidden layers in neural networks"; Bernstein & Newhouse 2024). All matrices at once, differentiable. It computes in
 * float32, also beside bfloat16, where the published programs round every product to bfloat16.
 */
export function orthogonalize(x: Tensor, options: OrthogonalizeOptions = {}): Tensor {
  const where = 'orthogonalize';
  checkOptions(where, options, OPTIONS);
  checkFloat(where, 'x', x);
  if (x.ndim < 2) {
    throw argumentError('SHAPE', where, 'x', 'matrices [..., m, n]', formatShape(x.shape));
  }
  const { steps = 5, coefficients = NEWTON_SCHULZ, eps = 1e-7 } = options;
  checkIteration(where, steps, coefficients, eps);
  return iterate(x, steps, coefficients, eps);
}
