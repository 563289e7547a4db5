// One backward pass: nodes in reverse order of creation, each gradient freed as soon as it is used.
import {
  argumentError,
  FastWeightsError,
  formatShape,
  operators,
  sameShape,
  Scope,
  scope,
  Storage,
  Tensor,
} from '../core';
import { getBackend } from '../backends';
import { type Edge, edgeOf, type Node } from './tape';

/** A tensor with the gradient that starts at it. */
export interface Root {
  tensor: Tensor;
  gradient: Tensor;
}

export interface PassOptions {
  retainGraph?: boolean;
  /** The only leaves that get gradients. */
  wanted?: ReadonlySet<Tensor>;
  /** Whether the other leaves' gradients go to the pass that is under way, around this one. */
  inside?: boolean;
}

/** The pass whose node computes now; passes are synchronous. */
let underWay: Pass | null = null;

/**
 * Adds gradients to `.grad` of leaves; runs without recording. What cannot be used is found out before anything is changed.
 * Where a pass runs functions of users (`checkpoint`) and one of them throws, no `.grad` has changed, either; an error of the
 * device on the way may leave some that were there before with a part of what was to be added.
 */
export function runBackward(roots: readonly Root[], options: PassOptions = {}): void {
  using pass = new Pass(options, options.inside ? underWay : null);
  const around = underWay;
  underWay = pass;
  try {
    pass.run(roots);
  } finally {
    underWay = around;
  }
}

class Pass {
  /** Owns the gradients on their way. */
  private readonly scope = new Scope();
  /** What has arrived at the outputs of each node. */
  private readonly arrived = new Map<Node, (Tensor | null)[]>();
  /** What has arrived at each leaf and is not in its `.grad` yet. */
  private readonly leaves = new Map<Tensor, Tensor | null>();
  /** Whether every `.grad` stays as it is until the end. */
  private careful = false;

  constructor(
    private readonly options: PassOptions,
    private readonly around: Pass | null,
  ) {}

  run(roots: readonly Root[]): void {
    for (const { tensor } of roots) this.collect(edgeOf(tensor));
    for (const node of this.arrived.keys()) node.check();
    for (const leaf of this.leaves.keys()) checkGradient(leaf);
    this.careful = this.around !== null || [...this.arrived.keys()].some((node) => node.runsUsers);
    // The pass frees what it is given, so the caller's gradient goes in under a handle of its own.
    scope(() => {
      for (const { tensor, gradient } of roots) this.deliver(edgeOf(tensor), gradient.detach());
    });
    const order = [...this.arrived.keys()].sort((a, b) => b.id - a.id);
    for (const node of order) {
      const gradients = this.arrived.get(node)!;
      if (gradients.some((g) => g !== null)) {
        scope(() => {
          node
            .apply(gradients, (i) => this.soFar(node.edges[i]))
            .forEach((g, i) => {
              if (g) this.deliver(node.edges[i], g);
            });
        });
        for (const g of gradients) g?.dispose();
      }
      this.arrived.delete(node);
      if (!this.options.retainGraph) node.free();
      node.release();
    }
    this.finish();
  }

  /** Frees what is on its way, and lets go of the graph. */
  [Symbol.dispose](): void {
    for (const node of this.arrived.keys()) node.release();
    this.scope.dispose();
  }

  /** Finds every node and leaf that a gradient can reach. A leaf that was disposed has nowhere to put one. */
  private collect(start: Edge): void {
    const stack: Edge[] = [start];
    for (let edge = stack.pop(); edge !== undefined; edge = stack.pop()) {
      if (!edge) continue;
      if ('leaf' in edge) {
        if (this.takes(edge.leaf)) this.leaves.set(unmoved(edge), null);
      } else if (!this.arrived.has(edge.node)) {
        // Held until its turn: freeing the node after it would otherwise free this one when no tensor leads to it.
        edge.node.retain();
        this.arrived.set(edge.node, new Array<Tensor | null>(edge.node.outputs).fill(null));
        for (const before of edge.node.edges) stack.push(before);
      }
    }
  }

