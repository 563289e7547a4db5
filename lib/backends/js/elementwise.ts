// Elementwise kernels: functions of one and of two arguments, their derivatives, and the gated unit.
import { dtypeCode } from '../../core';
import {
  BINARY_OPS,
  COMPARE_OPS,
  UNARY_OPS,
  type BinaryOp,
  type CompareOp,
  type KernelArguments,
  type UnaryOp,
} from '../table';
import {
  erf,
  erfc,
  floorQuotient,
  floorRemainder,
  power,
  roundToEven,
  sigmoid,
  sigmoidDerivative,
  silu,
  siluDerivative,
  softplus,
  wholePower,
} from './special';
import { elements, floats, forEachRow } from './view';

interface Unary {
  apply(x: number, a: number, b: number): number;
  /** dy/dx at x, where y = apply(x) */
  derivative(x: number, y: number, a: number, b: number): number;
}

const INT32 = dtypeCode('int32');
const SQRT_HALF = Math.SQRT1_2;
const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const INVERSE_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

const INVERSE_SQRT_PI = 1 / Math.sqrt(Math.PI);

/** The slope of a step. */
const flat = (): number => 0;

/** Distribution function of the standard normal. */
const normalBelow = (x: number) => 0.5 * erfc(-x * SQRT_HALF);
/** geluTanh(x) = x / 2 (1 + tanh(u / 2)) = x sigmoid(u). */
const geluTanhArgument = (x: number) => 2 * SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);

const UNARY: Record<UnaryOp, Unary> = {
  affine: { apply: (x, a, b) => a * x + b, derivative: (_x, _y, a) => a },
  exp: { apply: Math.exp, derivative: (_x, y) => y },
  log: { apply: Math.log, derivative: (x) => 1 / x },
  sqrt: { apply: Math.sqrt, derivative: (_x, y) => 0.5 / y },
  rsqrt: { apply: (x) => 1 / Math.sqrt(x), derivative: (_x, y) => -0.5 * y * y * y },
  reciprocal: { apply: (x) => 1 / x, derivative: (_x, y) => -y * y },
  abs: { apply: Math.abs, derivative: Math.sign },
  square: { apply: (x) => x * x, derivative: (x) => 2 * x },
  sin: { apply: Math.sin, derivative: Math.cos },
  cos: { apply: Math.cos, derivative: (x) => -Math.sin(x) },
  tanh: { apply: Math.tanh, derivative: (x) => 4 * sigmoidDerivative(2 * x) },
  sigmoid: { apply: sigmoid, derivative: sigmoidDerivative },
  logSigmoid: { apply: (x) => -softplus(-x), derivative: (x) => sigmoid(-x) },
  silu: { apply: silu, derivative: siluDerivative },
  gelu: {
    apply: (x) => (x === -Infinity ? 0 : x * normalBelow(x)),
    derivative: (x) => normalBelow(x) + (Number.isFinite(x) ? x * INVERSE_SQRT_2PI * Math.exp(-0.5 * x * x) : 0),
  },
  geluTanh: {
    apply: (x) => (x === -Infinity ? 0 : x * sigmoid(geluTanhArgument(x))),
    derivative: (x) => {
      const u = geluTanhArgument(x);
      const s = sigmoidDerivative(u);
      const slope = 2 * SQRT_2_OVER_PI * (1 + 3 * 0.044715 * x * x);
      return sigmoid(u) + (s === 0 ? 0 : x * s * slope);
    },
  },
  softplus: { apply: softplus, derivative: sigmoid },
  relu: { apply: (x) => (x < 0 ? 0 : x), derivative: (x) => (x > 0 ? 1 : 0) },
  elu1: { apply: (x) => (x > 0 ? x + 1 : Math.exp(x)), derivative: (_x, y) => (y > 1 ? 1 : y) },
  pow: { apply: power, derivative: (x, _y, a) => (a === 0 ? 0 : a * power(x, a - 1)) },
  clamp: {
    apply: (x, a, b) => {
      const above = x < a ? a : x;
      return above > b ? b : above;
    },
    derivative: (x, _y, a, b) => (x >= a && x <= b ? 1 : 0),
  },
  log1p: { apply: Math.log1p, derivative: (x) => 1 / (1 + x) },
  expm1: { apply: Math.expm1, derivative: (x) => Math.exp(x) },
  erf: { apply: erf, derivative: (x) => 2 * INVERSE_SQRT_PI * Math.exp(-x * x) },
  floor: { apply: Math.floor, derivative: flat },
  ceil: { apply: Math.ceil, derivative: flat },
  round: { apply: roundToEven, derivative: flat },
  trunc: { apply: Math.trunc, derivative: flat },
  sign: { apply: Math.sign, derivative: flat },
};

