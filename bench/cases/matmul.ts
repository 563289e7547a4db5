// Matrix products of the sizes of a training step, as stored for forward (NT) and the two backward products (NN, TN);
// among the last the gradients of its weights, sums over 2048 tokens.
import type { Finding, Prepared } from '../contender';
import { uniform } from '../inputs';
import { fw } from '../library';
import type { Case, MatmulProblem } from '../problem';
import { relativeError, stored, TOLERANCE } from '../reference';
import { finishQueue } from './queue';

/** Small products whose operands stay in the second-level cache; 512 of them come from beyond it. */
const HOT = 16;

const FORMS = ['NN', 'NT', 'TN'] as const;

function matmul(form: MatmulProblem['form'], m: number, n: number, k: number, batch = 1): Case {
  const size = `${m}x${n}x${k}`;
  return {
    name: `matmul/${form}/${size}${batch === HOT ? '/hot' : ''}`,
    shape: batch === 1 ? size : `${batch} of ${size}`,
    problem: { kind: 'matmul', device: 'cpu', dtype: 'float32', precision: 'highest', form, batch, m, n, k },
  };
}

export const matmulCases: Case[] = [
  ...FORMS.map((form) => matmul(form, 2048, 1024, 1024)),
  ...FORMS.map((form) => matmul(form, 2048, 256, 1024)),
  ...[
    [256, 256],
    [704, 256],
    [256, 704],
  ].map(([m, n]) => matmul('TN', m, n, 2048)),
  ...FORMS.map((form) => matmul(form, 64, 64, 64, 512)),
  ...FORMS.map((form) => matmul(form, 64, 64, 64, HOT)),
];

/** The operands as stored: a [batch, m, k], or [batch, k, m] for TN; b [batch, k, n], or [batch, n, k] for NT. */
export function matmulOperands({
  form,
  batch,
  m,
  n,
  k,
}: MatmulProblem): Record<'a' | 'b', { data: Float32Array; shape: number[] }> {
  return {
    a: { data: uniform(batch * m * k, -1, 1, 1), shape: form === 'TN' ? [batch, k, m] : [batch, m, k] },
    b: { data: uniform(batch * k * n, -1, 1, 2), shape: form === 'NT' ? [batch, n, k] : [batch, k, n] },
  };
}

/** Compares rows spread over all of c with float64 sums. */
export function checkMatmul(problem: MatmulProblem, c: Float32Array): Finding[] {
  const { dtype, precision, form, batch, m, n, k } = problem;
  const operands = matmulOperands(problem);
  const rounded = dtype === 'bfloat16' || precision === 'medium';
  const [a, b] = [operands.a, operands.b].map(({ data }) => stored(data, dtype));
  const rows = 37;
  const found = new Float32Array(rows * n);
  const reference = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const row = Math.round((r * (batch * m - 1)) / (rows - 1));
    const [i, j] = [Math.floor(row / m), row % m];
    found.set(c.subarray(row * n, (row + 1) * n), r * n);
    for (let l = 0; l < k; l++) {
      const x = a[form === 'TN' ? (i * k + l) * m + j : (i * m + j) * k + l];
      for (let o = 0; o < n; o++)
        reference[r * n + o] += x * b[form === 'NT' ? (i * n + o) * k + l : (i * k + l) * n + o];
    }
  }
  const { forward } = TOLERANCE[rounded ? 'bfloat16' : 'float32'];
  return [{ quantity: 'product', error: relativeError(found, reference), tolerance: forward }];
}

export function prepareMatmul(problem: MatmulProblem): Prepared {
  const { device, dtype, precision, form, batch, m, n } = problem;
  fw.setFloat32MatmulPrecision(precision);
  const { a, b } = matmulOperands(problem);
  const tensors = [a, b].map(({ data, shape }) =>
    fw.tensor(data, { shape: batch === 1 ? shape.slice(1) : shape, device, dtype }),
  );
  const dim = batch === 1 ? 0 : 1;
  const left = form === 'TN' ? tensors[0].transpose(dim, dim + 1) : tensors[0];
  const right = form === 'NT' ? tensors[1].transpose(dim, dim + 1) : tensors[1];
  const finish = finishQueue(device);
  return {
    run(calls) {
      fw.noGrad(() => {
        for (let i = 0; i < calls; i++) fw.scope(() => void fw.matmul(left, right));
      });
      return finish();
    },
    check: () =>
      checkMatmul(
        problem,
        fw.noGrad(
          () =>
            fw
              .matmul(left, right)
              .reshape(batch * m * n)
              .dataSync() as Float32Array,
        ),
      ),
  };
}
