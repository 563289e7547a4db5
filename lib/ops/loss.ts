// Cross entropy, fused with its softmax.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  type OptionNames,
  type Tensor,
} from '../core';
import { type BackwardFunction, record, throughComposition } from '../autograd';
import {
  checkFloat,
  checkIndices,
  checkShape,
  emptyLike,
  kernelsOf,
  statisticsDtype,
  takesBfloat16,
  toFloat32,
} from './kernel';
import { eq } from './compare';
import { arange } from './create';
import { add, affine, div, mul, square, sub, tanh } from './elementwise';
import { embedding } from './embedding';
import { mean } from './reduce';
import { logSoftmax } from './softmax';
import { logsumexp } from './statistics';
import { contiguous, reshape, to } from './view';

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions {
  /** Rows with this target count for nothing; -100 by default. */
  ignoreIndex?: number;
  /** 'mean' over the counted rows (default), their sum, or one loss per row. */
  reduction?: 'mean' | 'sum' | 'none';
  /** Share of the target that is spread over all classes, 0 to 1. */
  labelSmoothing?: number;
  /** Adds zLoss * (log sum e^z)^2 to each counted row. */
  zLoss?: number;
  /** Replaces logits by cap * tanh(logits / cap); not at 0 or null, the default. */
  logitSoftcap?: number | null;
}

const OPTIONS: OptionNames<CrossEntropyOptions> = {
  ignoreIndex: true,
  reduction: true,
  labelSmoothing: true,
  zLoss: true,
  logitSoftcap: true,
};

const entropyOf = (logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor => {
  const where = 'crossEntropy';
  checkOptions(where, options, OPTIONS);
  const { ignoreIndex = -100, reduction = 'mean', labelSmoothing = 0, zLoss = 0 } = options;
  checkFloat(where, 'logits', logits);
  checkIndices(where, 'target', target, logits);
  checkInteger(where, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  checkChoice(where, 'reduction', reduction, ['mean', 'sum', 'none']);
  checkNumber(where, 'labelSmoothing', labelSmoothing, 0, 1);
  checkNumber(where, 'zLoss', zLoss, 0);
  const softcap = checkNumber(where, 'logitSoftcap', options.logitSoftcap ?? 0, 0);
  if (logits.ndim < 1) throw argumentError('SHAPE', where, 'logits', '[..., V]', '[]');
  const n = logits.shape[logits.ndim - 1];
  checkShape(where, 'target', target, logits.shape.slice(0, -1), 'one class per row of logits');
  const rows = target.size;
  const numbers = { rows, n, ignoreIndex, smoothing: labelSmoothing, zLoss, softcap };
  const [z, ids] = [contiguous(logits), contiguous(target)];
  const [loss, lse] = [0, 1].map(() => emptyLike(logits, [rows], statisticsDtype(logits)));
  kernelsOf(logits).crossEntropy({ logits: z, target: ids, loss, lse, ...numbers });
  const back: BackwardFunction = ([g], [sz, sids, slse]) => {
    if (!g) return [null];
    const dlogits = emptyLike(sz);
    kernelsOf(sz).crossEntropyBackward({
      logits: sz,
      target: sids,
      lse: slse,
      dloss: contiguous(g),
      dlogits,
      ...numbers,
    });
    return [dlogits];
  };
  const recorded: BackwardFunction = ([g], [sz, sids]) =>
    throughComposition((at) => plainEntropy(at, sids, numbers), [sz], [g]);
  record(where, [logits], [loss], [z, ids, lse], back, recorded);
  if (reduction === 'none') return reshape(loss, target.shape);
  const total = loss.sum(0, true);
  return reduction === 'sum' ? total : total.div(countRows(reshape(ids, [rows]), ignoreIndex).to(total.dtype));
};

/**
 * -log softmax(logits)[target] for logits [..., V] and int32 targets [...]; shape [1], or that of the targets with
 * reduction 'none'. float32 also for bfloat16 logits. A target that is neither a class nor `ignoreIndex` is
 * INVALID_ARGUMENT, thrown here or by what reads the loss.
 */
export const crossEntropy = takesBfloat16(entropyOf, (loss) => loss);

type EntropyNumbers = {
  rows: number;
  n: number;
  ignoreIndex: number;
  smoothing: number;
  zLoss: number;
  softcap: number;
};

/** The loss of each row out of operators. */
function plainEntropy(logits: Tensor, target: Tensor, numbers: EntropyNumbers): Tensor {
  const { rows, n, ignoreIndex, smoothing, zLoss, softcap } = numbers;
  const wide = toFloat32(reshape(logits, [rows, n]));
  const z = softcap > 0 ? mul(tanh(div(wide, softcap)), softcap) : wide;
  const classes = reshape(target, [rows]);
  const counted = affine(to(eq(classes, ignoreIndex), z.dtype), -1, 1);
  // Rows that do not count read any class.
  const first = arange(0, rows * n, n, { dtype: 'int32', device: target.device });
  const at = add(mul(classes, to(counted, 'int32')), first);
  const logP = logSoftmax(z);
  const ofTarget = reshape(embedding(reshape(logP, [rows * n, 1]), at), [rows]);
  const sharp = mul(ofTarget, smoothing - 1);
  const smooth = smoothing > 0 ? sub(sharp, mul(mean(logP, -1), smoothing)) : sharp;
  if (zLoss === 0) return mul(smooth, counted);
  return mul(add(smooth, mul(square(logsumexp(z, -1)), zLoss)), counted);
}

/** How many targets count, float32 [1]. */
function countRows(target: Tensor, ignoreIndex: number): Tensor {
  const ignored = target.eq(ignoreIndex).to('float32');
  return ignored.mul(-1).add(1).sum(0, true);
}
