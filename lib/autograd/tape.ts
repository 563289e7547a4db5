// The tape: a graph of recorded operators. A node keeps what its backward pass needs; it lets go of it as soon as
// the pass has used it, or when no tensor leads to the node any more.
import { FastWeightsError, formatShape, type GraphNode, type Storage, Tensor } from '../core';
import { checkForward, findsAnomalies } from './anomaly';
import { gradEnabled } from './mode';

/**
 * The gradient that input `i` has so far, where the operator may add its own to it in place, and then returns null for
 * that input; null where there is none.
 */
export type Into = (i: number) => Tensor | null;

/**
 * Gradients of the outputs (null where none arrived) and the saved tensors (null where null was saved) in, gradients of the inputs out, null where
 * there is none, `needs` says that nobody asks, or it was added to what `into` gave.
 */
export type BackwardFunction = (
  gradients: (Tensor | null)[],
  saved: Tensor[],
  needs: boolean[],
  into: Into,
) => (Tensor | null | undefined)[];

/** Where a gradient goes: to an output of another node, or into a leaf, with the memory it had when it was used. */
export type Edge = { node: Node; output: number } | { leaf: Tensor; storage: Storage } | null;

/**
 * How gradients become part of the graph themselves (`createGraph`): 'composed' where the backward function is made of
 * differentiable operators of the gradients, and of saved inputs and outputs; otherwise another function that is. Where
 * neither is given such gradients are refused.
 */
export type RecordedBackward = 'composed' | BackwardFunction;

/** Whose code runs in the backward pass of a node, beside the library's: it may throw. */
export type Runs = 'operator' | 'function' | 'checkpoint';

/** Where a saved tensor stands in the graph: input i, output -1 - i of its own node, or elsewhere. */
type Place = number | Edge;

/** A tensor that a node keeps, as a reference to its storage. */
class Saved {
  private readonly storage: Storage;
  private readonly shape: readonly number[];
  private readonly strides: readonly number[];
  private readonly offset: number;
  private readonly version: number;

  constructor(
    t: Tensor,
    private readonly place: Place,
  ) {
    this.storage = t.storage;
    this.shape = t.shape;
    this.strides = t.strides;
    this.offset = t.offset;
    this.version = t.storage.version;
    t.storage.retain();
  }

  /** A node that is kept for this tensor alone. */
  get kept(): Node | null {
    return typeof this.place === 'object' && this.place && 'node' in this.place ? this.place.node : null;
  }

  check(name: string): void {
    if (this.storage.version === this.version) return;
    throw new FastWeightsError(
      'GRAPH',
      `backward: a tensor of shape [${this.shape.join(', ')}] that ${name} needs was changed in place after it was used`,
      { expected: `version ${this.version}`, found: `version ${this.storage.version}` },
    );
  }

  /** A fresh tensor of the surrounding scope. */
  restore(): Tensor {
    return new Tensor(this.storage, this.shape, this.strides, this.offset);
  }

  /** The same at its place in the graph; a leaf is itself. */
  restoreIn(node: Node): Tensor {
    const edge =
      typeof this.place !== 'number'
        ? this.place
        : this.place < 0
          ? { node, output: -1 - this.place }
          : node.edges[this.place];
    if (edge && 'leaf' in edge && !edge.leaf.isDisposed) return unmoved(edge);
    const t = this.restore();
    if (edge && 'node' in edge) {
      edge.node.retain();
      t.node = edge.node;
      t.nodeOutput = edge.output;
    }
    return t;
  }

  release(): void {
    this.storage.release();
  }

  leaveToCollector(): void {
    this.storage.leaveToCollector();
  }
}

/** A gradient of memory that the leaf has left would have another dtype or device. */
export function unmoved({ leaf, storage }: { leaf: Tensor; storage: Storage }): Tensor {
  if (leaf.storage === storage) return leaf;
  throw new FastWeightsError(
    'GRAPH',
    `backward: a parameter of shape ${formatShape(leaf.shape)} was moved by to() after it was used`,
    { expected: `${storage.dtype} on ${storage.memory.device}`, found: `${leaf.dtype} on ${leaf.device}` },
  );
}

let created = 0;

export class Node implements GraphNode {
  /** Creation order; every input of a node has a smaller one. */
  readonly id = created++;
  readonly edges: Edge[];
  /** How many there are. */
  readonly outputs: number;
  private saved: (Saved | null)[] | null;
  private run: BackwardFunction | null;
  private refs: number;
  private collected = false;

