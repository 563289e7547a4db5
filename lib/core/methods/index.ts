// The methods of a tensor that compute, by kind. Only their types stand here; `ops/` brings the operators behind them when
// the package root loads, one for each, as the compiler sees to.
import type { Tensor } from '../tensor';
import type { ElementwiseMethods } from './elementwise';
import type { IndexingMethods } from './indexing';
import type { ReductionMethods } from './reductions';
import type { ShapeMethods } from './shapes';

export type { CloseOptions } from './elementwise';
export type * from './indexing';
export type * from './reductions';
export * from './shapes';

/** Gets a gradient; may return another of the same shape, dtype and device to go on with. */
export type TensorHook = (gradient: Tensor) => Tensor | null | undefined | void;

/** What takes a hook away again. */
export interface HookHandle {
  /** The hook runs no more; calling it twice is harmless. */
  remove(): void;
}

/** Options of `backward`. */
export interface BackwardOptions {
  /** Keeps the graph, so that another pass may run through it; `createGraph` by default. */
  retainGraph?: boolean;
  /** Makes the gradients results of the graph themselves, for gradients of gradients; false by default. */
  createGraph?: boolean;
}

/** Everything that computes. */
export interface TensorMethods extends ElementwiseMethods, ShapeMethods, ReductionMethods, IndexingMethods {
  /**
   * Adds the gradient of this tensor to `.grad` of every leaf of its graph. `gradient` is that of the tensor itself: 1 when it
   * has one element, else required, of its shape, dtype and device (SHAPE, DTYPE, DEVICE). The graph is freed on the way unless
   * `retainGraph`; one that was freed is GRAPH. With `createGraph` what is added is a result of the graph itself (see
   * `gradients`), and `.grad` holds its graph until it is disposed. After `torch.Tensor.backward`.
   */
  backward(gradient?: Tensor, options?: BackwardOptions): void;

  /**
   * Calls `fn` with the gradient of this tensor, a leaf or a result, in every backward pass that computes one, when all of
   * its parts are added up and before anything is done with it: it goes on, into `.grad`, or is returned by `gradients`. A
   * tensor of the same shape, dtype and device that `fn` returns takes its place; it must not be changed in place (GRAPH).
   * `fn` runs without recording (unless `createGraph`), in the scope that `backward` was called in, which owns the
   * gradient it gets. When it throws, no `.grad` has changed. GRAPH where the tensor requires no gradient. After
   * `torch.Tensor.register_hook`.
   */
  registerHook(fn: TensorHook): HookHandle;
}

type Operator<M> = M extends (...args: infer A) => infer R ? (x: Tensor, ...args: A) => R : never;

/** The operator behind each method, whose first argument is what the method is called on. */
export type Operators = { readonly [K in keyof TensorMethods]: Operator<TensorMethods[K]> };
