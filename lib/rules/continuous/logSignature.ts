// Log-signatures of a path over windows, to depth 2 (Morrill et al. 2021; spec 2.6.3).
import { argumentError, checkChoice, checkInteger, checkOptions, formatShape, scoped, type Tensor } from '../../core';
import { cat, checkFloat, tensor } from '../../ops';

/** Options of `logSignature`. */
export interface LogSignatureOptions {
  /** 1: the increments; 2, the default: the areas, too. */
  depth?: 1 | 2;
  /** Increments between neighbouring samples in a window. */
  step: number;
  /** 'lyndonWords', in which the coordinates are the areas themselves. */
  basis?: 'lyndonWords';
}

/**
 * x [B, L, C] to [B, ceil((L - 1) / step), channels]: of windows of step + 1 samples that share their ends, the last of
 * which may be shorter, the increments, and for depth 2 then the areas 1/2 int (x_i dx_j - x_j dx_i) from the start of the
 * window along straight lines between samples, (i, j) with i < j in lexicographic order: C or C + C (C - 1) / 2 channels.
 */
export const logSignature = scoped((x: Tensor, options: LogSignatureOptions): Tensor => {
  const where = 'logSignature';
  checkOptions(where, options, { depth: true, step: true, basis: true });
  checkFloat(where, 'x', x);
  const depth = checkInteger(where, 'depth', options.depth ?? 2, 1, 2);
  const step = checkInteger(where, 'step', options.step, 1);
  checkChoice(where, 'basis', options.basis ?? 'lyndonWords', ['lyndonWords']);
  if (x.ndim !== 3 || x.shape[1] < 2) {
    throw argumentError('SHAPE', where, 'x', '[B, L, C] with at least 2 samples', formatShape(x.shape));
  }
  const [B, L, C] = x.shape;
  const windows = Math.ceil((L - 1) / step);
  // A last sample that stays adds neither increment nor area.
  const rest = windows * step + 1 - L;
  const path = rest === 0 ? x : cat([x, x.slice(1, L - 1).expand(B, rest, C)], 1);
  const steps = path
    .slice(1, 1)
    .sub(path.slice(1, 0, windows * step))
    .reshape(B, windows, step, C);
  const increments = steps.sum(2);
  if (depth === 1 || C === 1) return increments;
  const before = path.slice(1, 0, windows * step).reshape(B, windows, step, C);
  const since = before.sub(before.slice(2, 0, 1));
  const products = since.transpose(2, 3).matmul(steps);
  const areas = products
    .sub(products.transpose(2, 3))
    .mul(0.5)
    .reshape(B, windows, C * C);
  const pairs = Array.from({ length: C * C }, (_, at) => at).filter((at) => Math.floor(at / C) < at % C);
  const index = tensor(Int32Array.from(pairs), { device: x.device, dtype: 'int32', shape: [pairs.length] });
  return cat([increments, areas.indexSelect(2, index)], 2);
});
