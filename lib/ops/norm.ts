// Normalisations over the last dimension.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  type Tensor,
} from '../core';
import { NORM_KINDS, type NormKind } from '../backends';
import { type BackwardFunction, record, throughComposition } from '../autograd';
import {
  checkAlike,
  checkFloat,
  checkResidual,
  checkShape,
  emptyLike,
  kernelsOf,
  statisticsDtype,
  takesBfloat16,
  toFloat32,
} from './kernel';
import { add, div, mul, rsqrt, sigmoid, silu, square, sub } from './elementwise';
import { mean, sum } from './reduce';
import { to } from './cast';
import { contiguous, reshape } from './view';

interface NormArguments {
  kind: NormKind;
  eps: number;
  /** Rows that share the weight take turns through this many of them: weight [groups * n]. */
  groups: number;
}

function normalize(
  name: string,
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  { kind, eps, groups }: NormArguments,
): Tensor {
  checkFloat(name, 'x', x);
  checkNumber(name, 'eps', eps, 0);
  const n = x.shape[x.ndim - 1];
  for (const [argument, t] of [
    ['weight', weight],
    ['bias', bias],
  ] as const) {
    if (t === null || t === undefined) continue;
    checkFloat(name, argument, t);
    checkAlike(name, argument, t, x, 'x');
    checkShape(name, argument, t, [groups * n], 'features');
  }
  const source = contiguous(x);
  const scale = weight && contiguous(weight);
  const rows = n === 0 ? 0 : x.size / n;
  const y = emptyLike(x);
  const stats = emptyLike(x, [rows, 2], statisticsDtype(x));
  const code = NORM_KINDS.indexOf(kind);
  kernelsOf(x).norm({
    x: source,
    weight: scale,
    bias: bias && contiguous(bias),
    y,
    stats,
    rows,
    n,
    groups,
    kind: code,
    eps,
  });
  const saved = scale ? [source, stats, scale] : [source, stats];
  const back: BackwardFunction = ([g], [sx, sstats, sweight], needs, into) => {
    if (!g) return [];
    const before = needs[0] ? into(0) : null;
    const dx = before ?? emptyLike(sx);
    const dweight = needs[1] ? emptyLike(sx, [groups * n]) : null;
    const dbias = needs[2] ? emptyLike(sx, [groups * n]) : null;
    kernelsOf(sx).normBackward({
      x: sx,
      weight: sweight ?? null,
      stats: sstats,
      dy: contiguous(g),
      dx,
      dweight,
      dbias,
      rows,
      n,
      groups,
      kind: code,
      accumulate: Number(before !== null),
    });
    return [before ? null : dx, dweight, dbias];
  };
  const recorded: BackwardFunction = ([g], [sx, , sweight], needs) => {
    if (!g) return [];
    const compose = (at: Tensor, by: Tensor | null): Tensor =>
      to(scaled(plainNorm(toFloat32(at), kind, eps), toFloat32(by), groups), at.dtype);
    const parts = throughComposition(compose, [sx, sweight ?? null], [g]);
    return [...parts, needs[2] ? perFeature(g, groups) : null];
  };
  record(name, [x, weight, bias], [y], saved, back, recorded);
  return y;
}

/** Options of `layerNorm`, `groupNorm` and `l2Norm`. */
export interface NormOptions {
  /** 1e-5 by default, of `l2Norm` 1e-6. */
  eps?: number;
}

const NORM_OPTIONS: OptionNames<NormOptions> = { eps: true };

/** A bare number is the eps, as in PyTorch's positional calls. */
function epsOf(where: string, options: NormOptions | number, usual: number): number {
  if (typeof options !== 'object') return options;
  checkOptions(where, options, NORM_OPTIONS);
  return options.eps ?? usual;
}

/** The same out of operators. */
function plainNorm(x: Tensor, kind: NormKind, eps: number): Tensor {
  if (kind === 'sum') return div(x, add(sum(x, -1, true), eps));
  const from = kind === 'layer' ? sub(x, mean(x, -1, true)) : x;
  const squares = square(from);
  return mul(from, rsqrt(add(kind === 'l2' ? sum(squares, -1, true) : mean(squares, -1, true), eps)));
}

/** Rows [..., groups, n] times weight [groups * n], or [..., n] times [n]. */
function scaled(x: Tensor, weight: Tensor | null, groups: number): Tensor {
  return weight ? mul(x, groups === 1 ? weight : reshape(weight, [groups, x.shape[x.ndim - 1]])) : x;
}

/** The sum of such rows, [groups * n]. */
function perFeature(g: Tensor, groups: number): Tensor {
  return sum(reshape(g, [-1, groups * g.shape[g.ndim - 1]]), 0);
}

/** (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension (Ba et al. 2016). */
export const layerNorm = takesBfloat16(
  (x: Tensor, weight: Tensor | null = null, bias: Tensor | null = null, options: NormOptions | number = {}): Tensor => {
    const eps = epsOf('layerNorm', options, 1e-5);
    return normalize('layerNorm', x, weight, bias, { kind: 'layer', eps, groups: 1 });
  },
);

