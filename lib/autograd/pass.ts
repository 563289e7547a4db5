// One backward pass: nodes in reverse order of creation, each gradient freed as soon as it is used.
import {
  argumentError,
  currentScope,
  FastWeightsError,
  formatShape,
  sameShape,
  Scope,
  scope,
  Storage,
  Tensor,
  track,
} from '../core';
import { getBackend } from '../backends';
import { checkedBackward, findsAnomalies } from './anomaly';
import { hasHooks, throughHooks } from './hooks';
import { enableGrad, noGrad } from './mode';
import { type Edge, edgeOf, type Node, unmoved } from './tape';

/** A tensor with the gradient that starts at it, ones where it is null. */
export interface Root {
  tensor: Tensor;
  gradient: Tensor | null;
  /** Whether the pass may dispose the gradient, so that its memory can be added to in place like any other on the way. */
  consumed?: boolean;
}

export interface PassOptions {
  retainGraph?: boolean;
  /** Whether the gradients are recorded; recording is on then, and the graph retained. */
  createGraph?: boolean;
  /** Leaves and results whose gradients are returned; then no `.grad` changes. */
  inputs?: readonly Tensor[];
  /** Called for an input, by its position, where the graph does not lead, before anything is changed. */
  unused?: (i: number) => void;
  /** Whether other leaves' gradients go to the pass that is under way, around this one. */
  inside?: boolean;
}

/** What arrives at an output whose gradient is asked for. */
interface Asked {
  /** Whether the graph leads there. */
  reached: boolean;
  gradient: Tensor | null;
}

/** The pass whose node computes now; passes are synchronous. */
let underWay: Pass | null = null;

/**
 * Adds gradients to `.grad` of leaves, or returns those of `inputs`: each a handle of its own, zeros where nothing arrived,
 * null where the graph does not lead. What cannot be used is found out before anything is changed. Where a pass runs
 * functions of users (`checkpoint`, `defineFunction`, hooks) and one of them throws, no `.grad` has changed, either; an
 * error of the device on the way may leave some that were there before with a part of what was to be added.
 */
export function runBackward(roots: readonly Root[], options: PassOptions = {}): (Tensor | null)[] {
  const around = underWay;
  const surrounding = options.inside ? around : null;
  const atHome = surrounding?.atHome ?? currentScope();
  const run = (): (Tensor | null)[] => {
    using pass = new Pass(options, surrounding, atHome);
    underWay = pass;
    try {
      pass.run(roots);
      return pass.results();
    } finally {
      underWay = around;
    }
  };
  return options.createGraph ? enableGrad(() => scope(run)) : noGrad(() => scope(run));
}

class Pass {
  /** Owns the gradients on their way. */
  private readonly scope = new Scope();
  /** What has arrived at the outputs of each node. */
  private readonly arrived = new Map<Node, (Tensor | null)[]>();
  /** What has arrived at each leaf and is not in its `.grad` yet. */
  private readonly leaves = new Map<Tensor, Tensor | null>();
  private readonly createGraph: boolean;
  private readonly askedLeaves: ReadonlySet<Tensor> | null = null;
  private readonly asked = new Map<Node, Map<number, Asked>>();
  /** The nodes that lead to what is asked for; null for all. */
  private leading: Set<Node> | null = null;
  /** What was given away. */
  private readonly gone = new Set<Tensor>();
  /** Whether every `.grad` stays as it is until the end. */
  private careful = false;

  constructor(
    private readonly options: PassOptions,
    private readonly around: Pass | null,
    /** Runs functions of users in the scope that `backward` was called in. */
    readonly atHome: <T>(fn: () => T) => T,
  ) {
    this.createGraph = options.createGraph === true;
    const { inputs } = options;
    if (!inputs) return;
    const leaves = new Set<Tensor>();
    for (const t of inputs) {
      const edge = edgeOf(t);
      if ('leaf' in edge) {
        leaves.add(t);
        continue;
      }
      const outputs = this.asked.get(edge.node) ?? new Map<number, Asked>();
      this.asked.set(edge.node, outputs.set(edge.output, { reached: false, gradient: null }));
    }
    this.askedLeaves = leaves;
  }

