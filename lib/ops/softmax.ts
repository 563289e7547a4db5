// Softmax and its logarithm.
import { resolveDim, type Tensor } from '../core';
import { record } from '../autograd';
import { checkFloat, emptyLike, computesInFloat32, kernelsOf, takesBfloat16 } from './kernel';
import { exp, mul, sub } from './elementwise';
import { sum } from './reduce';
import { contiguous } from './view';

function overRows(name: string, x: Tensor, log: number): Tensor {
  const source = contiguous(x);
  const y = emptyLike(x);
  const n = x.shape[x.ndim - 1] ?? 1;
  const rows = n === 0 ? 0 : x.size / n;
  kernelsOf(x).softmax({ x: source, y, rows, n, log });
  record(
    name,
    [x],
    [y],
    [y],
    ([g], [sy]) => {
      if (!g) return [null];
      const dx = emptyLike(sy);
      kernelsOf(sy).softmaxBackward({ y: sy, dy: contiguous(g), dx, rows, n, log });
      return [dx];
    },
    ([g], [sy]) => [g && (log ? sub(g, mul(exp(sy), total(g))) : mul(sy, sub(g, total(mul(g, sy)))))],
  );
  return y;
}

const total = (x: Tensor): Tensor => sum(x, x.ndim === 0 ? [] : -1, true);

type AlongDim = (x: Tensor, dim?: number) => Tensor;

function alongDim(name: string, log: number): AlongDim {
  return (x, dim = -1) => {
    checkFloat(name, 'x', x);
    const d = resolveDim(name, dim, x.ndim);
    if (d === x.ndim - 1) return overRows(name, x, log);
    return overRows(name, x.transpose(d, -1), log).transpose(d, -1);
  };
}

/** e^x / sum e^x along a dimension, the last one by default. */
export const softmax: AlongDim = takesBfloat16(alongDim('softmax', 0));
/** Logarithm of the softmax. The backward pass exponentiates what it has kept, which is float32 therefore. */
export const logSoftmax: AlongDim = computesInFloat32(alongDim('logSoftmax', 1));
