// Gradients of gradients through a composition that an operator stands for.
import type { Tensor } from '../core';
import { runBackward } from './pass';
import { record } from './tape';

/**
 * The gradients that `fn`, a composition of differentiable operators with the values of an operator, has at `inputs`, as part
 * of the graph: null for an input that is null or that no gradient flows to. `gradients` are those of its results.
 */
export function throughComposition(
  fn: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
  inputs: readonly (Tensor | null)[],
  gradients: readonly (Tensor | null)[],
): (Tensor | null)[] {
  const begin = inputs.map((t) => t && beginAt(t));
  const results = fn(...(begin as Tensor[]));
  const roots = (Array.isArray(results) ? (results as Tensor[]) : [results as Tensor]).flatMap((tensor, i) => {
    const gradient = gradients[i];
    return gradient && tensor.requiresGrad ? [{ tensor, gradient }] : [];
  });
  const asked = begin.filter((t) => t !== null && t.requiresGrad) as Tensor[];
  const found = runBackward(roots, { inputs: asked, createGraph: true });
  return begin.map((t) => (t?.requiresGrad ? found.shift()! : null));
}

/** A node of its own: what is asked for is the way through the composition alone, not from one input to another. */
function beginAt(t: Tensor): Tensor {
  const begin = t.detach();
  record('another', [t], [begin], [], ([g]) => [g], 'composed');
  return begin;
}
