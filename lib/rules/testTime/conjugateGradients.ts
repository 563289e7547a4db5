// Conjugate gradients for many symmetric positive definite systems at once, known by their products with vectors.
import { scope, type Tensor } from '../../core';
import { where } from '../../ops';

/** A x for the system of each vector along the last dimension. */
export type Product = (x: Tensor) => Tensor;

/** The iterate, what is left of the right side, the direction, and the square of what is left. */
interface Iteration {
  x: Tensor;
  r: Tensor;
  p: Tensor;
  rr: Tensor;
}

const dot = (a: Tensor, b: Tensor): Tensor => a.mul(b).sum(-1, true);

/** The next iteration; handles of the last one are freed, the tape keeps what a backward pass needs. */
function advance(
  times: Product,
  last: Iteration,
  alphaOf: (rr: Tensor, pAp: Tensor) => Tensor,
  betaOf: (next: Tensor, rr: Tensor) => Tensor,
): Iteration {
  const next = scope(() => {
    const Ap = times(last.p);
    const alpha = alphaOf(last.rr, dot(last.p, Ap));
    const x = last.x.add(alpha.mul(last.p));
    const r = last.r.sub(alpha.mul(Ap));
    const rr = dot(r, r);
    return { x, r, p: r.add(betaOf(rr, last.rr).mul(last.p)), rr };
  });
  for (const t of Object.values(last) as Tensor[]) t.dispose();
  return next;
}

/** Before the first iteration, in handles of its own; from zeros by default. */
function begin(times: Product, q: Tensor, start: Tensor | null): Iteration {
  return scope(() => {
    const r = start ? q.sub(times(start)) : q.clone();
    return { x: start ? start.clone() : q.mul(0), r, p: r.clone(), rr: dot(r, r) };
  });
}

/**
 * A fixed number of iterations from a start, as flash-linear-attention runs them: 1e-5 is added to both denominators, which
 * keeps them from 0 and ends the progress early. Differentiable, iteration by iteration.
 */
export function iterate(times: Product, q: Tensor, start: Tensor | null, iterations: number): Tensor {
  const quotient = (a: Tensor, b: Tensor): Tensor => a.div(b.add(1e-5));
  let at = begin(times, q, start);
  for (let i = 0; i < iterations; i++) at = advance(times, at, quotient, quotient);
  return at.x;
}

/** Iterations between two looks at whether any system needs more. */
const BETWEEN_LOOKS = 4;

/**
 * A^-1 q, up to the precision of its dtype. A system that has come to its end stays where it is, so that its result does not
 * depend on the others. Not to be recorded.
 */
export function solve(times: Product, q: Tensor): Tensor {
  const tolerance = q.dtype === 'float64' ? 1e-14 : 2e-7;
  // In exact arithmetic as many iterations as there are unknowns suffice; what is badly conditioned takes some more.
  const most = 4 * q.shape[q.ndim - 1] + 32;
  let at = begin(times, q, null);
  const enough = at.rr.mul(tolerance ** 2);
  const open = (rr: Tensor): Tensor => rr.gt(enough);
  for (let i = 0; i < most; i++) {
    if (i % BETWEEN_LOOKS === 0 && !open(at.rr).any().item()) break;
    at = advance(
      times,
      at,
      (rr, pAp) => where(open(rr), rr.div(pAp), 0),
      (next, rr) => where(open(rr), next.div(rr), 0),
    );
  }
  return at.x;
}
