// Feature maps phi of keys and queries (spec 0.1).
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
import { affine, elu1, exp, mul, relu, square, sub } from './elementwise';
import { checkFloat, checkTensor, computesInFloat32, takesBfloat16 } from './kernel';
import { linear } from './linear';
import { matmul } from './matmul';
import { layerNorm, sumNorm } from './norm';
import { sum } from './reduce';
import { softmax } from './softmax';
import { cat } from './join';
import { expand } from './view';
import { ones } from './create';

export const FEATURE_MAPS = [
  'identity',
  'elu1',
  'relu',
  'dpfp',
  'softmax',
  'favor',
  'hedgehog',
  't2r',
  'taylor',
  'square',
  'rebased',
] as const;
/** Maps that `featureMap` and the option of rules know; those that need weights take them as options. */
export type FeatureMapName = (typeof FEATURE_MAPS)[number];

/** Which map, and its parameters. */
export interface FeatureMapOptions {
  /** 'identity' by default. */
  featureMap?: FeatureMapName | null;
  /** dpfp: how many rolled products, 1 to 2 D - 1; the result has 2 D nu features. */
  nu?: number;
  /** favor: random projection [D, M]; the result has 2 M features. */
  omega?: Tensor;
  /** favor: added to the exponentials. */
  featureEps?: number;
  /** hedgehog [D, D], t2r [p, D]: projection; rebased [D]: affine layer norm. */
  weight?: Tensor;
  /** hedgehog [D], t2r [p]: added by the projection; rebased [D]: by the layer norm. None by default. */
  bias?: Tensor;
  /** rebased: eps of its layer norm, 1e-5. */
  normEps?: number;
  /** Divides the features by their sum (Schlag et al. 2021). */
  sumNorm?: boolean;
  /** Added to that sum, 0 by default. */
  sumNormEps?: number;
}

export const FEATURE_MAP_OPTIONS: OptionNames<FeatureMapOptions> = {
  featureMap: true,
  nu: true,
  omega: true,
  featureEps: true,
  weight: true,
  bias: true,
  normEps: true,
  sumNorm: 'flag',
  sumNormEps: true,
};

type FeatureMap = (x: Tensor, options: FeatureMapOptions) => Tensor;

const MAPS: Record<FeatureMapName, FeatureMap> = {
  identity: (x) => x,
  elu1: (x) => elu1(x),
  relu: (x) => relu(x),
  softmax: (x) => softmax(x),
  dpfp: (x, { nu = 1 }) => dpfp(x, nu),
  // These exponentiate what a chain of operators gives.
  favor: computesInFloat32((x, { omega, featureEps = 0 }) => favor(x, required('omega', omega), featureEps)),
  hedgehog: computesInFloat32((x, { weight, bias }) => {
    const u = affine(linear(x, required('weight', weight), bias ?? null), 2, 0);
    return softmax(cat([u, u.neg()], -1));
  }),
  t2r: (x, { weight, bias }) => relu(linear(x, required('weight', weight), bias ?? null)),
  taylor: (x) => {
    const d = x.shape[x.ndim - 1];
    const one = expand(ones([1], { dtype: x.dtype, device: x.device }), [...x.shape.slice(0, -1), 1]);
    return cat(
      [one, affine(x, d ** -0.25, 0), affine(square(x), (2 * d) ** -0.5, 0), affine(pairs(x), d ** -0.5, 0)],
      -1,
    );
  },
  square: (x) => squares(x),
  rebased: (x, { weight, bias, normEps = 1e-5 }) =>
    squares(layerNorm(x, weight ?? null, bias ?? null, { eps: normEps })),
};

function required(argument: string, t: Tensor | undefined): Tensor {
  checkTensor('featureMap', argument, t);
  return t;
}

/** Products x' * roll(x', j), j = 1..nu, of x' = [relu(x), relu(-x)] (Schlag et al. 2021). */
function dpfp(x: Tensor, nu: number): Tensor {
  const width = 2 * x.shape[x.ndim - 1];
  checkInteger('featureMap', 'nu', nu, 1, width - 1);
  const both = relu(cat([x, x.neg()], -1));
  const rolled = (j: number): Tensor => cat([both.slice(-1, width - j), both.slice(-1, 0, width - j)], -1);
  return cat(
    Array.from({ length: nu }, (_, i) => mul(both, rolled(i + 1))),
    -1,
  );
}

/** (2 M)^-1/2 ([exp(x omega - |x|^2 / 2), exp(-x omega - |x|^2 / 2)] + eps) (Choromanski et al. 2021). */
function favor(x: Tensor, omega: Tensor, eps: number): Tensor {
  const m = omega.shape[omega.ndim - 1];
  const projected = matmul(x, omega);
  const half = affine(sum(square(x), -1, true), 0.5, 0);
  const features = exp(cat([sub(projected, half), sub(projected.neg(), half)], -1));
  return affine(features, (2 * m) ** -0.5, eps * (2 * m) ** -0.5);
}

/** Monomials of degree 2, of which phi(q) . phi(k) = (q . k)^2 / D. */
function squares(x: Tensor): Tensor {
  const d = x.shape[x.ndim - 1];
  return cat([affine(square(x), d ** -0.5, 0), affine(pairs(x), (2 / d) ** 0.5, 0)], -1);
}

/** x_i x_j for i < j, row by row. */
function pairs(x: Tensor): Tensor {
  const d = x.shape[x.ndim - 1];
  const rows = Array.from({ length: d - 1 }, (_, i) => mul(x.slice(-1, i, i + 1), x.slice(-1, i + 1)));
  return rows.length > 0 ? cat(rows, -1) : x.slice(-1, 0, 0);
}

/** Applies a feature map to the last dimension, then the sum-norm when asked for. */
export const featureMap = takesBfloat16((x: Tensor, options: FeatureMapOptions = {}): Tensor => {
  checkOptions('featureMap', options, FEATURE_MAP_OPTIONS);
  return mapFeatures(x, options);
});

/** The same for options that a rule has checked, its own among them. */
export const mapFeatures = takesBfloat16((x: Tensor, options: FeatureMapOptions): Tensor => {
  checkFloat('featureMap', 'x', x);
  if (x.ndim < 1) throw argumentError('SHAPE', 'featureMap', 'x', '[..., D]', formatShape(x.shape));
  const name = checkChoice('featureMap', 'featureMap', options.featureMap ?? 'identity', FEATURE_MAPS);
  for (const eps of ['featureEps', 'normEps', 'sumNormEps'] as const) {
    if (options[eps] !== undefined) checkNumber('featureMap', eps, options[eps], 0);
  }
  const phi = MAPS[name](x, options);
  return options.sumNorm ? sumNorm(phi, options.sumNormEps) : phi;
});
