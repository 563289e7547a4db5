// `backward`: what it is given is checked, then a pass runs.
import {
  argumentError,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  operators,
  type OptionNames,
  sameShape,
  scope,
  Storage,
  Tensor,
} from '../core';
import { getBackend } from '../backends';
import { noGrad } from './mode';
import { type PassOptions, runBackward } from './pass';

export interface BackwardOptions {
  retainGraph?: boolean;
}

const OPTIONS: OptionNames<BackwardOptions> = { retainGraph: 'flag' };

/**
 * Adds the gradient of `root` to `.grad` of every leaf of its graph. `gradient` is that of the root itself: 1 when it
 * has one element, else required, of the root's shape and dtype. The graph is freed on the way unless `retainGraph`.
 */
export function backward(root: Tensor, gradient?: Tensor, options: BackwardOptions = {}): void {
  checkOptions('backward', options, OPTIONS);
  checkRoot(root, gradient);
  start(root, gradient, options);
}

function checkRoot(root: Tensor, gradient: Tensor | undefined): void {
  root.checkAlive('backward');
  if (!root.requiresGrad) {
    throw new FastWeightsError('GRAPH', 'backward: the tensor does not depend on anything that requires a gradient');
  }
  if (!gradient && root.size !== 1) {
    throw argumentError('SHAPE', 'backward', 'gradient', `given, of shape ${formatShape(root.shape)}`, 'nothing');
  }
  if (gradient) {
    if (!(gradient instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', 'backward', 'gradient', 'a Tensor', describe(gradient));
    }
    gradient.checkAlive('backward');
    if (!sameShape(gradient.shape, root.shape)) {
      throw argumentError('SHAPE', 'backward', 'gradient', formatShape(root.shape), formatShape(gradient.shape));
    }
    if (gradient.dtype !== root.dtype) {
      throw argumentError('DTYPE', 'backward', 'gradient', root.dtype, gradient.dtype);
    }
    if (gradient.device !== root.device) {
      throw argumentError('DEVICE', 'backward', 'gradient', `on '${root.device}'`, `'${gradient.device}'`);
    }
  }
}

/** Runs a pass from a root with one element, for `wanted` leaves only. */
export function backwardTo(root: Tensor, wanted: ReadonlySet<Tensor>): void {
  checkRoot(root, undefined);
  start(root, undefined, { wanted });
}

function start(root: Tensor, gradient: Tensor | undefined, options: PassOptions): void {
  noGrad(() => scope(() => runBackward([{ tensor: root, gradient: gradient ?? oneFor(root) }], options)));
}

function oneFor(root: Tensor): Tensor {
  const backend = getBackend(root.device);
  const y = new Tensor(new Storage(backend, root.dtype, root.size), root.shape);
  return operators().fillInPlace(y, 1);
}
