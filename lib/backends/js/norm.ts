// Layer, root-mean-square, L2 and sum normalisation of rows.
import { NORM_KINDS, type KernelArguments } from '../table';
import { floats, maybe } from './view';

export function norm(args: KernelArguments<'norm'>): void {
  const { rows, n, groups, eps } = args;
  const kind = NORM_KINDS[args.kind];
  const x = floats(args.x);
  const y = floats(args.y);
  const stats = floats(args.stats);
  const weight = maybe(args.weight);
  const bias = maybe(args.bias);
  for (let r = 0; r < rows; r++) {
    const at = r * n;
    const group = (r % groups) * n;
    let mean = 0;
    if (kind === 'layer') {
      for (let i = 0; i < n; i++) mean += x[at + i];
      mean /= n;
    }
    let [squares, level] = [0, 0];
    for (let i = 0; i < n; i++) {
      squares += (x[at + i] - mean) ** 2;
      level += x[at + i];
    }
    const deviation = kind === 'sum' ? level + eps : Math.sqrt((kind === 'l2' ? squares : squares / n) + eps);
    const reciprocal = 1 / deviation;
    for (let i = 0; i < n; i++) {
      const normalised = (x[at + i] - mean) * reciprocal;
      y[at + i] = normalised * (weight ? weight[group + i] : 1) + (bias ? bias[group + i] : 0);
    }
    stats[2 * r] = mean;
    stats[2 * r + 1] = reciprocal;
  }
}

/** With z = (x - mean) rstd and g = weight dy: dx = rstd (g - [mean g] - z (z . g) / n), without / n for l2; rstd (g - z . g) by the sum. */
export function normBackward(args: KernelArguments<'normBackward'>): void {
  const { rows, n, groups } = args;
  const kind = NORM_KINDS[args.kind];
  const x = floats(args.x);
  const dy = floats(args.dy);
  const dx = floats(args.dx);
  const stats = floats(args.stats);
  const weight = maybe(args.weight);
  const dweight = new Float64Array(groups * n);
  const dbias = new Float64Array(groups * n);
  const z = new Float64Array(n);
  const g = new Float64Array(n);
  for (let r = 0; r < rows; r++) {
    const at = r * n;
    const group = (r % groups) * n;
    const mean = stats[2 * r];
    const reciprocal = stats[2 * r + 1];
    let gSum = 0;
    let zgSum = 0;
    for (let i = 0; i < n; i++) {
      const upstream = dy[at + i];
      z[i] = (x[at + i] - mean) * reciprocal;
      g[i] = upstream * (weight ? weight[group + i] : 1);
      gSum += g[i];
      zgSum += z[i] * g[i];
      dweight[group + i] += upstream * z[i];
      dbias[group + i] += upstream;
    }
    const shift = kind === 'sum' ? zgSum : kind === 'layer' ? gSum / n : 0;
    const along = kind === 'sum' ? 0 : kind === 'l2' ? zgSum : zgSum / n;
    for (let i = 0; i < n; i++) {
      const value = reciprocal * (g[i] - shift - z[i] * along);
      dx[at + i] = args.accumulate ? dx[at + i] + value : value;
    }
  }
  maybe(args.dweight)?.set(dweight);
  maybe(args.dbias)?.set(dbias);
}