  private takes(leaf: Tensor): boolean {
    const { wanted, inside } = this.options;
    return !leaf.isDisposed && (wanted === undefined || inside || wanted.has(leaf));
  }

  /** What has arrived at an edge, if it may be added to in place. */
  private soFar(edge: Edge): Tensor | null {
    const gradient = !edge
      ? null
      : 'leaf' in edge
        ? this.soFarOf(edge.leaf)
        : this.arrived.get(edge.node)![edge.output];
    if (!gradient?.isContiguous || !gradient.storage.isUnshared) return null;
    gradient.storage.version++;
    return gradient;
  }

  private soFarOf(leaf: Tensor): Tensor | null {
    return this.leaves.get(leaf) ?? (this.careful || !this.leaves.has(leaf) ? null : leaf.grad);
  }

  /** Adds a gradient that the innermost scope owns to what has arrived at an edge. */
  private deliver(edge: Edge, gradient: Tensor): void {
    if (!edge) return;
    if ('leaf' in edge) return this.deliverTo(edge.leaf, gradient);
    const slots = this.arrived.get(edge.node)!;
    slots[edge.output] = this.sum(slots[edge.output], gradient);
  }

  private deliverTo(leaf: Tensor, gradient: Tensor): void {
    if (!this.leaves.has(leaf)) return;
    if (!sameShape(leaf.shape, gradient.shape)) {
      const [expected, found] = [formatShape(leaf.shape), formatShape(gradient.shape)];
      const message = `backward: a gradient of shape ${found} reached a leaf of shape ${expected}`;
      throw new FastWeightsError('GRAPH', message, { expected, found });
    }
    const before = this.leaves.get(leaf)!;
    if (!before && leaf.grad && !this.careful) operators().addInPlace(leaf.grad, gradient);
    else this.leaves.set(leaf, this.sum(before, gradient));
  }

  private sum(before: Tensor | null, gradient: Tensor): Tensor {
    if (!before) return this.scope.take(gradient);
    if (before.isContiguous && before.storage.isUnshared) {
      operators().addInPlace(before, gradient);
      return before;
    }
    const sum = this.scope.take(operators().add(before, gradient));
    before.dispose();
    return sum;
  }

  /** Leaves get what has arrived, or zeros. */
  private finish(): void {
    const { wanted } = this.options;
    for (const [leaf, gradient] of this.leaves) {
      scope(() => {
        if (wanted !== undefined && !wanted.has(leaf)) {
          if (gradient && this.around) this.around.takeOver(leaf, gradient);
        } else if (gradient && leaf.grad) operators().addInPlace(leaf.grad, gradient);
        else if (gradient) {
          const own = gradient.isContiguous && gradient.storage.isUnshared;
          leaf.grad = own ? gradient : operators().clone(gradient);
        } else leaf.grad ??= zerosFor(leaf);
      });
    }
  }

  /** The gradient of a leaf from a pass inside this one. */
  private takeOver(leaf: Tensor, gradient: Tensor): void {
    this.leaves.set(leaf, this.sum(this.leaves.get(leaf) ?? null, gradient));
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

/** Anybody may have set the `.grad` of a leaf. */
function checkGradient(leaf: Tensor): void {
  const { grad } = leaf;
  if (!grad) return;
  if (sameShape(grad.shape, leaf.shape) && grad.dtype === leaf.dtype && grad.device === leaf.device) return;
  const describe = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
  throw argumentError('GRAPH', 'backward', 'grad', `${describe(leaf)} like its leaf`, describe(grad));
}

function zerosFor(leaf: Tensor): Tensor {
  const backend = getBackend(leaf.device);
  const y = new Tensor(new Storage(backend, leaf.dtype, leaf.size), leaf.shape);
  return operators().fillInPlace(y, 0);
}
