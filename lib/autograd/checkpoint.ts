// Gradient checkpointing: memory for time.
import { generatorState, scope, setGeneratorState, type Tensor } from '../core';
import { runBackward } from './backward';
import { enableGrad, gradEnabled, noGrad } from './mode';
import { recordAlways } from './tape';

/**
 * Runs `fn` on tensors without keeping its activations, and runs it again in the backward pass to get them. `fn` must
 * depend on nothing but its inputs and parameters; random numbers repeat. Returns what `fn` returns, a tensor or a list.
 */
export function checkpoint<R extends Tensor | Tensor[]>(fn: (...inputs: Tensor[]) => R, ...inputs: Tensor[]): R {
  const random = generatorState();
  const result = noGrad(() => scope(() => fn(...inputs)));
  const outputs: Tensor[] = Array.isArray(result) ? result : [result];
  if (!gradEnabled()) return result;
  recordAlways('checkpoint', inputs, outputs, inputs, (gradients, saved, needs) => {
    const after = generatorState();
    setGeneratorState(random);
    const leaves = saved.map((t, i) => {
      if (needs[i]) t.requiresGrad = true;
      return t;
    });
    enableGrad(() => {
      const again = fn(...leaves);
      const results: Tensor[] = Array.isArray(again) ? again : [again];
      const roots = results.flatMap((tensor, i) => {
        const gradient = gradients[i];
        return gradient && tensor.requiresGrad ? [{ tensor, gradient: gradient.detach() }] : [];
      });
      noGrad(() => runBackward(roots, false));
    });
    setGeneratorState(after);
    return leaves.map((t) => handOver(t));
  });
  return result;
}

/** The gradient that a leaf collected, given back to the surrounding scope. */
function handOver(leaf: Tensor): Tensor | null {
  if (!leaf.grad) return null;
  const gradient = leaf.grad.detach();
  leaf.grad.dispose();
  leaf.grad = null;
  return gradient;
}
