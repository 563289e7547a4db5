// Fast weights that take over what softmax attention lets go: a window's tokens as they leave it, or whole chunks of them
// (Irie et al. 2025; spec 2.11).
import type { Tensor } from '../../../core';
import { cat, type CuSeqlens, indexSelect, softmaxAttention, tensor, zerosBeside } from '../../../ops';
import { deltaRule, linearAttention } from '../../../rules';

/**
 * x [B, T, ...] as it was `window` tokens before, zeros where there was none; `past` [B, m, ...] are the last tokens before
 * x. In packed sequences each has its own past, which is none at its start.
 */
export function delayed(x: Tensor, past: Tensor | null, window: number, cuSeqlens: CuSeqlens | null): Tensor {
  const [B, T, ...rest] = x.shape;
  const before = past?.shape[1] ?? 0;
  const all = cat([zerosBeside(x, [B, 1, ...rest]), ...(past ? [past] : []), x], 1);
  const bounds = cuSeqlens ?? [0, T];
  const places: number[] = [];
  for (let n = 0; n + 1 < bounds.length; n++) {
    for (let t = bounds[n]; t < bounds[n + 1]; t++) {
      const place = t - window;
      places.push(place >= bounds[n] - before ? 1 + before + place : 0);
    }
  }
  return indexSelect(all, 1, tensor(Int32Array.from(places), { device: x.device, dtype: 'int32' }));
}

/** Where sequences begin and end: those that are packed, or those of a batch one after the other. */
function boundsOf(batch: number, tokens: number, cuSeqlens: CuSeqlens | null): CuSeqlens {
  return cuSeqlens ?? Array.from({ length: batch + 1 }, (_, b) => b * tokens);
}

/** [B, T, ...] -> [1, B T, ...] */
const inARow = (x: Tensor): Tensor => x.reshape([1, x.shape[0] * x.shape[1], ...x.shape.slice(2)]);

/**
 * Causal softmax attention within chunks of `size` tokens, q [B, T, H, K]; k, v [B, S, H, *] begin S - T tokens earlier, with
 * the first of a chunk. Chunks are counted from the start of each packed sequence.
 */
export function attendInChunks(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { size, cuSeqlens }: { size: number; cuSeqlens: CuSeqlens | null },
): Tensor {
  const [B, T, ...width] = q.shape;
  const S = k.shape[1];
  const queries = S > T ? cat([zerosBeside(q, [B, S - T, ...width]), q], 1) : q;
  const bounds = boundsOf(B, S, cuSeqlens);
  const cuts: number[] = [0];
  for (let n = 0; n + 1 < bounds.length; n++) {
    for (let from = bounds[n]; from < bounds[n + 1]; from += size) cuts.push(Math.min(from + size, bounds[n + 1]));
  }
  const output = softmaxAttention(inARow(queries), inARow(k), inARow(v), { cuSeqlens: cuts });
  return output.reshape([B, S, ...output.shape.slice(2)]).slice(1, S - T);
}

/** q and k [..., H, K] and v [..., H, V] of both branches, and the strength [..., H] of writes. */
export interface DeltaOperands {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  beta: Tensor | null;
}

/** What the fast weights hold: after the last token, and after the last whole chunk. */
export interface ChunkMemory {
  memory: Tensor;
  chunkStart: Tensor;
}

/**
 * The delta rule whose queries read the fast weights as they were when their chunk of `size` tokens began, `before` tokens
 * of which are over. Starts from `initial`, [N, H, K, V] each, or from zeros.
 */
export function programInChunks(
  { q, k, v, beta }: DeltaOperands,
  initial: ChunkMemory | null,
  { size, before, cuSeqlens }: { size: number; before: number; cuSeqlens: CuSeqlens | null },
): ChunkMemory & { output: Tensor } {
  const [B, T, H, K] = q.shape;
  const V = v.shape[3];
  const bounds = boundsOf(B, T, cuSeqlens);
  const longest = bounds.reduce((most, end, n) => Math.max(most, end - (bounds[n - 1] ?? 0)), 0);
  const rows = { q: inARow(q), k: inARow(k), v: inARow(v), beta: beta && inARow(beta) };
  const shape = [bounds.length - 1, H, K, V];
  let memory = initial?.memory ?? zerosBeside(v, shape, v.dtype === 'float64' ? 'float64' : 'float32');
  let chunkStart = before > 0 && initial ? initial.chunkStart : memory;
  const outputs: Tensor[] = [];
  const order: number[] = [];
  // The same chunk of all sequences at once; those that have ended have no tokens in it.
  for (let from = -before; from < longest; from += size) {
    const first = order.length;
    const cuts = [0];
    for (let n = 0; n + 1 < bounds.length; n++) {
      const end = Math.min(bounds[n] + from + size, bounds[n + 1]);
      for (let t = bounds[n] + Math.max(0, from); t < end; t++) order.push(t);
      cuts.push(order.length - first);
    }
    const places = tensor(Int32Array.from(order.slice(first)), { device: q.device, dtype: 'int32' });
    const [tq, tk, tv] = [rows.q, rows.k, rows.v].map((x) => indexSelect(x, 1, places));
    const strength = rows.beta && indexSelect(rows.beta, 1, places);
    if (from > -before) chunkStart = memory;
    // Nothing is written where the values are zeros.
    const still = { initialState: chunkStart, cuSeqlens: cuts, qkL2Norm: true };
    outputs.push(linearAttention(tq, tk.detach(), zerosBeside(tv), still).output);
    const on = {
      beta: strength,
      initialState: memory,
      cuSeqlens: cuts,
      qkL2Norm: true,
      outputFinalState: true,
    } as const;
    memory = deltaRule(tq.detach(), tk, tv, on).finalState;
  }
  // A state of its own, and none that is another's.
  chunkStart = chunkStart.clone();
  if (outputs.length === 0) return { output: zerosBeside(v), memory: memory.clone(), chunkStart };
  const back = new Int32Array(order.length);
  order.forEach((t, i) => (back[t] = i));
  const output = indexSelect(cat(outputs, 1), 1, tensor(back, { device: q.device, dtype: 'int32' }));
  return { output: output.reshape([B, T, H, V]), memory, chunkStart };
}
