// The backward pass: nodes in reverse order of creation, each gradient freed as soon as it is used.
import {
  argumentError,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  operators,
  ownedHere,
  type OptionNames,
  sameShape,
  Scope,
  scope,
  Storage,
  Tensor,
} from '../core';
import { getBackend } from '../backends';
import { noGrad } from './mode';
import { type Edge, edgeOf, type Node } from './tape';

/** A tensor with the gradient that starts at it. */
export interface Root {
  tensor: Tensor;
  gradient: Tensor;
}

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
  noGrad(() =>
    scope(() => {
      runBackward([{ tensor: root, gradient: gradient ?? filled(root, 1) }], options.retainGraph ?? false);
    }),
  );
}

/** Gradients that have arrived at the outputs of each node; they are owned by the pass. */
type Arrived = Map<Node, (Tensor | null)[]>;

/**
 * The pass itself, from several roots at once; runs without recording. A graph that cannot be used is found out before
 * anything is changed. Whatever fails later, nothing is left of the pass but the gradients that leaves have got.
 */
export function runBackward(roots: readonly Root[], retainGraph: boolean): void {
  using pass = new Scope();
  const arrived: Arrived = new Map();
  const leaves = new Set<Tensor>();
  try {
    for (const { tensor } of roots) collect(edgeOf(tensor), arrived, leaves);
    for (const node of arrived.keys()) node.check();
    // The pass frees what it is given, so the caller's gradient goes in under a handle of its own.
    scope(() => {
      for (const { tensor, gradient } of roots) deliver(edgeOf(tensor), gradient.detach(), pass, arrived, leaves);
    });
    const order = [...arrived.keys()].sort((a, b) => b.id - a.id);
    for (const node of order) {
      const gradients = arrived.get(node)!;
      if (gradients.some((g) => g !== null)) {
        scope(() => {
          node
            .apply(gradients, (i) => soFar(node.edges[i], arrived))
            .forEach((g, i) => {
              if (g && node.edges[i]) deliver(node.edges[i], g, pass, arrived, leaves);
            });
        });
        for (const g of gradients) g?.dispose();
      }
      arrived.delete(node);
      if (!retainGraph) node.free();
      node.release();
    }
    for (const leaf of leaves) leaf.grad ??= scope(() => filled(leaf, 0)).persist();
  } finally {
    for (const node of arrived.keys()) node.release();
  }
}

/** Finds every node and leaf that a gradient can reach. */
function collect(start: Edge, nodes: Arrived, leaves: Set<Tensor>): void {
  const stack: Edge[] = [start];
  for (let edge = stack.pop(); edge !== undefined; edge = stack.pop()) {
    if (!edge) continue;
    if ('leaf' in edge) leaves.add(unmoved(edge));
    else if (!nodes.has(edge.node)) {
      // Held until its turn: freeing the node after it would otherwise free this one when no tensor leads to it.
      edge.node.retain();
      nodes.set(edge.node, new Array<Tensor | null>(edge.node.outputs).fill(null));
      for (const before of edge.node.edges) stack.push(before);
    }
  }
}

/** A gradient of memory that the leaf has left would have another dtype or device. */
function unmoved({ leaf, storage }: { leaf: Tensor; storage: Storage }): Tensor {
  if (leaf.storage === storage) return leaf;
  throw new FastWeightsError(
    'GRAPH',
    `backward: a parameter of shape ${formatShape(leaf.shape)} was moved by to() after it was used`,
    { expected: `${storage.dtype} on ${storage.memory.device}`, found: `${leaf.dtype} on ${leaf.device}` },
  );
}

/** What has arrived at an edge, if it may be added to in place. */
function soFar(edge: Edge, arrived: Arrived): Tensor | null {
  const gradient = !edge ? null : 'leaf' in edge ? gradOf(edge.leaf) : arrived.get(edge.node)![edge.output];
  if (!gradient?.isContiguous || !gradient.storage.isUnshared) return null;
  gradient.storage.version++;
  return gradient;
}

/** The `.grad` of a leaf where it is what a backward pass would have put there; anybody may have set it. */
function gradOf(leaf: Tensor): Tensor | null {
  const { grad } = leaf;
  const fits = grad && sameShape(grad.shape, leaf.shape) && grad.dtype === leaf.dtype && grad.device === leaf.device;
  return fits ? grad : null;
}

/** Adds a gradient that the innermost scope owns to what has arrived at an edge. */
function deliver(edge: Edge, gradient: Tensor, pass: Scope, arrived: Arrived, leaves: Set<Tensor>): void {
  if (!edge) return;
  if ('leaf' in edge) {
    accumulate(edge.leaf, gradient);
    leaves.delete(edge.leaf);
    return;
  }
  const slots = arrived.get(edge.node)!;
  const before = slots[edge.output];
  if (!before) slots[edge.output] = pass.take(gradient);
  else if (before.isContiguous && before.storage.isUnshared) operators().addInPlace(before, gradient);
  else {
    slots[edge.output] = pass.take(operators().add(before, gradient));
    before.dispose();
  }
}

function accumulate(leaf: Tensor, gradient: Tensor): void {
  if (!sameShape(leaf.shape, gradient.shape)) {
    throw new FastWeightsError(
      'GRAPH',
      `backward: a gradient of shape ${formatShape(gradient.shape)} reached a leaf of shape ${formatShape(leaf.shape)}`,
    );
  }
  if (leaf.grad && gradOf(leaf) === null) {
    const describe = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
    throw argumentError('GRAPH', 'backward', 'grad', `${describe(leaf)} like its leaf`, describe(leaf.grad));
  }
  if (leaf.grad) operators().addInPlace(leaf.grad, gradient);
  else {
    const fresh = gradient.isContiguous && gradient.storage.isUnshared && ownedHere(gradient);
    leaf.grad = (fresh ? gradient : operators().clone(gradient)).persist();
  }
}

function filled(like: Tensor, value: number): Tensor {
  const backend = getBackend(like.device);
  const y = new Tensor(new Storage(backend, like.dtype, like.size), like.shape);
  return operators().fillInPlace(y, value);
}
