// A network that learns within a chunk: gradients at its anchor, the weights at the chunk's start, and each token reads what
// the tokens up to it have changed, without ever forming its weights (the dual form; spec 2.13.16, 2.13.17).
import type { Tensor } from '../../core';
import { cat, ones, split, stack, sumOfProducts } from '../../ops';

/** A linear layer whose weights learn, [B, H, in, out]; with a bias the last row is that of an input of 1. */
export interface Layer {
  /** What tokens read before any of this chunk has written. */
  weight: Tensor;
  /** Sum of the gradients so far, with which weights go on; null for none. */
  sum: Tensor | null;
  /** The weights at which gradients are taken. */
  anchor: Tensor;
}

/**
 * How weights go on from W and the sum S: token t reads keep_t W + carry_t S + sum over s <= t of mix_ts x_s g_s^T, with x what
 * came into the layer and g the gradient of the loss at what goes out. Of every chunk, [n, B, H, ...].
 */
export interface Course {
  /** [.., C, 1]; null for 1. */
  keep: Tensor | null;
  /** [.., C, 1]; null where there are no sums. */
  carry: Tensor | null;
  /** [.., C, C], zeros above the diagonal. */
  mix: Tensor;
  /** Whether the weights after the chunk are those that its last token reads. */
  moves: boolean;
  /** S after the chunk: `keep` [.., 1, 1] times S (null for 1) and the sum of `write` [.., C, 1] x g^T; null for none. */
  sum: { keep: Tensor | null; write: Tensor } | null;
  /** Whether the anchor after the chunk is the weights then. */
  anchors: boolean;
}

/** Between layers: a function and its derivative. */
export interface Activation {
  value(x: Tensor): Tensor;
  slope(x: Tensor): Tensor;
}

/** The network, and what it learns from. */
export interface InnerNetwork {
  /** Whether layers have biases. */
  bias: boolean;
  /** Between layers; null for a single one. */
  activation: Activation | null;
  /** The gradient [B, H, C, V] of the loss at the outputs z, beside what belongs to the chunk's tokens. */
  gradient(z: Tensor, targets: Tensor): Tensor;
}

/** x [.., D] with a column of ones behind it. */
function withOnes(x: Tensor): Tensor {
  return cat([x, ones([1], { dtype: x.dtype, device: x.device }).expand([...x.shape.slice(0, -1), 1])], -1);
}

/** The n chunks of x, or null for each of them. */
function apart<T extends Tensor | null>(x: T, n: number): T[] {
  if (x === null) return new Array<T>(n).fill(x);
  return split(x, new Array<number>(n).fill(1), 0).map((part) => part.squeeze(0)) as T[];
}

const swapped = (x: Tensor): Tensor => x.transpose(x.ndim - 2, x.ndim - 1);
const scaled = (x: Tensor, by: Tensor | null): Tensor => (by ? x.mul(by) : x);

/** Walks n chunks with queries, keys and targets [n, B, H, C, *]: outputs [n, B, H, C, V] and the layers after the last. */
export function learnChunks(
  { bias, activation, gradient }: InnerNetwork,
  { q, k, targets }: { q: Tensor; k: Tensor; targets: Tensor },
  course: Course,
  before: readonly Layer[],
): { output: Tensor; layers: Layer[] } {
  const n = q.shape[0];
  const C = q.shape[3];
  const last = before.length - 1;
  const given = (x: Tensor): Tensor => (bias ? withOnes(x) : x.contiguous());
  const between = (x: Tensor): Tensor => given(activation!.value(x));
  const [allQueries, allKeys] = [given(q), given(k)];
  const scores = course.mix.mul(allQueries.matmul(swapped(allKeys)));
  const lastRow = <T extends Tensor | null>(t: T): T => (t && t.slice(3, C - 1)) as T;
  const moved = course.moves ? swapped(lastRow(course.mix)) : null;
  const written = course.sum?.write ?? null;
  // Of the first layer all that its rows are multiplied by, for all chunks at once.
  const rows = {
    keys: allKeys,
    kept: scaled(allQueries, course.keep),
    carried: course.carry && allQueries.mul(course.carry),
    moved: moved && allKeys.mul(moved),
    written: written && allKeys.mul(written),
  };
  const chunks = <T extends Record<string, Tensor | null>>(all: T): T[] => {
    const parts = Object.entries(all).map(([name, x]) => [name, apart(x, n)] as const);
    return Array.from({ length: n }, (_, i) => Object.fromEntries(parts.map(([name, x]) => [name, x[i]])) as T);
  };
  const first = chunks(rows);
  const others = chunks({
    goals: targets,
    scores,
    keep: course.keep,
    carry: course.carry,
    mix: course.mix,
    moved,
    written,
    lastKeep: lastRow(course.keep),
    lastCarry: lastRow(course.carry),
    sumKeep: course.sum?.keep ?? null,
  });
  const outputs: Tensor[] = [];
  let layers = [...before];
  for (let i = 0; i < n; i++) {
    const [own, at] = [first[i], others[i]];
    // What comes into each layer and goes out of it at the anchors, and the gradient there.
    const [x, z] = [[own.keys], [] as Tensor[]];
    layers.forEach(({ anchor }, l) => {
      z.push(x[l].matmul(anchor));
      if (l < last) x.push(between(z[l]));
    });
    const g = new Array<Tensor>(last + 1);
    g[last] = gradient(z[last], at.goals);
    for (let l = last - 1; l >= 0; l--) {
      const { anchor } = layers[l + 1];
      const inner = bias ? anchor.slice(2, 0, anchor.shape[2] - 1) : anchor;
      g[l] = g[l + 1].matmul(swapped(inner)).mul(activation!.slope(z[l]));
    }
    let y = own.kept;
    layers.forEach(({ weight, sum }, l) => {
      const weights = l === 0 ? at.scores : at.mix.mul(y.matmul(swapped(x[l])));
      const kept = l === 0 ? y : scaled(y, at.keep);
      const carried = sum && (l === 0 ? own.carried! : y.mul(at.carry!));
      const read = sumOfProducts(kept, weight, weights, g[l], ...(carried ? [carried, sum] : []));
      y = l < last ? between(read) : read;
    });
    outputs.push(y);
    layers = layers.map(({ weight, sum, anchor }, l) => {
      const write = (name: 'moved' | 'written'): Tensor =>
        swapped(l === 0 ? own[name]! : x[l].mul(at[name]!)).matmul(g[l]);
      let next = weight;
      if (at.moved) {
        next = scaled(weight, at.lastKeep).add(write('moved'));
        if (sum) next = next.add(sum.mul(at.lastCarry!));
      }
      const ownSum = at.written && write('written');
      const nextSum = ownSum && (sum ? scaled(sum, at.sumKeep).add(ownSum) : ownSum);
      return { weight: next, sum: nextSum, anchor: course.anchors ? next : anchor };
    });
  }
  return { output: outputs.length === 1 ? outputs[0].unsqueeze(0) : stack(outputs, 0), layers };
}
