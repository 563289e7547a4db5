// Which tokens may be drawn: top-k, top-p, min-p and locally typical sampling, without sorting the vocabulary.
import { expDown } from './exponential';
import type { SamplingOptions } from './sampling';

export class Filters {
  /** In proportion to the probabilities, 0 for what is left out. */
  private readonly weights: Float64Array;
  /** Smaller ones come first. */
  private readonly keys: Float64Array;
  /** Those that are left come first. */
  private readonly ids: Int32Array;

  constructor(
    private readonly temperature: number,
    private readonly options: SamplingOptions,
    vocabSize: number,
  ) {
    this.weights = new Float64Array(vocabSize);
    this.keys = new Float64Array(vocabSize);
    this.ids = new Int32Array(vocabSize);
  }

  /** A token by logits [vocabulary], of which the one of `best` is the largest, and a number in [0, 1). */
  draw(logits: ArrayLike<number>, best: number, random: () => number): number {
    const { weights, keys, temperature } = this;
    const most = logits[best];
    for (let i = 0; i < weights.length; i++) {
      const logWeight = (logits[i] - most) / temperature;
      keys[i] = -logWeight;
      weights[i] = expDown(logWeight);
    }
    this.filter();
    return draw(weights, random());
  }

  private filter(): void {
    const { topK = Infinity, topP = 1, minP = 0, typicalP = 1 } = this.options;
    const { weights, keys, ids } = this;
    let n = ids.length;
    if (topK >= n && topP === 1 && minP === 0 && typicalP === 1) return;
    for (let i = 0; i < n; i++) ids[i] = i;
    if (topK < n) n = first(ids, n, keys, null, topK);
    if (topP < 1) n = first(ids, n, keys, weights, topP * sumOf(weights, ids, n));
    // The most probable token weighs 1 and is still there.
    if (minP > 0) n = heavy(ids, n, weights, minP);
    if (typicalP < 1) {
      const total = sumOf(weights, ids, n);
      let mean = 0;
      for (let j = 0; j < n; j++) if (weights[ids[j]] > 0) mean -= (weights[ids[j]] / total) * keys[ids[j]];
      for (let j = 0; j < n; j++) keys[ids[j]] = Math.abs(mean + keys[ids[j]]);
      n = first(ids, n, keys, weights, typicalP * total);
    }
    for (let j = n; j < ids.length; j++) weights[ids[j]] = 0;
  }
}

/**
 * Brings the smallest number of ids, in the order of their keys and then of themselves, whose weights (1 each without)
 * reach `share` to the front of the first n, and returns how many they are: Hoare's selection, with weights.
 */
export function first(
  ids: Int32Array,
  n: number,
  keys: Float64Array,
  weights: Float64Array | null,
  share: number,
): number {
  // What stands before `from` belongs to them, and reaches `covered` < share; what stands behind `to` does not.
  let [from, to, covered] = [0, n, 0];
  while (to - from > 1) {
    const middle = median(from, (from + to) >> 1, to - 1, ids, keys);
    const pivot = ids[middle];
    const key = keys[pivot];
    ids[middle] = ids[to - 1];
    let [at, mass] = [from, 0];
    for (let j = from; j < to - 1; j++) {
      const id = ids[j];
      if (keys[id] > key || (keys[id] === key && id > pivot)) continue;
      mass += weights ? weights[id] : 1;
      ids[j] = ids[at];
      ids[at++] = id;
    }
    ids[to - 1] = ids[at];
    ids[at] = pivot;
    if (covered + mass >= share) to = at;
    else {
      covered += mass + (weights ? weights[pivot] : 1);
      from = at + 1;
      if (covered >= share) return from;
    }
  }
  return to;
}

/** Of three places the one whose id is in the middle. */
function median(a: number, b: number, c: number, ids: Int32Array, keys: Float64Array): number {
  const before = (x: number, y: number): boolean => {
    const [p, q] = [keys[ids[x]], keys[ids[y]]];
    return p < q || (p === q && ids[x] < ids[y]);
  };
  const [low, high] = before(a, b) ? [a, b] : [b, a];
  if (before(c, low)) return low;
  return before(c, high) ? c : high;
}

/** Brings those of a weight to the front of the first n ids, and returns how many they are. */
function heavy(ids: Int32Array, n: number, weights: Float64Array, least: number): number {
  let at = 0;
  for (let j = 0; j < n; j++) {
    const id = ids[j];
    if (weights[id] < least) continue;
    ids[j] = ids[at];
    ids[at++] = id;
  }
  return at;
}

function sumOf(weights: Float64Array, ids: Int32Array, n: number): number {
  let total = 0;
  for (let j = 0; j < n; j++) total += weights[ids[j]];
  return total;
}

function draw(weights: Float64Array, uniform: number): number {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i];
  let left = uniform * total;
  let chosen = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    chosen = i;
    left -= weights[i];
    if (left < 0) break;
  }
  return chosen;
}
