// Gradients as functions, and their check against central differences.
import {
  argumentError,
  checkNumber,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  refusePromise,
  scope,
  Tensor,
} from '../core';
import { backwardTo } from './backward';
import { takeGradient } from './checkpoint';
import { enableGrad, noGrad } from './mode';

type ScalarFunction<A extends Tensor[]> = (...inputs: A) => Tensor;

/**
 * The function that computes the gradients of a scalar function: of its only argument, or a list with one gradient for
 * each argument. The inputs themselves are left alone.
 */
export function grad(fn: (x: Tensor) => Tensor): (x: Tensor) => Tensor;
export function grad<A extends Tensor[]>(fn: ScalarFunction<A>): (...inputs: A) => Tensor[];
export function grad(fn: ScalarFunction<Tensor[]>): (...inputs: Tensor[]) => Tensor | Tensor[] {
  return (...inputs) =>
    scope(() => {
      const leaves = inputs.map((t) => asLeaf(t));
      const value = enableGrad(() => scalarOf('grad', fn(...leaves)));
      backwardTo(value, new Set(leaves));
      const gradients = leaves.map((leaf) => takeGradient(leaf)!);
      return gradients.length === 1 ? gradients[0] : gradients;
    });
}

function scalarOf(where: string, result: unknown): Tensor {
  if (refusePromise(where, result) instanceof Tensor) return result as Tensor;
  throw argumentError('INVALID_ARGUMENT', where, 'fn', 'a function of tensors to a tensor', describe(result));
}

function asLeaf(t: Tensor): Tensor {
  const leaf = t.detach();
  leaf.requiresGrad = true;
  return leaf;
}

export interface GradcheckOptions {
  /** The step, 1e-6 by default; above 0. */
  eps?: number;
  /** The largest difference allowed, relative to the larger of 1 and the gradient; 1e-6 by default. */
  tolerance?: number;
}

const OPTIONS: OptionNames<GradcheckOptions> = { eps: true, tolerance: true };

/**
 * Compares the gradients of `fn` (to a tensor with one element) with central differences at `inputs` (float64, on `js`).
 * Returns true, or throws GRAPH naming the input and the element that differ.
 */
export function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): true {
  checkOptions('gradcheck', options, OPTIONS);
  const { eps = 1e-6, tolerance = 1e-6 } = options;
  if (checkNumber('gradcheck', 'eps', eps, 0) === 0) {
    throw argumentError('INVALID_ARGUMENT', 'gradcheck', 'eps', 'above 0', '0');
  }
  checkNumber('gradcheck', 'tolerance', tolerance, 0);
  inputs.forEach((t, i) => {
    if (t.dtype !== 'float64') throw argumentError('DTYPE', 'gradcheck', `inputs[${i}]`, 'float64', t.dtype);
  });
  inputs.forEach((t, i) => {
    if (!t.isContiguous) throw argumentError('SHAPE', 'gradcheck', `inputs[${i}]`, 'contiguous', 'a strided view');
  });
  const evaluate = (): number => noGrad(() => scope(() => scalarOf('gradcheck', fn(...inputs)).item()));
  scope(() => {
    const leaves = inputs.map((t) => asLeaf(t));
    const value = enableGrad(() => scalarOf('gradcheck', fn(...leaves)));
    backwardTo(value, new Set(leaves));
    leaves.forEach((leaf, i) => {
      const analytic = leaf.grad!.dataSync();
      const values = inputs[i].dataSync() as Float64Array;
      const { memory, handle } = inputs[i].storage;
      for (let j = 0; j < values.length; j++) {
        const center = values[j];
        const evaluateAt = (x: number): number => {
          values[j] = x;
          memory.write(handle, inputs[i].offset, values);
          return evaluate();
        };
        let numeric: number;
        try {
          numeric = (evaluateAt(center + eps) - evaluateAt(center - eps)) / (2 * eps);
        } finally {
          values[j] = center;
          memory.write(handle, inputs[i].offset, values);
        }
        const error = Math.abs(numeric - analytic[j]) / Math.max(1, Math.abs(numeric));
        if (!(error <= tolerance)) refuse(`inputs[${i}]`, j, analytic[j], numeric);
      }
    });
  });
  return true;
}

function refuse(argument: string, element: number, analytic: number, numeric: number): never {
  const message = `gradcheck: ${argument} differs at element ${element}: backward ${analytic}, differences ${numeric}`;
  throw new FastWeightsError('GRAPH', message, { argument, expected: String(numeric), found: String(analytic) });
}