/** Options of `rmsNorm`. */
export interface RmsNormOptions {
  /** 1e-6 by default. */
  eps?: number;
  /** Added after the weight, of its shape, that of the last dimension; none by default. */
  bias?: Tensor | null;
  /** Added to x before the norm; of its shape. None by default. */
  residual?: Tensor | null;
}

const RMS_OPTIONS: OptionNames<RmsNormOptions> = { eps: true, bias: true, residual: true };

/** x / sqrt(mean x^2 + eps) * weight + bias over the last dimension; `residual` is added to x first. */
export const rmsNorm = takesBfloat16(
  (x: Tensor, weight: Tensor | null = null, options: RmsNormOptions = {}): Tensor => {
    checkOptions('rmsNorm', options, RMS_OPTIONS);
    const { eps = 1e-6, bias = null, residual = null } = options;
    checkFloat('rmsNorm', 'x', x);
    checkResidual('rmsNorm', residual, x, x.shape);
    return normalize('rmsNorm', residual ? add(x, residual) : x, weight, bias, { kind: 'rms', eps, groups: 1 });
  },
);

/** x / sqrt(sum x^2 + eps) over the last dimension. */
export const l2Norm = takesBfloat16((x: Tensor, options: NormOptions | number = {}): Tensor =>
  normalize('l2Norm', x, null, null, { kind: 'l2', eps: epsOf('l2Norm', options, 1e-6), groups: 1 }),
);

/** x / (sum x + eps) over the last dimension (Schlag et al. 2021). */
export function sumNorm(x: Tensor, eps = 0): Tensor {
  return normalize('featureMap', x, null, null, { kind: 'sum', eps, groups: 1 });
}

/** Layer norm of each of `groups` equal parts of the last dimension; weight and bias run over all of it. */
export const groupNorm = takesBfloat16(
  (
    x: Tensor,
    groups: number,
    weight: Tensor | null = null,
    bias: Tensor | null = null,
    options: NormOptions | number = {},
  ): Tensor => {
    const eps = epsOf('groupNorm', options, 1e-5);
    checkFloat('groupNorm', 'x', x);
    return reshape(
      normalize('groupNorm', grouped('groupNorm', x, groups), weight, bias, { kind: 'layer', eps, groups }),
      x.shape,
    );
  },
);

function grouped(where: string, x: Tensor, groups: number): Tensor {
  const n = x.shape[x.ndim - 1];
  checkInteger(where, 'groups', groups, 1);
  if (n % groups !== 0)
    throw argumentError('SHAPE', where, 'x', `[..., a multiple of ${groups}]`, formatShape(x.shape));
  return reshape(x, [...x.shape.slice(0, -1), groups, n / groups]);
}

/** Options of `rmsNormGated`. */
export interface GatedNormOptions {
  /** 1e-5 by default. */
  eps?: number;
  /** What the gate goes through; 'silu' by default. */
  activation?: 'silu' | 'sigmoid';
  /** true: norm(x) * act(z) (GLA, Gated DeltaNet, KDA); false: norm(x * act(z)) (Mamba-2). */
  normBeforeGate?: boolean;
  /** One mean per this many channels; all of them by default. */
  groupSize?: number;
}

const GATED_OPTIONS: OptionNames<GatedNormOptions> = {
  eps: true,
  activation: true,
  normBeforeGate: 'flag',
  groupSize: true,
};

/** RMS norm with an output gate z; weight over the last dimension of x. */
export const rmsNormGated = takesBfloat16(
  (x: Tensor, z: Tensor, weight: Tensor | null, options: GatedNormOptions = {}): Tensor => {
    checkOptions('rmsNormGated', options, GATED_OPTIONS);
    const { eps = 1e-5, activation = 'silu', normBeforeGate = true } = options;
    checkChoice('rmsNormGated', 'activation', activation, ['silu', 'sigmoid']);
    checkFloat('rmsNormGated', 'x', x);
    checkFloat('rmsNormGated', 'z', z);
    checkAlike('rmsNormGated', 'z', z, x, 'x');
    const n = x.shape[x.ndim - 1];
    const { groupSize } = options;
    if (groupSize !== undefined) {
      checkInteger('rmsNormGated', 'groupSize', groupSize, 1);
      if (n % groupSize !== 0) {
        throw argumentError('INVALID_ARGUMENT', 'rmsNormGated', 'groupSize', `a divisor of ${n}`, String(groupSize));
      }
    }
    const groups = groupSize === undefined ? 1 : Math.max(1, n / groupSize);
    const gate = activation === 'silu' ? silu(z) : sigmoid(z);
    const source = grouped('rmsNormGated', normBeforeGate ? x : mul(x, gate), groups);
    const y = reshape(normalize('rmsNormGated', source, weight, null, { kind: 'rms', eps, groups }), x.shape);
    return normBeforeGate ? mul(y, gate) : y;
  },
);
