// What goes along a dimension: reductions, scans, softmax, norms, feature maps.
import * as fw from '../../../lib';
import { FEATURE_MAPS } from '../../../lib/ops';
import type { Builder } from '../builder';

const atLeast =
  (n: number) =>
  (shape: readonly number[]): boolean =>
    shape.length >= n;

export function reduce(b: Builder): void {
  const { random } = b;
  const op = random.pick(['sum', 'sum', 'mean', 'max', 'min', 'argmax', 'cumsum'] as const);
  const filled = (shape: readonly number[]): boolean => shape.length >= 1 && shape.every((d) => d > 0);
  const x = b.float(op === 'sum' || op === 'cumsum' ? atLeast(1) : filled);
  const { shape } = b.tensor(x);
  const dim = random.int(-shape.length, shape.length - 1);
  const keepdim = random.chance(0.3);
  if (op === 'cumsum') b.emit('reduce', `t${x}.cumsum(${dim})`, [x], ([t]) => [t.cumsum(dim)]);
  else if (op === 'argmax') b.emit('reduce', `t${x}.argmax(${dim})`, [x], ([t]) => [t.argmax(dim)]);
  else if (random.chance(0.2)) b.emit('reduce', `t${x}.${op}()`, [x], ([t]) => [t[op]()]);
  else if ((op === 'sum' || op === 'mean') && random.chance(0.3)) {
    const dims = random.shuffled([...shape.keys()]).slice(0, random.int(1, shape.length));
    b.emit('reduce', `t${x}.${op}([${dims.join(', ')}], ${keepdim})`, [x], ([t]) => [t[op](dims, keepdim)]);
  } else b.emit('reduce', `t${x}.${op}(${dim}, ${keepdim})`, [x], ([t]) => [t[op](dim, keepdim)]);
}

/** What falls out of reductions: statistics, truth, positions. */
export function statistics(b: Builder): void {
  const { random } = b;
  const op = random.pick(['logsumexp', 'var', 'norm', 'any', 'all', 'countNonzero', 'argmin', 'prod'] as const);
  const x = b.float((shape) => shape.length >= 1 && shape.every((d) => d > 1), op === 'prod' ? 2 : 20);
  const { shape } = b.tensor(x);
  const dim = random.int(-shape.length, shape.length - 1);
  const keepdim = random.chance(0.3);
  if (op === 'var') {
    // Of equal numbers it is 0, or the rounding of their mean.
    const options = { correction: random.int(0, 1), keepdim };
    b.emit('statistics', `t${x}.var(${dim}, ${describe(options)}).add(1)`, [x], ([t]) => [t.var(dim, options).add(1)]);
  } else if (op === 'norm') {
    const p = random.pick([1, 2, 3, Infinity]);
    b.emit('statistics', `t${x}.norm(${p}, ${dim}, ${keepdim})`, [x], ([t]) => [t.norm(p, dim, keepdim)]);
  } else if (op === 'countNonzero') b.emit('statistics', `t${x}.${op}(${dim})`, [x], ([t]) => [t[op](dim)]);
  else b.emit('statistics', `t${x}.${op}(${dim}, ${keepdim})`, [x], ([t]) => [t[op](dim, keepdim)]);
}

export function softmax(b: Builder): void {
  const op = b.random.pick(['softmax', 'logSoftmax'] as const);
  const x = b.float(atLeast(1));
  const dim = b.random.int(-b.tensor(x).ndim, b.tensor(x).ndim - 1);
  b.emit('softmax', `t${x}.${op}(${dim})`, [x], ([t]) => [t[op](dim)]);
}