  constructor(
    readonly name: string,
    inputs: readonly (Tensor | null)[],
    outputs: readonly Tensor[],
    saved: readonly (Tensor | null)[],
    run: BackwardFunction,
    private readonly recorded: RecordedBackward | null,
    readonly runs: Runs,
  ) {
    this.edges = inputs.map((t) => edgeTo(t));
    this.saved = saved.map((t) => t && new Saved(t, recorded === null ? null : placeOf(t, inputs, outputs)));
    this.run = run;
    this.refs = this.outputs = outputs.length;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs === 0) this.free();
  }

  /** Requires that the pass can run: before it begins, so that one that cannot leaves every gradient as it was. */
  check(createGraph: boolean): void {
    this.parts().saved.forEach((s) => s?.check(this.name));
    if (!createGraph || this.recorded !== null) return;
    const message = `backward: ${this.name} has no gradient of its gradient, so it cannot be used with createGraph`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'createGraph', found: this.name });
  }

  private parts(): { run: BackwardFunction; saved: (Saved | null)[] } {
    const { run, saved } = this;
    if (run && saved) return { run, saved };
    throw new FastWeightsError(
      'GRAPH',
      'backward: this graph was already used; pass { retainGraph: true } to the first backward to run it twice',
    );
  }

  /** Gradients of the inputs; the caller owns a scope around it. */
  apply(gradients: (Tensor | null)[], needs: boolean[], into: Into): (Tensor | null | undefined)[] {
    const { run, saved } = this.parts();
    return run(gradients, saved.map((s) => s?.restore() ?? null) as Tensor[], needs, into);
  }

  /** The same as part of the graph. */
  applyRecorded(gradients: (Tensor | null)[], needs: boolean[]): (Tensor | null | undefined)[] {
    const { run, saved } = this.parts();
    const recorded = this.recorded === 'composed' ? run : this.recorded!;
    return recorded(gradients, saved.map((s) => s?.restoreIn(this) ?? null) as Tensor[], needs, () => null);
  }

  /** Here and in the nodes before this one, and so on; each node once, however often it is asked. */
  leaveToCollector(): void {
    if (this.collected) return;
    this.collected = true;
    const nodes: Node[] = [this];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      if (!node.saved) continue;
      const visit = (before: Node): void => {
        if (before.collected) return;
        before.collected = true;
        nodes.push(before);
      };
      for (const s of node.saved) {
        s?.leaveToCollector();
        if (s?.kept) visit(s.kept);
      }
      for (const edge of node.edges) if (edge && 'node' in edge) visit(edge.node);
    }
  }

  /** Lets go of the saved tensors and of the nodes before this one, and so on: a list of them, for a graph may be deep. */
  free(): void {
    const unused: Node[] = [this];
    for (let node = unused.pop(); node; node = unused.pop()) {
      if (!node.saved) continue;
      for (const s of node.saved) {
        s?.release();
        if (s?.kept && --s.kept.refs === 0) unused.push(s.kept);
      }
      node.saved = null;
      node.run = null;
      for (const edge of node.edges) {
        if (edge && 'node' in edge && --edge.node.refs === 0) unused.push(edge.node);
      }
    }
  }
}

function placeOf(t: Tensor, inputs: readonly (Tensor | null)[], outputs: readonly Tensor[]): Place {
  const input = inputs.indexOf(t);
  if (input >= 0) return input;
  const output = outputs.indexOf(t);
  return output >= 0 ? -1 - output : edgeTo(t);
}

function edgeTo(t: Tensor | null): Edge {
  if (!t?.requiresGrad) return null;
  if (!t.node) return { leaf: t, storage: t.storage };
  const node = t.node as Node;
  node.retain();
  return { node, output: t.nodeOutput };
}

/** Where the gradient of `t` goes, without holding on to it. */
export function edgeOf(t: Tensor): NonNullable<Edge> {
  return t.node ? { node: t.node as Node, output: t.nodeOutput } : { leaf: t, storage: t.storage };
}

/**
 * Records an operator: its inputs (null for absent ones), its outputs, and what its backward pass needs and no more, for
 * it is kept until then. Does nothing when no input needs a gradient or recording is off. `saved` may hold inputs and
 * outputs, and null for what this call does not need. Without `recorded` gradients of its gradients are refused.
 */
export function record(
  name: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  backward: BackwardFunction,
  recorded: RecordedBackward | null = null,
  runs: Runs = 'operator',
): void {
  if (recording(inputs)) recordAlways(name, inputs, outputs, saved, backward, recorded, runs);
  else if (findsAnomalies()) checkForward(name, inputs, outputs, null);
}

/** Like `record`, also when no input needs a gradient: for functions with parameters of their own. */
export function recordAlways(
  name: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  backward: BackwardFunction,
  recorded: RecordedBackward | null = null,
  runs: Runs = 'operator',
): void {
  const node = new Node(name, inputs, outputs, saved, backward, recorded, runs);
  outputs.forEach((t, i) => {
    t.node = node;
    t.nodeOutput = i;
    if (t.owner === null) node.leaveToCollector();
  });
  if (findsAnomalies()) checkForward(name, inputs, outputs, node);
}

/** Whether `record` would keep anything; lets an operator skip work that only its backward pass needs. */
export function recording(inputs: readonly (Tensor | null | undefined)[]): boolean {
  return gradEnabled() && inputs.some((t) => t?.requiresGrad);
}