  run(roots: readonly Root[]): void {
    const { createGraph } = this;
    const { retainGraph = createGraph } = this.options;
    for (const { tensor } of roots) this.collect(edgeOf(tensor));
    const order = this.choose();
    for (const node of order) if (this.leads(node)) node.check(createGraph);
    // Inside a checkpoint any leaf may be used.
    if (!order.some((node) => node.runs === 'checkpoint')) this.checkUsed();
    if (!this.askedLeaves || this.options.inside) for (const leaf of this.leaves.keys()) checkGradient(leaf);
    this.careful =
      createGraph || this.around !== null || order.some((node) => node.runs !== 'operator' || hasHooks(node));
    this.careful ||= [...this.leaves.keys()].some((leaf) => hasHooks(leaf) || leaf.grad?.requiresGrad);
    // The pass frees what it is given, so the caller's gradient goes in under a handle of its own.
    scope(() => {
      for (const { tensor, gradient, consumed } of roots) {
        this.deliver(edgeOf(tensor), gradient ? this.handle(gradient) : filled(tensor, 1));
        if (consumed) gradient?.dispose();
      }
    });
    for (const node of order) {
      const gradients = this.arrived.get(node)!;
      if (hasHooks(node)) this.callHooks(node, gradients);
      if (this.asked.size > 0) this.keepAsked(node, gradients);
      if (this.leads(node) && gradients.some((g) => g !== null)) {
        scope(() => {
          this.compute(node, gradients).forEach((g, i) => {
            if (g) this.deliver(node.edges[i], g);
          });
        });
      }
      for (const g of gradients) g?.dispose();
      this.arrived.delete(node);
      if (!retainGraph && this.leads(node)) node.free();
      node.release();
    }
    this.checkUsed();
    this.finish();
  }

