// Matrices made nearly orthogonal by odd polynomials of them (Newton and Schulz): the direction of a step with Muon.
import type { Tensor } from '../../core';

/** Coefficients of x, x^3 and x^5 for each of five steps, as LaCT has them. */
const STEPS = [
  [4.0848, -6.8946, 2.927],
  [3.9505, -6.3029, 2.6377],
  [3.7418, -5.5913, 2.3037],
  [2.8769, -3.1427, 1.2046],
  [2.8366, -3.0525, 1.2012],
] as const;

/** G [..., I, J] over its Frobenius norm + 1e-7, and then five steps that bring its singular values to about 1. */
export function orthogonalize(G: Tensor): Tensor {
  const tall = G.shape[G.ndim - 2] > G.shape[G.ndim - 1];
  let X = G.div(G.square().sum([-2, -1], true).sqrt().add(1e-7));
  if (tall) X = X.transpose(-2, -1);
  for (const [a, b, c] of STEPS) {
    const A = X.matmul(X.transpose(-2, -1));
    X = X.mul(a).add(A.mul(b).add(A.matmul(A).mul(c)).matmul(X));
  }
  return tall ? X.transpose(-2, -1) : X;
}
