// Functions that see gradients on their way.
import {
  argumentError,
  describe,
  FastWeightsError,
  type GraphNode,
  type HookHandle,
  refusePromise,
  Tensor,
  type TensorHook,
} from '../core';
import { checkGradientLike } from './check';
import { edgeOf } from './tape';

/** By leaf or node, and by the node's output; a leaf has one of its own. */
const hooks = new WeakMap<Tensor | GraphNode, Map<number, Set<{ fn: TensorHook }>>>();
/** How many were ever set: none is the common case. */
let everSet = false;

/** See `Tensor.registerHook`. */
export function registerHook(t: Tensor, fn: TensorHook): HookHandle {
  const where = 'registerHook';
  t.checkAlive(where);
  if (typeof fn !== 'function') throw argumentError('INVALID_ARGUMENT', where, 'fn', 'a function', describe(fn));
  if (!t.requiresGrad) {
    throw new FastWeightsError('GRAPH', `${where}: the tensor requires no gradient, so that none will come`);
  }
  const edge = edgeOf(t);
  const [key, output] = 'leaf' in edge ? [edge.leaf, 0] : [edge.node, edge.output];
  let outputs = hooks.get(key);
  if (!outputs) hooks.set(key, (outputs = new Map<number, Set<{ fn: TensorHook }>>()));
  let list = outputs.get(output);
  if (!list) outputs.set(output, (list = new Set()));
  const entry = { fn };
  list.add(entry);
  everSet = true;
  return { remove: () => void list.delete(entry) };
}

/** Whether there is one on a leaf, or on any output of a node. */
export function hasHooks(of: Tensor | GraphNode): boolean {
  if (!everSet) return false;
  const outputs = hooks.get(of);
  return outputs !== undefined && [...outputs.values()].some((list) => list.size > 0);
}

/** The gradient that the hooks of a leaf or an output leave, in the order they were set; itself without any. */
export function throughHooks(of: Tensor | GraphNode, output: number, gradient: Tensor): Tensor {
  let current = gradient;
  for (const { fn } of hooks.get(of)?.get(output) ?? []) {
    const { version } = current.storage;
    const result: unknown = refusePromise('registerHook', fn(current.another()));
    if (current.storage.version !== version) {
      const message =
        'registerHook: a hook changed its gradient in place; it may belong to others, so return another one';
      throw new FastWeightsError('GRAPH', message, { argument: 'gradient' });
    }
    if (result === undefined || result === null) continue;
    if (!(result instanceof Tensor)) {
      throw argumentError(
        'INVALID_ARGUMENT',
        'registerHook',
        'fn',
        'one that returns a Tensor or nothing',
        describe(result),
      );
    }
    checkGradientLike('registerHook', 'the gradient that fn returned', result, gradient);
    current = result;
  }
  return current;
}
