// Cross entropy with label smoothing, z-loss and a soft cap on the logits.
import type { KernelArguments } from '../table';
import { checkIndices } from './indices';
import { floats, ints } from './view';

const capped = (x: number, softcap: number) => (softcap > 0 ? softcap * Math.tanh(x / softcap) : x);

export function crossEntropy(args: KernelArguments<'crossEntropy'>): void {
  const { rows, n, ignoreIndex, smoothing, zLoss, softcap } = args;
  const logits = floats(args.logits);
  const target = ints(args.target);
  checkIndices('crossEntropy', 'target', target, rows, n, ignoreIndex);
  const loss = floats(args.loss);
  const lse = floats(args.lse);
  const z = new Float64Array(n);
  for (let r = 0; r < rows; r++) {
    let most = -Infinity;
    let total = 0;
    for (let i = 0; i < n; i++) {
      z[i] = capped(logits[r * n + i], softcap);
      most = Math.max(most, z[i]);
      total += z[i];
    }
    let sum = 0;
    for (let i = 0; i < n; i++) sum += Math.exp(z[i] - most);
    const logSum = most + Math.log(sum);
    lse[r] = logSum;
    if (target[r] === ignoreIndex) {
      loss[r] = 0;
      continue;
    }
    // Without smoothing the mean is left out: a logit of -Infinity would make it 0 * Infinity.
    const smooth = smoothing > 0 ? (smoothing * total) / n : 0;
    loss[r] = logSum - (1 - smoothing) * z[target[r]] - smooth + zLoss * logSum * logSum;
  }
}

export function crossEntropyBackward(args: KernelArguments<'crossEntropyBackward'>): void {
  const { rows, n, ignoreIndex, smoothing, zLoss, softcap } = args;
  const logits = floats(args.logits);
  const target = ints(args.target);
  checkIndices('crossEntropy', 'target', target, rows, n, ignoreIndex);
  const lse = floats(args.lse);
  const dloss = floats(args.dloss);
  const dlogits = floats(args.dlogits);
  for (let r = 0; r < rows; r++) {
    const at = r * n;
    if (target[r] === ignoreIndex) {
      dlogits.fill(0, at, at + n);
      continue;
    }
    const towards = 1 + 2 * zLoss * lse[r];
    for (let i = 0; i < n; i++) {
      const z = capped(logits[at + i], softcap);
      let dz = Math.exp(z - lse[r]) * towards - smoothing / n;
      if (i === target[r]) dz -= 1 - smoothing;
      if (softcap > 0) dz *= 1 - (z / softcap) ** 2;
      dlogits[at + i] = dloss[r] * dz;
    }
  }
}