  private checkUsed(): void {
    const { inputs = [], unused } = this.options;
    if (unused) inputs.forEach((t, i) => this.slotOf(t) ?? unused(i));
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
        continue;
      }
      const asked = this.asked.get(edge.node)?.get(edge.output);
      if (asked) asked.reached = true;
      if (!this.arrived.has(edge.node)) {
        // Held until its turn: freeing the node after it would otherwise free this one when no tensor leads to it.
        edge.node.retain();
        this.arrived.set(edge.node, new Array<Tensor | null>(edge.node.outputs).fill(null));
        for (const before of edge.node.edges) stack.push(before);
      }
    }
  }

  private takes(leaf: Tensor): boolean {
    return !leaf.isDisposed && (!this.askedLeaves || this.options.inside === true || this.askedLeaves.has(leaf));
  }

  /** The nodes to visit, the last one first; lets go of those that lead to nothing that is asked for. */
  private choose(): Node[] {
    const nodes = [...this.arrived.keys()].sort((a, b) => b.id - a.id);
    if (!this.askedLeaves || this.options.inside) return nodes;
    const leading = (this.leading = new Set<Node>());
    for (const node of [...nodes].reverse()) {
      if (node.runs === 'checkpoint' || node.edges.some((edge) => this.wants(edge))) leading.add(node);
    }
    return nodes.filter((node) => {
      if (leading.has(node) || this.asked.has(node)) return true;
      this.arrived.delete(node);
      node.release();
      return false;
    });
  }

  private leads(node: Node): boolean {
    return this.leading === null || this.leading.has(node);
  }

  /** Whether a gradient for this edge is of use. */
  private wants(edge: Edge): boolean {
    if (!edge || this.leading === null) return edge !== null;
    if ('leaf' in edge) return this.leaves.has(edge.leaf);
    return this.leading.has(edge.node) || (this.asked.get(edge.node)?.has(edge.output) ?? false);
  }

  private compute(node: Node, gradients: (Tensor | null)[]): (Tensor | null | undefined)[] {
    return findsAnomalies() ? this.applyChecked(node, gradients) : this.apply(node, gradients);
  }

  private applyChecked(node: Node, gradients: (Tensor | null)[]): (Tensor | null | undefined)[] {
    return checkedBackward(node, gradients, () => this.apply(node, gradients));
  }

  private apply(node: Node, gradients: (Tensor | null)[]): (Tensor | null | undefined)[] {
    const { edges } = node;
    const needs = this.leading === null ? edges.map((edge) => edge !== null) : edges.map((edge) => this.wants(edge));
    return this.createGraph
      ? node.applyRecorded(gradients, needs)
      : node.apply(gradients, needs, (i) => this.soFar(edges[i]));
  }

  /** Handles of the gradients that are asked for. */
  private keepAsked(node: Node, gradients: readonly (Tensor | null)[]): void {
    for (const [output, slot] of this.asked.get(node) ?? []) {
      const gradient = gradients[output];
      if (gradient) slot.gradient = scope(() => this.scope.take(this.handle(gradient)));
    }
  }

  private callHooks(node: Node, gradients: (Tensor | null)[]): void {
    for (const [output, gradient] of gradients.entries()) {
      if (gradient) gradients[output] = this.hooked(node, output, gradient);
    }
  }

  /** What the hooks leave of a gradient that this pass owns. */
  private hooked(of: Node | Tensor, output: number, gradient: Tensor): Tensor {
    const result = this.atHome(() => throughHooks(of, output, gradient));
    if (result === gradient) return gradient;
    const own = scope(() => this.scope.take(this.handle(result)));
    gradient.dispose();
    return own;
  }

  /** Another handle, in the graph where the pass is recorded. */
  private handle(gradient: Tensor): Tensor {
    return this.createGraph ? gradient.another() : gradient.detach();
  }

  /** What has arrived at an edge, if it may be added to in place. */
  private soFar(edge: Edge): Tensor | null {
    const gradient = !edge
      ? null
      : 'leaf' in edge
        ? this.soFarOf(edge.leaf)
        : (this.arrived.get(edge.node)?.[edge.output] ?? null);
    if (!gradient?.isContiguous || !gradient.storage.isUnshared) return null;
    gradient.storage.version++;
    return gradient;
  }

  private soFarOf(leaf: Tensor): Tensor | null {
    if (this.passesOn(leaf)) return this.around?.soFarOf(leaf) ?? null;
    if (!this.leaves.has(leaf)) return null;
    return this.leaves.get(leaf) ?? (this.careful || this.askedLeaves ? null : leaf.grad);
  }

  /** Adds a gradient that the innermost scope owns to what has arrived at an edge. */
  private deliver(edge: Edge, gradient: Tensor): void {
    if (!edge) return;
    if ('leaf' in edge) return this.deliverTo(edge.leaf, gradient);
    const slots = this.arrived.get(edge.node);
    if (slots) slots[edge.output] = this.sum(slots[edge.output], gradient);
  }

  private deliverTo(leaf: Tensor, gradient: Tensor): void {
    if (!this.leaves.has(leaf)) return;
    if (!sameShape(leaf.shape, gradient.shape)) {
      const [expected, found] = [formatShape(leaf.shape), formatShape(gradient.shape)];
      const message = `backward: a gradient of shape ${found} reached a leaf of shape ${expected}`;
      throw new FastWeightsError('GRAPH', message, { expected, found });
    }
    if (this.passesOn(leaf)) return this.around?.takeOver(leaf, gradient);
    const before = this.leaves.get(leaf)!;
    if (!before && leaf.grad && !this.careful && !this.askedLeaves) leaf.grad.add_(gradient);
    else this.leaves.set(leaf, this.sum(before, gradient));
  }

  private sum(before: Tensor | null, gradient: Tensor): Tensor {
    if (!before) return this.scope.take(this.createGraph ? gradient.another() : gradient);
    if (!this.createGraph && before.isContiguous && before.storage.isUnshared) {
      before.add_(gradient);
      return before;
    }
    const sum = this.scope.take(before.add(gradient));
    before.dispose();
    return sum;
  }

  /** Leaves that nobody asks for get what has arrived, or zeros; users' functions come first. */
  private finish(): void {
    const given: Tensor[] = [];
    for (const [leaf, gradient] of this.leaves) {
      if (this.passesOn(leaf)) continue;
      if (gradient && hasHooks(leaf)) this.leaves.set(leaf, this.hooked(leaf, 0, gradient));
      if (!this.askedLeaves) given.push(leaf);
    }
    for (const leaf of given) scope(() => this.accumulate(leaf, this.leaves.get(leaf)!));
  }

  private accumulate(leaf: Tensor, gradient: Tensor | null): void {
    const { grad } = leaf;
    if (!gradient) leaf.grad ??= filled(leaf, 0);
    else if (grad && (this.createGraph || grad.requiresGrad)) this.replace(leaf, grad.add(gradient));
    else if (grad) grad.add_(gradient);
    else leaf.grad = this.own(gradient);
  }

  /** What was there before belongs to the scope that `backward` was called in: others may hold it. */
  private replace(leaf: Tensor, gradient: Tensor): void {
    this.atHome(() => {
      leaf.grad = gradient;
    });
  }

  /** A gradient to give away, once: nobody else's memory, unless it is part of the graph. */
  private own(gradient: Tensor): Tensor {
    if (this.createGraph) return gradient.another();
    if (!gradient.isContiguous || !gradient.storage.isUnshared || this.gone.has(gradient)) {
      return gradient.clone();
    }
    this.gone.add(gradient);
    track(gradient);
    return gradient;
  }

  /** The gradients of `inputs`. */
  results(): (Tensor | null)[] {
    const { inputs = [] } = this.options;
    return inputs.map((t) => {
      const slot = this.slotOf(t);
      return slot && (slot.gradient ? this.own(slot.gradient) : filled(t, 0));
    });
  }

  /** What has arrived at an input; null where the graph does not lead. */
  private slotOf(t: Tensor): { gradient: Tensor | null } | null {
    const edge = edgeOf(t);
    if ('leaf' in edge) return this.leaves.has(t) ? { gradient: this.leaves.get(t)! } : null;
    const slot = this.asked.get(edge.node)!.get(edge.output)!;
    return slot.reached ? slot : null;
  }

  /** Whether the gradient of a leaf goes to the pass around this one. */
  private passesOn(leaf: Tensor): boolean {
    return this.around !== null && !this.askedLeaves?.has(leaf);
  }

  /** The gradient of a leaf from a pass inside this one; that pass has found out that the leaf may have it. */
  private takeOver(leaf: Tensor, gradient: Tensor): void {
    if (this.passesOn(leaf)) return this.around?.takeOver(leaf, gradient);
    if (this.takes(leaf)) this.leaves.set(leaf, this.sum(this.leaves.get(leaf) ?? null, gradient));
  }
}

/** Anybody may have set the `.grad` of a leaf. */
function checkGradient(leaf: Tensor): void {
  const { grad } = leaf;
  if (!grad) return;
  if (sameShape(grad.shape, leaf.shape) && grad.dtype === leaf.dtype && grad.device === leaf.device) return;
  const describe = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
  throw argumentError('GRAPH', 'backward', 'grad', `${describe(leaf)} like its leaf`, describe(grad));
}

/** A gradient of one value. */
export function filled(like: Pick<Tensor, 'device' | 'dtype' | 'size' | 'shape'>, value: number): Tensor {
  const y = new Tensor(new Storage(getBackend(like.device), like.dtype, like.size), like.shape);
  return noGrad(() => y.fill_(value));
}
