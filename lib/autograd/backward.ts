// `backward` and `gradients`: what they are given is checked, then a pass runs.
import {
  argumentError,
  type BackwardOptions,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  type OptionNames,
  Tensor,
} from '../core';
import { checkGradientLike } from './check';
import { type Root, runBackward } from './pass';

const OPTIONS: OptionNames<BackwardOptions> = { retainGraph: 'flag', createGraph: 'flag' };

/** See `Tensor.backward`. */
export function backward(root: Tensor, gradient?: Tensor, options: BackwardOptions = {}): void {
  checkOptions('backward', options, OPTIONS);
  runBackward([rootOf('backward', 'gradient', root, gradient)], options);
}

function rootOf(where: string, argument: string, tensor: Tensor, gradient: Tensor | null | undefined): Root {
  tensor.checkAlive(where);
  if (!tensor.requiresGrad) {
    throw new FastWeightsError('GRAPH', `${where}: the tensor does not depend on anything that requires a gradient`);
  }
  if (gradient !== null && gradient !== undefined) checkGradientLike(where, argument, gradient, tensor);
  else if (tensor.size !== 1) {
    throw argumentError('SHAPE', where, argument, `given, of shape ${formatShape(tensor.shape)}`, 'nothing');
  }
  return { tensor, gradient: gradient ?? null };
}

/** Options of `gradients`. */
export interface GradientsOptions extends BackwardOptions {
  /** Gradients of the outputs, of their shapes, dtypes and devices; null, the default, is 1 for one with one element. */
  gradOutputs?: Tensor | readonly (Tensor | null)[] | null;
  /** Whether null stands for the gradient of an input that no output depends on; an error by default. */
  allowUnused?: boolean;
}

const GRADIENTS: OptionNames<GradientsOptions> = {
  ...OPTIONS,
  gradOutputs: true,
  allowUnused: 'flag',
};

/**
 * The gradients of the sum of `outputs` with respect to `inputs`, a list with one for each: leaves that require gradients, or
 * results on the way. `.grad` of nothing changes. An input that no output depends on is GRAPH, or null with `allowUnused`; one
 * that the graph reaches without a gradient gets zeros. With `createGraph` the gradients are results of the graph, so that
 * gradients of them can be computed; an operator whose backward pass cannot be part of the graph is UNSUPPORTED then, and
 * named. The graph is freed on the way to the inputs unless `retainGraph`, which is `createGraph` by default. After
 * `torch.autograd.grad`.
 */
export function gradients(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradientsOptions & { allowUnused: true },
): (Tensor | null)[];
export function gradients(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options?: GradientsOptions,
): Tensor[];
export function gradients(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradientsOptions = {},
): (Tensor | null)[] {
  const where = 'gradients';
  checkOptions(where, options, GRADIENTS);
  const { allowUnused = false, gradOutputs = null, retainGraph, createGraph } = options;
  const ys = tensorsOf(where, 'outputs', outputs);
  const xs = tensorsOf(where, 'inputs', inputs);
  const given: unknown = gradOutputs instanceof Tensor ? [gradOutputs] : (gradOutputs ?? ys.map(() => null));
  if (!Array.isArray(given) || given.length !== ys.length) {
    const found = Array.isArray(given) ? String(given.length) : describe(given);
    throw argumentError('INVALID_ARGUMENT', where, 'gradOutputs', `a list of ${ys.length}, one for each output`, found);
  }
  const roots = ys.map((y, i) => rootOf(where, `gradOutputs[${i}]`, y, given[i] as Tensor | null));
  xs.forEach((x, i) => {
    if (!x.requiresGrad) {
      throw argumentError('GRAPH', where, `inputs[${i}]`, 'a tensor that requires a gradient', 'one that does not');
    }
  });
  return runBackward(roots, { inputs: xs, retainGraph, createGraph, unused: allowUnused ? undefined : refuseUnused });
}

function refuseUnused(i: number): never {
  const expected = 'a tensor that the outputs depend on, or allowUnused';
  throw argumentError('GRAPH', 'gradients', `inputs[${i}]`, expected, 'one that they do not depend on');
}

function tensorsOf(where: string, argument: string, given: Tensor | readonly Tensor[]): readonly Tensor[] {
  const list: unknown = given instanceof Tensor ? [given] : given;
  if (!Array.isArray(list) || list.length === 0) {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a Tensor or a list of at least one', describe(given));
  }
  list.forEach((t: unknown, i) => {
    const name = list.length === 1 && given instanceof Tensor ? argument : `${argument}[${i}]`;
    if (!(t instanceof Tensor)) throw argumentError('INVALID_ARGUMENT', where, name, 'a Tensor', describe(t));
    t.checkAlive(where);
  });
  return list as Tensor[];
}
