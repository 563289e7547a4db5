// Losses over classes: cross entropy, fused with its softmax, and the negative log-likelihood.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  isFloat,
  type OptionNames,
  scoped,
  type Tensor,
} from '../core';
import { type BackwardFunction, record, throughComposition } from '../autograd';
import { ne, where as choose } from './compare';
import { gather, indexSelect } from './indexing';
import {
  checkAlike,
  checkFloat,
  checkIndices,
  checkShape,
  checkTensor,
  computesInFloat32,
  emptyLike,
  kernelsOf,
  statisticsDtype,
  takesBfloat16,
} from './kernel';
import { logSoftmax } from './softmax';
import { contiguous, reshape } from './view';

/** How the losses of rows become one, [1]: their mean or sum; or they stay. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Requires one of the three; 'mean' where none is given. */
export function checkReduction(where: string, reduction: Reduction = 'mean'): Reduction {
  return checkChoice(where, 'reduction', reduction, ['mean', 'sum', 'none']);
}

/** Options of `nllLoss`. */
export interface NllOptions {
  /** Rows with this target count for nothing; -100 by default. */
  ignoreIndex?: number;
  /** 'mean' over the counted rows (default), by their classes' weights; their sum; or one loss per row. */
  reduction?: Reduction;
  /** A weight for each class [V], all 1 by default. */
  weight?: Tensor | null;
}

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions extends NllOptions {
  /** Share of the target that is spread over all classes, 0 to 1. */
  labelSmoothing?: number;
  /** Adds zLoss * (log sum e^z)^2 to each counted row, before its class's weight. */
  zLoss?: number;
  /** Replaces logits by cap * tanh(logits / cap); not at 0 or null, the default. */
  logitSoftcap?: number | null;
}

const NLL: OptionNames<NllOptions> = { ignoreIndex: true, reduction: true, weight: true };
const ROWS: OptionNames<Omit<CrossEntropyOptions, 'reduction' | 'weight'>> = {
  ignoreIndex: true,
  labelSmoothing: true,
  zLoss: true,
  logitSoftcap: true,
};
const OPTIONS: OptionNames<CrossEntropyOptions> = { ...NLL, ...ROWS };

/** @internal The names of the options that a row's loss depends on. */
export { ROWS as ROW_OPTIONS };

/** @internal What a row's loss depends on, as kernels call it. */
export interface RowNumbers {
  ignoreIndex: number;
  smoothing: number;
  zLoss: number;
  softcap: number;
}

