// Gradients as functions, and their check against central differences.
import {
  argumentError,
  checkFunction,
  checkNumber,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  refusePromise,
  scope,
  Tensor,
} from '../core';
import { checkTensors } from './check';
import { enableGrad, noGrad } from './mode';
import { filled, runBackward } from './pass';

type ScalarFunction<A extends Tensor[]> = (...inputs: A) => Tensor;

/**
 * The function that computes the gradients of a scalar function: of its only argument, or a list with one gradient for
 * each argument, zeros where the value does not depend on it. The inputs themselves are left alone. `gradients` gives those
 * of tensors that are there already, and gradients of gradients.
 */
export function grad(fn: (x: Tensor) => Tensor): (x: Tensor) => Tensor;
export function grad<A extends Tensor[]>(fn: ScalarFunction<A>): (...inputs: A) => Tensor[];
export function grad(fn: ScalarFunction<Tensor[]>): (...inputs: Tensor[]) => Tensor | Tensor[] {
  checkFunction('grad', 'fn', fn);
  return (...inputs) => {
    checkTensors('grad', 'inputs', inputs);
    return scope(() => {
      const found = gradientsAt('grad', fn, inputs, false);
      return found.length === 1 ? found[0] : found;
    });
  };
}

/** The gradients of `fn` at tensors, with recording on; with `createGraph` they depend on the inputs that require one. */
function gradientsAt(
  where: string,
  fn: ScalarFunction<Tensor[]>,
  inputs: readonly Tensor[],
  createGraph: boolean,
): Tensor[] {
  const leaves = inputs.map((t) => (createGraph && t.requiresGrad ? t : asLeaf(t)));
  const tensor = enableGrad(() => scalarOf(where, fn(...leaves)));
  if (tensor.size !== 1) throw argumentError('SHAPE', where, 'fn', 'a function to one element', `${tensor.size}`);
  const found = tensor.requiresGrad ? runBackward([{ tensor, gradient: null }], { inputs: leaves, createGraph }) : [];
  return leaves.map((leaf, i) => found[i] ?? filled(leaf, 0));
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

/** Options of `gradcheck` and `gradgradcheck`. */
export interface GradcheckOptions {
  /** The step, 1e-6 by default; above 0. */
  eps?: number;
  /** The largest difference allowed, relative to the larger of 1 and the gradient; 1e-6 by default. */
  tolerance?: number;
}

const OPTIONS: OptionNames<GradcheckOptions> = { eps: true, tolerance: true };

/**
 * Compares the gradients of `fn` (to a tensor with one element) with central differences at `inputs` (float64, on `js`,
 * contiguous). Returns true, or throws GRAPH naming the input and the element that differ. After `torch.autograd.gradcheck`.
 */
export function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): true {
  return compare('gradcheck', fn, inputs, options, false);
}

/**
 * Compares the gradients of `fn` that are computed with `createGraph`, and the gradients of these, with central differences;
 * see `gradcheck`. UNSUPPORTED where an operator has no gradient of its gradient. After `torch.autograd.gradgradcheck`.
 */
export function gradgradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): true {
  const where = 'gradgradcheck';
  compare(where, fn, inputs, options, true);
  // Along a direction in which no two elements count alike.
  const along = (...points: Tensor[]): Tensor =>
    enableGrad(() =>
      // The differences are those of ordinary gradients.
      gradientsAt(
        where,
        fn,
        points,
        points.some((t) => t.requiresGrad),
      )
        .map((g, i) => g.mul(directionLike(g, i)).sum())
        .reduce((a, b) => a.add(b)),
    );
  return compare(where, along, inputs, options, true);
}

function directionLike(g: Tensor, seed: number): Tensor {
  const d = filled(g, 0);
  const values = Float64Array.from({ length: d.size }, (_, j) => Math.sin(1 + seed + 1.7 * j));
  d.storage.memory.write(d.storage.handle, 0, values);
  return d;
}

function compare(
  where: string,
  fn: ScalarFunction<Tensor[]>,
  inputs: readonly Tensor[],
  options: GradcheckOptions,
  createGraph: boolean,
): true {
  checkFunction(where, 'fn', fn);
  checkTensors(where, 'inputs', inputs);
  checkOptions(where, options, OPTIONS);
  const { eps = 1e-6, tolerance = 1e-6 } = options;
  if (checkNumber(where, 'eps', eps, 0) === 0) throw argumentError('INVALID_ARGUMENT', where, 'eps', 'above 0', '0');
  checkNumber(where, 'tolerance', tolerance, 0);
  inputs.forEach((t, i) => {
    if (t.dtype !== 'float64') throw argumentError('DTYPE', where, `inputs[${i}]`, 'float64', t.dtype);
  });
  inputs.forEach((t, i) => {
    if (!t.isContiguous) throw argumentError('SHAPE', where, `inputs[${i}]`, 'contiguous', 'a strided view');
  });
  const evaluate = (): number => noGrad(() => scope(() => scalarOf(where, fn(...inputs)).item()));
  scope(() => {
    const leaves = inputs.map((t) => asLeaf(t));
    gradientsAt(where, fn, leaves, createGraph).forEach((gradient, i) => {
      const analytic = gradient.dataSync();
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
        if (!(error <= tolerance)) refuse(where, `inputs[${i}]`, j, analytic[j], numeric);
      }
    });
  });
  return true;
}

function refuse(where: string, argument: string, element: number, analytic: number, numeric: number): never {
  const message = `${where}: ${argument} differs at element ${element}: backward ${analytic}, differences ${numeric}`;
  throw new FastWeightsError('GRAPH', message, { argument, expected: String(numeric), found: String(analytic) });
}
