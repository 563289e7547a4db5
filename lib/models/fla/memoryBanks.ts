// Many memories side by side: what they keep, and projections of which each memory has its own.
import type { Tensor } from '../../core';
import { tensorsOf, withTensors } from '../../inference';
import type { Linear, ModuleList } from '../../nn';
import { cat, stack } from '../../ops';
import type { RoutedRows } from '../../rules';

/** Memories [..., H, K, V], and the last W - 1 inputs of each convolution in them [..., D, W - 1]. */
export type MemoryBank = { memory: Tensor; convolutions: { [name: string]: Tensor } };

/** [B, M, ...] to [M B, ...]: what each memory of each text keeps, in the order of sorted rows. */
export function inRows(bank: MemoryBank): MemoryBank {
  const rows = (t: Tensor): Tensor => t.transpose(0, 1).reshape(t.shape[0] * t.shape[1], ...t.shape.slice(2));
  return withTensors(bank, tensorsOf(bank).map(rows));
}

/** [M B, ...] to [B, M, ...] */
export function outOfRows(bank: MemoryBank, M: number): MemoryBank {
  const banks = (t: Tensor): Tensor => {
    const apart = t.reshape(M, t.shape[0] / M, ...t.shape.slice(1));
    return apart.transpose(0, 1).contiguous();
  };
  return withTensors(bank, tensorsOf(bank).map(banks));
}

/**
 * Projections of which each memory has its own: of x [B, T, hidden] the rows [R, *] that the memories get, as they are sorted.
 * Single tokens of several texts pass all projections instead of those of their memories: adapters may differ from text to text,
 * and want a row for each.
 */
export function projectionsOfRows(x: Tensor, rows: RoutedRows): (projections: ModuleList<Linear>) => Tensor {
  const [B, T, hidden] = x.shape;
  if (T === 1 && B > 1) {
    return (projections) => {
      const all = stack(
        [...projections].map((projection) => projection.forward(x.squeeze(1))),
        1,
      );
      return all.reshape(B * projections.length, all.shape[2]).indexSelect(0, rows.cells);
    };
  }
  const parts = x
    .reshape(B * T, hidden)
    .indexSelect(0, rows.tokens)
    .split(rows.counts, 0);
  return (projections) => {
    // Memories without rows take no part, unless there are no rows at all.
    const taking = parts.flatMap((part, m) => (part.shape[0] > 0 ? [projections.at(m).forward(part)] : []));
    return taking.length > 0 ? cat(taking, 0) : projections.at(0).forward(parts[0]);
  };
}
