// Gradient checkpointing: memory for time.
import {
  argumentError,
  checkFunction,
  describe,
  FastWeightsError,
  formatShape,
  Generator,
  generatorState,
  refusePromise,
  sameShape,
  scope,
  type Shape,
  Tensor,
  withGenerator,
} from '../core';
import { againForward } from './anomaly';
import { checkTensors } from './check';
import { runBackward } from './pass';
import { beforeAgain, enableGrad, gradEnabled, noGrad } from './mode';
import { type BackwardFunction, recordAlways } from './tape';

/**
 * Runs the synchronous function `fn` on tensors without keeping its activations, and runs it again in the backward pass to
 * get them. `fn` must depend on nothing but its inputs and parameters; random numbers repeat. Returns what `fn` returns, a
 * tensor or a list.
 */
export function checkpoint<R extends Tensor | Tensor[]>(fn: (...inputs: Tensor[]) => R, ...inputs: Tensor[]): R {
  checkFunction('checkpoint', 'fn', fn);
  checkTensors('checkpoint', 'inputs', inputs);
  const { seed, stream } = generatorState();
  // Handles of their own, for `fn` may return what was there before.
  const firstly = gradEnabled() ? beforeAgain : noGrad;
  const { outputs, isList } = firstly(() =>
    scope(() => {
      const result = fn(...inputs);
      return { outputs: listOf(result).map((t) => t.detach()), isList: Array.isArray(result) };
    }),
  );
  const result = (isList ? outputs : outputs[0]) as R;
  if (!gradEnabled()) return result;
  const shapes = outputs.map((t) => t.shape);
  const back: BackwardFunction = (gradients, leaves, needs) => {
    needs.forEach((needed, i) => {
      if (needed) leaves[i].requiresGrad = true;
    });
    const again = withGenerator(new Generator(seed, stream), () =>
      againForward(() => enableGrad(() => listOf(fn(...leaves)))),
    );
    checkAgain(again, shapes);
    const roots = again.flatMap((tensor, i) => {
      const gradient = gradients[i];
      return gradient && tensor.requiresGrad ? [{ tensor, gradient, consumed: true }] : [];
    });
    const inputGradients = runBackward(roots, { inputs: leaves.filter((_, i) => needs[i]), inside: true });
    return needs.map((needed) => (needed ? inputGradients.shift() : null));
  };
  recordAlways('checkpoint', inputs, outputs, inputs, back, null, 'checkpoint');
  return result;
}

function listOf(result: unknown): Tensor[] {
  const list: unknown[] = Array.isArray(result) ? result : [refusePromise('checkpoint', result)];
  const stranger = list.find((t) => !(t instanceof Tensor));
  if (stranger === undefined) return list as Tensor[];
  throw argumentError('INVALID_ARGUMENT', 'checkpoint', 'fn', 'a function of tensors to tensors', describe(stranger));
}

function checkAgain(again: readonly Tensor[], first: readonly Shape[]): void {
  if (again.length === first.length && again.every((t, i) => sameShape(t.shape, first[i]))) return;
  const expected = first.map(formatShape).join(', ');
  const found = again.map((t) => formatShape(t.shape)).join(', ');
  throw new FastWeightsError(
    'GRAPH',
    `checkpoint: fn returned ${found} when it ran again, and ${expected} at first; it must depend on its inputs only`,
    { argument: 'fn', expected, found },
  );
}
