// Derivatives of unary functions as compositions of differentiable operators: for gradients of gradients.
import type { Tensor } from '../core';
import type { UnaryOp } from '../backends';
import { zerosBeside } from './kernel';

/** What the derivative is computed from: the argument, the value, or neither. */
export const SLOPE_NEEDS: Record<UnaryOp, '' | 'x' | 'y'> = {
  affine: '',
  exp: 'y',
  log: 'x',
  sqrt: 'y',
  rsqrt: 'y',
  reciprocal: 'y',
  abs: 'x',
  square: 'x',
  sin: 'x',
  cos: 'x',
  tanh: 'x',
  sigmoid: 'x',
  logSigmoid: 'x',
  silu: 'x',
  gelu: 'x',
  geluTanh: 'x',
  softplus: 'x',
  // Positive where the argument is.
  relu: 'y',
  elu1: 'y',
  pow: 'x',
  clamp: 'x',
  log1p: 'x',
  expm1: 'x',
  erf: 'x',
  floor: '',
  ceil: '',
  round: '',
  trunc: '',
  sign: '',
};

/** The derivative from what SLOPE_NEEDS says, with the parameters of the function. */
type Slope = (at: Tensor, a: number, b: number) => Tensor;

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

const flat = (t: Tensor): Tensor => zerosBeside(t);
const sigmoidSlope = (x: Tensor): Tensor => x.sigmoid().mul(x.neg().sigmoid());

export const SLOPES: Record<UnaryOp, Slope> = {
  affine: (x, a) => zerosBeside(x).add(a),
  exp: (y) => y,
  log: (x) => x.reciprocal(),
  sqrt: (y) => y.reciprocal().mul(0.5),
  rsqrt: (y) => y.square().mul(y).mul(-0.5),
  reciprocal: (y) => y.square().neg(),
  abs: (x) => x.sign(),
  square: (x) => x.mul(2),
  sin: (x) => x.cos(),
  cos: (x) => x.sin().neg(),
  tanh: (x) => sigmoidSlope(x.mul(2)).mul(4),
  sigmoid: sigmoidSlope,
  logSigmoid: (x) => x.neg().sigmoid(),
  silu: (x) => x.sigmoid().mul(x.mul(x.neg().sigmoid()).add(1)),
  gelu: (x) => {
    const below = x.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
    return below.add(
      x
        .square()
        .mul(-0.5)
        .exp()
        .mul(x)
        .mul(0.5 * SQRT_2_OVER_PI),
    );
  },
  geluTanh: (x) => {
    // x sigmoid(u)
    const u = x.mul(x.square().mul(0.044715).add(1)).mul(2 * SQRT_2_OVER_PI);
    const du = x
      .square()
      .mul(3 * 0.044715)
      .add(1)
      .mul(2 * SQRT_2_OVER_PI);
    return u.sigmoid().add(x.mul(sigmoidSlope(u)).mul(du));
  },
  softplus: (x) => x.sigmoid(),
  relu: (y) => y.gt(0).to(y.dtype),
  elu1: (y) => y.minimum(1),
  pow: (x, a) => (a === 0 ? flat(x) : x.pow(a - 1).mul(a)),
  clamp: (x, a, b) => x.ge(a).logicalAnd(x.le(b)).to(x.dtype),
  log1p: (x) => x.add(1).reciprocal(),
  expm1: (x) => x.exp(),
  erf: (x) =>
    x
      .square()
      .neg()
      .exp()
      .mul(2 / Math.sqrt(Math.PI)),
  floor: flat,
  ceil: flat,
  round: flat,
  trunc: flat,
  sign: flat,
};