const BINARY: Record<BinaryOp, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: power,
  maximum: Math.max,
  minimum: Math.min,
  floorDivide: floorQuotient,
  remainder: floorRemainder,
  atan2: Math.atan2,
};

const COMPARE: Record<CompareOp, (a: number, b: number) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

/** Of int32, where it differs; storing wraps what a double holds exactly. */
const WHOLE: Partial<typeof BINARY> = {
  mul: Math.imul,
  pow: wholePower,
  floorDivide: (a, b) => (b === 0 ? 0 : Math.floor(a / b)),
  remainder: (a, b) => (b === 0 ? 0 : floorRemainder(a, b)),
};

export function unary({ x, y, n, op, a, b }: KernelArguments<'unary'>): void {
  const { apply } = UNARY[UNARY_OPS[op]];
  const source = floats(x);
  const target = floats(y);
  for (let i = 0; i < n; i++) target[i] = apply(source[i], a, b);
}

export function unaryBackward({ x, y, dy, dx, n, op, a, b }: KernelArguments<'unaryBackward'>): void {
  const { derivative } = UNARY[UNARY_OPS[op]];
  const source = floats(x);
  const result = floats(y);
  const upstream = floats(dy);
  const target = floats(dx);
  for (let i = 0; i < n; i++) target[i] = upstream[i] * derivative(source[i], result[i], a, b);
}

export function binary(args: KernelArguments<'binary'>): void {
  const name = BINARY_OPS[args.op];
  combine(args, (args.dtype === INT32 && WHOLE[name]) || BINARY[name]);
}

export function compare(args: KernelArguments<'compare'>): void {
  const holds = COMPARE[COMPARE_OPS[args.op]];
  combine(args, (a, b) => Number(holds(a, b)));
}

function combine(
  { a, b, y, shape, aStrides, bStrides }: KernelArguments<'binary' | 'compare'>,
  apply: (a: number, b: number) => number,
): void {
  const left = elements(a);
  const right = elements(b);
  const target = elements(y);
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  const aStep = aStrides[last] ?? 0;
  const bStep = bStrides[last] ?? 0;
  let to = 0;
  forEachRow(shape, [aStrides, bStrides], ([aAt, bAt]) => {
    for (let i = 0; i < n; i++) target[to++] = apply(left[aAt + i * aStep], right[bAt + i * bStep]);
  });
}

export function swiglu({ gate, up, y, n }: KernelArguments<'swiglu'>): void {
  const g = floats(gate);
  const u = floats(up);
  const target = floats(y);
  for (let i = 0; i < n; i++) target[i] = silu(g[i]) * u[i];
}

export function swigluBackward({ gate, up, dy, dgate, dup, n }: KernelArguments<'swigluBackward'>): void {
  const g = floats(gate);
  const u = floats(up);
  const upstream = floats(dy);
  const dg = floats(dgate);
  const du = floats(dup);
  for (let i = 0; i < n; i++) {
    // Read before either store: the results may lie where the inputs do.
    const gi = g[i];
    const d = upstream[i];
    const ui = u[i];
    dg[i] = d * ui * siluDerivative(gi);
    du[i] = d * silu(gi);
  }
}
