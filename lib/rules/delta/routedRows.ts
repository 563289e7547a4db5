// Tokens that go to a few of many memories: the rows of each memory stand together, so that they run as packed sequences.
import type { Tensor } from '../../core';
import { type CuSeqlens, tensor } from '../../ops';

/** R = topK rows of every token, sorted by memory, those of a memory by sequence, and those of a sequence by time. */
export interface RoutedRows {
  /** The token of each sorted row, counted through the batch, int32 [R]. */
  readonly tokens: Tensor;
  /** The token times M, and its memory, int32 [R]: where a row stands among those that tokens have for every memory. */
  readonly cells: Tensor;
  /** Which sorted row is each of the topK of each token, int32 [R]. */
  readonly places: Tensor;
  /** How much each of the topK of each token counts [B T, topK], 1 together. */
  readonly weights: Tensor;
  /** How many rows each of the M memories has. */
  readonly counts: number[];
  /** Bounds of the rows that each memory has of each of the N sequences: M N + 1 offsets. */
  readonly offsets: number[];
}

/**
 * Sends every token to the topK memories with the largest scores, router [B, T, M], which weigh by their share of the softmax.
 * The choice is read, which blocks, and has no gradient; the weights have.
 */
export function routeRows(router: Tensor, topK: number, cuSeqlens: CuSeqlens | null = null): RoutedRows {
  const [B, T, M] = router.shape;
  const bounds = cuSeqlens ?? Array.from({ length: B + 1 }, (_, b) => b * T);
  const N = bounds.length - 1;
  const { values, indices } = router.softmax(-1).topk(topK);
  const memories = indices.dataSync();
  const lists = Array.from({ length: M * N }, (): number[] => []);
  for (let n = 0; n < N; n++) {
    for (let row = bounds[n] * topK; row < bounds[n + 1] * topK; row++) lists[memories[row] * N + n].push(row);
  }
  const rows = Int32Array.from(lists.flat());
  const places = new Int32Array(rows.length);
  rows.forEach((row, place) => (places[row] = place));
  const offsets = [0];
  for (const list of lists) offsets.push(offsets[offsets.length - 1] + list.length);
  const index = (data: Int32Array): Tensor => tensor(data, { device: router.device, dtype: 'int32' });
  const token = (row: number): number => Math.floor(row / topK);
  return {
    tokens: index(rows.map(token)),
    cells: index(rows.map((row) => token(row) * M + memories[row])),
    places: index(places),
    weights: values.div(values.sum(-1, true)).reshape(B * T, topK),
    counts: Array.from({ length: M }, (_, m) => offsets[(m + 1) * N] - offsets[m * N]),
    offsets,
  };
}