/** @internal These numbers from the options, checked. */
export function rowNumbers(where: string, options: CrossEntropyOptions): RowNumbers {
  const { ignoreIndex = -100, labelSmoothing: smoothing = 0, zLoss = 0, logitSoftcap } = options;
  checkInteger(where, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  checkNumber(where, 'labelSmoothing', smoothing, 0, 1);
  checkNumber(where, 'zLoss', zLoss, 0);
  return { ignoreIndex, smoothing, zLoss, softcap: checkNumber(where, 'logitSoftcap', logitSoftcap ?? 0, 0) };
}

/** One loss per row [rows], by one kernel. */
const fusedRows = takesBfloat16(
  (logits: Tensor, target: Tensor, settings: RowNumbers): Tensor => {
    const n = logits.shape[logits.ndim - 1];
    const rows = target.size;
    const numbers = { rows, n, ...settings };
    const [z, ids] = [contiguous(logits), contiguous(target)];
    const [loss, lse] = [0, 1].map(() => emptyLike(logits, [rows], statisticsDtype(logits)));
    kernelsOf(logits).crossEntropy({ logits: z, target: ids, loss, lse, ...numbers });
    const back: BackwardFunction = ([g], [sz, sids, slse]) => {
      if (!g) return [null];
      const dlogits = emptyLike(sz);
      const operands = { logits: sz, target: sids, lse: slse, dloss: contiguous(g), dlogits };
      kernelsOf(sz).crossEntropyBackward({ ...operands, ...numbers });
      return [dlogits];
    };
    const recorded: BackwardFunction = ([g], [sz, sids]) => {
      const plain = (at: Tensor): Tensor => reshape(composedRows(at, sids, null, settings).loss, [rows]);
      return throughComposition(plain, [sz], [g]);
    };
    record('crossEntropy', [logits], [loss], [z, ids, lse], back, recorded);
    return loss;
  },
  (loss) => loss,
);

/** The losses of rows, and what each counts in a mean. */
interface Rows {
  loss: Tensor;
  /** Of probabilities every row counts 1. */
  share: Tensor | null;
}

function reduceRows({ loss, share }: Rows, reduction: Reduction): Tensor {
  if (reduction === 'none') return loss;
  const total = loss.sum().reshape(1);
  if (reduction === 'sum') return total;
  return total.div(share ? share.sum().reshape(1) : loss.size);
}

/** 1 or the class's weight where a row counts, else 0, of the targets' shape. */
function shareOf(target: Tensor, counted: Tensor, weight: Tensor | null, like: Tensor): Tensor {
  if (!weight) return counted.to(like.dtype);
  const own = indexSelect(weight, 0, reshape(choose(counted, target, 0), [target.size]));
  return choose(counted, reshape(own, target.shape), 0);
}

/** x[..., target] where a row counts, else 0. */
function pick(x: Tensor, target: Tensor, counted: Tensor): Tensor {
  const at = choose(counted, target, 0).unsqueeze(-1);
  return choose(counted, gather(x, -1, at).squeeze(-1), 0);
}

/** Weighted classes, or targets that are shares: softmax and sums as operators of their own. */
const composedRows = computesInFloat32(
  (logits: Tensor, target: Tensor, weight: Tensor | null, numbers: RowNumbers): Rows => {
    const { ignoreIndex, smoothing, zLoss, softcap } = numbers;
    const z = softcap > 0 ? logits.div(softcap).tanh().mul(softcap) : logits;
    const logs = logSoftmax(z);
    const n = z.shape[z.ndim - 1];
    const spread = (): Tensor => (weight ? logs.mul(weight) : logs).sum(-1).mul(-smoothing / n);
    if (isFloat(target.dtype)) {
      const shares = smoothing > 0 ? target.mul(1 - smoothing).add(smoothing / n) : target;
      const products = logs.mul(weight ? shares.mul(weight) : shares);
      let loss = products.sum(-1).neg();
      if (zLoss > 0) {
        const largest = z.argmax(-1).unsqueeze(-1);
        loss = loss.add(gather(z.sub(logs), -1, largest).squeeze(-1).square().mul(zLoss));
      }
      return { loss, share: null };
    }
    const counted = ne(target, ignoreIndex);
    const share = shareOf(target, counted, weight, logs);
    let own = pick(logs, target, counted).mul(smoothing - 1);
    if (zLoss > 0) own = own.add(pick(z.sub(logs), target, counted).square().mul(zLoss));
    const loss = own.mul(share);
    return { loss: smoothing > 0 ? loss.add(choose(counted, spread(), 0)) : loss, share };
  },
  (rows) => rows,
);

/**
 * -log softmax(logits)[target] for logits [..., V] and int32 targets [...]; or -sum of target log softmax(logits) for
 * targets [..., V] of floats, the probability of each class. Shape [1], or that of the rows with reduction 'none'. float32
 * also for bfloat16 logits. With a class's weights and label smoothing as PyTorch has them, whose classes are the second
 * dimension, here the last one: of smoothed rows each class's share has its own weight, and the mean divides by the weights of
 * the targets; the mean over probabilities divides by the number of rows. A target that is neither a class nor `ignoreIndex` is
 * INVALID_ARGUMENT, thrown here or by what reads the loss.
 */
export const crossEntropy = scoped((logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor => {
  const where = 'crossEntropy';
  checkOptions(where, options, OPTIONS);
  const { weight = null } = options;
  checkFloat(where, 'logits', logits);
  checkTensor(where, 'target', target);
  const numbers = rowNumbers(where, options);
  const { ignoreIndex } = numbers;
  const reduction = checkReduction(where, options.reduction);
  if (logits.ndim < 1) throw argumentError('SHAPE', where, 'logits', '[..., V]', '[]');
  checkClassWeight(where, weight, logits);
  if (isFloat(target.dtype)) {
    checkAlike(where, 'target', target, logits, 'logits');
    checkShape(where, 'target', target, logits.shape, 'probabilities like logits');
    if (options.ignoreIndex !== undefined) {
      throw argumentError(
        'INVALID_ARGUMENT',
        where,
        'ignoreIndex',
        'left out with probabilities as target',
        String(ignoreIndex),
      );
    }
    return reduceRows(composedRows(logits, target, weight, numbers), reduction);
  }
  checkTargets(where, target, logits);
  // Without classes every target must be ignored, and there is no weight to read.
  if (weight && weight.size > 0) return reduceRows(composedRows(logits, target, weight, numbers), reduction);
  const loss = reshape(fusedRows(logits, target, numbers), target.shape);
  const share = reduction === 'mean' ? shareOf(target, ne(target, ignoreIndex), null, loss) : null;
  return reduceRows({ loss, share }, reduction);
});

function checkTargets(where: string, target: Tensor, rows: Tensor): void {
  checkIndices(where, 'target', target, rows);
  checkShape(where, 'target', target, rows.shape.slice(0, -1), 'one class per row');
}

function checkClassWeight(where: string, weight: Tensor | null, rows: Tensor): void {
  if (weight === null) return;
  checkFloat(where, 'weight', weight);
  checkAlike(where, 'weight', weight, rows, 'the rows');
  checkShape(where, 'weight', weight, [rows.shape[rows.ndim - 1]], 'classes');
}

/**
 * -x[target], for logarithms of probabilities x [..., V] and int32 targets [...]; shape [1], or that of the targets. The mean
 * divides by the sum of the targets' weights. As in PyTorch, whose classes are the second dimension.
 */
export const nllLoss = computesInFloat32(
  (x: Tensor, target: Tensor, options: NllOptions = {}): Tensor => {
    const where = 'nllLoss';
    checkOptions(where, options, NLL);
    const { ignoreIndex = -100, weight = null } = options;
    checkFloat(where, 'x', x);
    if (x.ndim < 1) throw argumentError('SHAPE', where, 'x', '[..., V]', '[]');
    checkTargets(where, target, x);
    checkClassWeight(where, weight, x);
    checkInteger(where, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
    const reduction = checkReduction(where, options.reduction);
    const counted = ne(target, ignoreIndex);
    const share = shareOf(target, counted, weight, x);
    return reduceRows({ loss: pick(x, target, counted).neg().mul(share), share }, reduction);
  },
  (loss) => loss,
);
