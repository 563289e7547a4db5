// The cross entropy of a projection whose result is not kept: the logits of some rows at a time are made and used up.
import { argumentError, checkChoice, checkInteger, checkOptions, type OptionNames, scoped, type Tensor } from '../core';
import { type BackwardFunction, noGrad, record, recording, throughComposition } from '../autograd';
import { ne } from './compare';
import { div, mul, reciprocal } from './elementwise';
import {
  checkAlike,
  checkFloat,
  checkIndices,
  checkShape,
  emptyLike,
  fill,
  kernelsOf,
  statisticsDtype,
  takesBfloat16,
} from './kernel';
import { linear } from './linear';
import { crossEntropy, type CrossEntropyOptions, ROW_OPTIONS, type RowNumbers, rowNumbers } from './loss';
import { fold, precisionCode, productInto, swap } from './matmul';
import { sum } from './reduce';
import { to } from './cast';
import { contiguous, expand, reshape, slice } from './view';

/** Options of `linearCrossEntropy`. */
export interface LinearCrossEntropyOptions extends Omit<CrossEntropyOptions, 'weight' | 'reduction'> {
  /** 'mean' over the counted rows (default) or their sum. */
  reduction?: 'mean' | 'sum';
  /** Rows whose logits are in memory at a time; by default those of 2^26 logits, but 128 at least. */
  blockRows?: number;
}

const OPTIONS: OptionNames<LinearCrossEntropyOptions> = { ...ROW_OPTIONS, reduction: true, blockRows: true };

const MOST_LOGITS = 2 ** 26;
/** Tiles of products have as many rows, or a part of them. */
const LEAST_ROWS = 128;

function usualRows(classes: number): number {
  return LEAST_ROWS * Math.max(1, Math.floor(MOST_LOGITS / (LEAST_ROWS * Math.max(1, classes))));
}

interface Settings {
  numbers: RowNumbers;
  reduction: 'mean' | 'sum';
  blockRows: number;
}

/** Writes losses [rows] of x [rows, D], and gradients where there is room for them; each row's loss counts `share` [rows]. */
function writeBlocks(
  operands: Record<'x' | 'weight' | 'target' | 'share', Tensor>,
  results: { losses: Tensor; dx: Tensor | null; dweight: Tensor | null },
  { numbers, blockRows }: Settings,
): void {
  const { x, weight, target, share } = operands;
  const { losses, dx, dweight } = results;
  const { linear: project, crossEntropy: measure, crossEntropyBackward: differentiate } = kernelsOf(x);
  const [n, k] = weight.shape;
  for (let from = 0; from < x.shape[0]; from += blockRows) {
    const part = (t: Tensor): Tensor => slice(t, 0, from, from + blockRows);
    const [own, ids] = [part(x), part(target)];
    const rows = own.shape[0];
    const logits = emptyLike(x, [rows, n]);
    const lse = emptyLike(losses, [rows]);
    const plain = { bias: null, residual: null, preactivation: null, activation: 0, precision: precisionCode() };
    project({ x: own, weight, y: logits, rows: n === 0 ? 0 : rows, n, k, ...plain });
    measure({ logits, target: ids, loss: part(losses), lse, rows, n, ...numbers });
    if (dx || dweight) {
      const dlogits = emptyLike(logits);
      differentiate({ logits, target: ids, lse, dloss: part(share), dlogits, rows, n, ...numbers });
      if (dx) productInto(part(dx), dlogits, weight);
      if (dweight) productInto(dweight, swap(dlogits), own, from > 0);
      dlogits.dispose();
    }
    logits.dispose();
  }
}

const blockwise = takesBfloat16(
  (x: Tensor, weight: Tensor, target: Tensor, settings: Settings): Tensor => {
    const { numbers, reduction } = settings;
    const dtype = statisticsDtype(x);
    const training = recording([x, weight]);
    const rows = target.size;
    const room = (t: Tensor, ...shape: number[]): Tensor | null =>
      training && t.requiresGrad ? emptyLike(t, shape, dtype) : null;
    const [loss, dx, dweight] = noGrad(() => {
      const losses = emptyLike(x, [rows], dtype);
      const [own, ids] = [contiguous(fold(x)), contiguous(reshape(target, [rows]))];
      const results = { losses, dx: room(x, ...own.shape), dweight: room(weight, ...weight.shape) };
      if (rows === 0 && results.dweight) fill(results.dweight, 0);
      const counted = to(ne(ids, numbers.ignoreIndex), dtype);
      const count = reduction === 'mean' ? reshape(sum(counted), [1]) : null;
      const share = count ? contiguous(expand(reciprocal(count), [rows])) : counted;
      writeBlocks({ x: own, weight: contiguous(weight), target: ids, share }, results, settings);
      const total = reshape(sum(losses), [1]);
      return [count ? div(total, count) : total, results.dx, results.dweight];
    });
    const back: BackwardFunction = ([g], [sx, sweight, , sdx, sdweight], needs) =>
      [sx, sweight].map((t, i) => {
        const gradient = i === 0 ? sdx : sdweight;
        return g && needs[i] ? reshape(to(mul(gradient, g), t.dtype), t.shape) : null;
      });
    const recorded: BackwardFunction = ([g], [sx, sweight, starget]) => {
      const { ignoreIndex, smoothing: labelSmoothing, zLoss, softcap: logitSoftcap } = numbers;
      const options = { ignoreIndex, labelSmoothing, zLoss, logitSoftcap, reduction };
      return throughComposition((a, b) => crossEntropy(linear(a, b), starget, options), [sx, sweight], [g]);
    };
    record('linearCrossEntropy', [x, weight], [loss], [x, weight, target, dx, dweight], back, recorded);
    return loss;
  },
  (loss) => loss,
);

/**
 * `crossEntropy(linear(x, weight), target, options)`, [1], for x [..., D], weight [V, D] and int32 targets [...], without all
 * logits [..., V] in memory: some rows at a time go through projection, loss and gradients. Where gradients will be asked
 * for they are computed at once and kept in float32, as large as x and weight; the backward pass only scales them. A row's
 * loss is that of the two operators, the sums over rows are in another order. After Liger Kernel (Hsu et al. 2024).
 */
export const linearCrossEntropy = scoped(
  (x: Tensor, weight: Tensor, target: Tensor, options: LinearCrossEntropyOptions = {}): Tensor => {
    const where = 'linearCrossEntropy';
    checkOptions(where, options, OPTIONS);
    checkFloat(where, 'x', x);
    if (x.ndim === 0) throw argumentError('SHAPE', where, 'x', '[..., D]', '[]');
    checkFloat(where, 'weight', weight);
    checkAlike(where, 'weight', weight, x, 'x');
    checkShape(where, 'weight', weight, [weight.shape[0] ?? 0, x.shape[x.ndim - 1]], 'classes, features');
    checkIndices(where, 'target', target, x);
    checkShape(where, 'target', target, x.shape.slice(0, -1), 'one class per row');
    const { blockRows = usualRows(weight.shape[0]) } = options;
    checkInteger(where, 'blockRows', blockRows, 1);
    const reduction = checkChoice(where, 'reduction', options.reduction ?? 'mean', ['mean', 'sum']);
    return blockwise(x, weight, target, { numbers: rowNumbers(where, options), reduction, blockRows });
  },
);