export function norm(b: Builder): void {
  const { random } = b;
  const kind = random.pick(['layerNorm', 'rmsNorm', 'l2Norm', 'groupNorm', 'rmsNormGated'] as const);
  const x = b.float((shape) => shape.length >= 1 && shape[shape.length - 1] > 2);
  const { shape } = b.tensor(x);
  const n = shape[shape.length - 1];
  const weight = random.chance(0.7) ? b.operand([n]) : null;
  const bias = random.chance(0.5) ? b.operand([n]) : null;
  const other = b.operand([...shape]);
  const divisors = [1, 2, 3, 4, 5, 8].filter((g) => n % g === 0 && n / g > 2);
  const groups = random.pick(divisors.length > 0 ? divisors : [1]);
  const flag = random.chance(0.5);
  const eps = random.pick([1e-5, 1e-6, 1e-3]);
  const inputs = [x, other, ...[weight, bias].filter((id) => id !== null)];
  const name = (id: number | null): string => (id === null ? 'null' : `t${id}`);
  const text = `${kind}(t${x}) of t${other}, ${name(weight)}, ${name(bias)}, groups ${groups}, eps ${eps}, ${flag}`;
  b.emit('norm', text, inputs, ([t, z, ...rest]) => {
    const w = weight === null ? null : rest.shift()!;
    const c = bias === null ? null : rest.shift()!;
    switch (kind) {
      case 'layerNorm':
        return [fw.layerNorm(t, w, c, eps)];
      case 'rmsNorm':
        return [fw.rmsNorm(t, w, { eps, bias: c, residual: flag ? z : null })];
      case 'l2Norm':
        return [fw.l2Norm(t, eps)];
      case 'groupNorm':
        return [fw.groupNorm(t, groups, w, c, eps)];
      case 'rmsNormGated':
        return [
          fw.rmsNormGated(t, z, w, {
            eps,
            normBeforeGate: flag,
            groupSize: n / groups,
            activation: groups > 1 ? 'sigmoid' : 'silu',
          }),
        ];
    }
  });
}

/** A feature map of [..., K] with its tensors, and how wide it is. */
export interface Features {
  options: Record<string, unknown>;
  tensors: Record<string, number>;
}

export function features(b: Builder, K: number): Features {
  const { random } = b;
  // One feature alone is always normalised to the same.
  const featureMap = random.pick(FEATURE_MAPS.filter((name) => name !== 'rebased' || K > 1));
  const options: Record<string, unknown> = { featureMap };
  const tensors: Record<string, number> = {};
  const matrix = (shape: number[]): number => b.operand(shape, { plain: true, draw: (r) => 0.4 * r.normal() });
  if (featureMap === 'dpfp') options.nu = random.int(1, Math.max(1, Math.min(3, 2 * K - 1)));
  if (featureMap === 'favor') tensors.omega = matrix([K, random.int(1, 5)]);
  if (featureMap === 'hedgehog') tensors.weight = matrix([K, K]);
  if (featureMap === 't2r') tensors.weight = matrix([random.int(1, 6), K]);
  if (featureMap === 'rebased') Object.assign(tensors, { weight: matrix([K]), bias: matrix([K]) });
  if (random.chance(0.3)) Object.assign(options, { sumNorm: true, sumNormEps: 1e-2 });
  return { options, tensors };
}

export function feature(b: Builder): void {
  const x = b.float((shape) => shape.length >= 1 && shape[shape.length - 1] > 0 && shape[shape.length - 1] < 20, 4);
  const { shape } = b.tensor(x);
  const { options, tensors } = features(b, shape[shape.length - 1]);
  const names = Object.keys(tensors);
  const text = `featureMap(t${x}, ${describe(options, tensors)})`;
  b.emit('feature', text, [x, ...Object.values(tensors)], ([t, ...rest]) => [
    fw.featureMap(t, { ...options, ...Object.fromEntries(names.map((name, i) => [name, rest[i]])) }),
  ]);
}

/** Options as one would write them. */
export function describe(options: Record<string, unknown>, tensors: Record<string, number> = {}): string {
  const parts = Object.entries(options).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  return `{ ${[...parts, ...Object.entries(tensors).map(([key, id]) => `${key}: t${id}`)].join(', ')} }`;
}
