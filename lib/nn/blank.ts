// Weights that are read from a file before anything uses them need not be drawn.
import { callSynchronous, type Shape, type Tensor } from '../core';
import { empty, type TensorOptions } from '../ops';

let blank = false;

/**
 * @internal Runs `fn`, in which the weights of new layers hold whatever their memory held. It is for modules whose parameters
 * are all overwritten before they are used.
 */
export function withBlankWeights<T>(fn: () => T): T {
  const before = blank;
  blank = true;
  try {
    return callSynchronous('withBlankWeights', fn, fn);
  } finally {
    blank = before;
  }
}

/** @internal Whether new weights are drawn now. */
export function drawsWeights(): boolean {
  return !blank;
}

/** @internal A tensor for a parameter: what `draw` draws, unless it is to be overwritten. */
export function newWeight(shape: Shape, options: TensorOptions, draw: () => Tensor): Tensor {
  return blank ? empty('parameter', shape, options) : draw();
}
