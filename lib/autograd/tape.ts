// The tape: a graph of recorded operators. A node keeps what its backward pass needs; it lets go of it as soon as
// the pass has used it, or when no tensor leads to the node any more.
import { FastWeightsError, type GraphNode, type Storage, Tensor } from '../core';
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

/** A tensor that a node keeps, as a reference to its storage. */
class Saved {
  private readonly version: number;

  constructor(
    private readonly storage: Storage,
    private readonly shape: readonly number[],
    private readonly strides: readonly number[],
    private readonly offset: number,
  ) {
    this.version = storage.version;
    storage.retain();
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

  release(): void {
    this.storage.release();
  }

  leaveToCollector(): void {
    this.storage.leaveToCollector();
  }
}

let created = 0;

export class Node implements GraphNode {
  /** Creation order; every input of a node has a smaller one. */
  readonly id = created++;
  readonly edges: Edge[];
  private saved: (Saved | null)[] | null;
  private run: BackwardFunction | null;
  private refs: number;
  private collected = false;

  constructor(
    readonly name: string,
    inputs: readonly (Tensor | null)[],
    readonly outputs: number,
    saved: readonly (Tensor | null)[],
    run: BackwardFunction,
  ) {
    this.edges = inputs.map((t) => edgeTo(t));
    this.saved = saved.map((t) => t && new Saved(t.storage, t.shape, t.strides, t.offset));
    this.run = run;
    this.refs = outputs;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs === 0) this.free();
  }

  /** Whether its backward pass runs functions of users, which may throw. */
  get runsUsers(): boolean {
    return this.name === 'checkpoint';
  }

  /** Requires that the pass can run: before it begins, so that one that cannot leaves every gradient as it was. */
  check(): void {
    this.parts().saved.forEach((s) => s?.check(this.name));
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
  apply(gradients: (Tensor | null)[], into: Into): (Tensor | null | undefined)[] {
    const { run, saved } = this.parts();
    const needs = this.edges.map((e) => e !== null);
    return run(gradients, saved.map((s) => s?.restore() ?? null) as Tensor[], needs, into);
  }

  /** Here and in the nodes before this one, and so on; each node once, however often it is asked. */
  leaveToCollector(): void {
    if (this.collected) return;
    this.collected = true;
    const nodes: Node[] = [this];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      if (!node.saved) continue;
      for (const s of node.saved) s?.leaveToCollector();
      for (const edge of node.edges) {
        if (!edge || !('node' in edge) || edge.node.collected) continue;
        edge.node.collected = true;
        nodes.push(edge.node);
      }
    }
  }

  /** Lets go of the saved tensors and of the nodes before this one, and so on: a list of them, for a graph may be deep. */
  free(): void {
    const unused: Node[] = [this];
    for (let node = unused.pop(); node; node = unused.pop()) {
      if (!node.saved) continue;
      for (const s of node.saved) s?.release();
      node.saved = null;
      node.run = null;
      for (const edge of node.edges) {
        if (edge && 'node' in edge && --edge.node.refs === 0) unused.push(edge.node);
      }
    }
  }
}

function edgeTo(t: Tensor | null): Edge {
  if (!t?.requiresGrad) return null;
  if (!t.node) return { leaf: t, storage: t.storage };
  const node = t.node as Node;
  node.retain();
  return { node, output: t.nodeOutput };
}

/** Where the gradient of `t` goes, without holding on to it. */
export function edgeOf(t: Tensor): Edge {
  return t.node ? { node: t.node as Node, output: t.nodeOutput } : { leaf: t, storage: t.storage };
}

/**
 * Records an operator: its inputs (null for absent ones), its outputs, and what its backward pass needs and no more, for
 * it is kept until then. Does nothing when no input needs a gradient or recording is off. `saved` may hold inputs and
 * outputs, and null for what this call does not need.
 */
export function record(
  name: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  backward: BackwardFunction,
): void {
  if (recording(inputs)) recordAlways(name, inputs, outputs, saved, backward);
}

/** Like `record`, also when no input needs a gradient: for functions with parameters of their own. */
export function recordAlways(
  name: string,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  saved: readonly (Tensor | null)[],
  backward: BackwardFunction,
): void {
  const node = new Node(name, inputs, outputs.length, saved, backward);
  outputs.forEach((t, i) => {
    t.node = node;
    t.nodeOutput = i;
    if (t.owner === null) node.leaveToCollector();
  });
}

/** Whether `record` would keep anything; lets an operator skip work that only its backward pass needs. */
export function recording(inputs: readonly (Tensor | null | undefined)[]): boolean {
  return gradEnabled() && inputs.some((t) => t?.requiresGrad);
}
