// The gated feed-forward's elementwise part.
import { type Tensor } from '../core';
import { type BackwardFunction, record, throughComposition } from '../autograd';
import { mul, silu } from './elementwise';
import { checkAlike, checkFloat, checkShape, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { contiguous } from './view';

/** silu(gate) * up, in one pass (Shazeer 2020). */
export const swiglu = takesBfloat16((gate: Tensor, up: Tensor): Tensor => {
  checkFloat('swiglu', 'gate', gate);
  checkFloat('swiglu', 'up', up);
  checkAlike('swiglu', 'up', up, gate, 'gate');
  checkShape('swiglu', 'up', up, gate.shape, 'like gate');
  const [a, b] = [contiguous(gate), contiguous(up)];
  const n = gate.size;
  const y = emptyLike(gate);
  kernelsOf(gate).swiglu({ gate: a, up: b, y, n });
  const back: BackwardFunction = ([g], [sa, sb]) => {
    if (!g) return [];
    const [dgate, dup] = [emptyLike(sa), emptyLike(sb)];
    kernelsOf(sa).swigluBackward({ gate: sa, up: sb, dy: contiguous(g), dgate, dup, n });
    return [dgate, dup];
  };
  const recorded: BackwardFunction = ([g], inputs) => throughComposition((p, q) => mul(silu(p), q), inputs, [g]);
  record('swiglu', [gate, up], [y], [a, b], back, recorded);
  return y;
});
