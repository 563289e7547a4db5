// Softmax and its logarithm over rows.
import type { KernelArguments } from '../table';
import { floats } from './view';

export function softmax({ x, y, rows, n, log }: KernelArguments<'softmax'>): void {
  const source = floats(x);
  const target = floats(y);
  for (let at = 0; at < rows * n; at += n) {
    let most = -Infinity;
    for (let i = at; i < at + n; i++) most = Math.max(most, source[i]);
    let sum = 0;
    for (let i = at; i < at + n; i++) sum += Math.exp(source[i] - most);
    const logSum = Math.log(sum);
    for (let i = at; i < at + n; i++) {
      const shifted = source[i] - most;
      target[i] = log ? shifted - logSum : Math.exp(shifted) / sum;
    }
  }
}

export function softmaxBackward({ y, dy, dx, rows, n, log }: KernelArguments<'softmaxBackward'>): void {
  const result = floats(y);
  const upstream = floats(dy);
  const target = floats(dx);
  for (let at = 0; at < rows * n; at += n) {
    let sum = 0;
    for (let i = at; i < at + n; i++) sum += log ? upstream[i] : upstream[i] * result[i];
    for (let i = at; i < at + n; i++) {
      target[i] = log ? upstream[i] - Math.exp(result[i]) * sum : result[i] * (upstream[i] - sum);
    }
  }
}
