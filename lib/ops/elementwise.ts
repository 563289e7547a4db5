// Elementwise operators: one table of unary functions, and one of binary ones.
import { argumentError, checkChoice, checkInteger, describe, Tensor, scoped, type Shape } from '../core';
import { type BinaryOp, getBackend, UNARY_OPS, type UnaryOp } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import {
  checkAlike,
  checkFloat,
  checkNumeric,
  checkScalar,
  checkTensor,
  emptyLike,
  computesInFloat32,
  kernelsOf,
  takesBfloat16,
  zerosBeside,
} from './kernel';
import { binaryInto, scalarLike } from './broadcast';
import { eq, gt, logicalAnd, logicalNot, lt, where } from './compare';
import { SLOPE_NEEDS, SLOPES } from './slopes';
import { to } from './cast';
import { clone, contiguous, sumTo } from './view';

function applyUnary(op: UnaryOp, x: Tensor, a = 0, b = 0, name: string = op): Tensor {
  checkFloat(name, 'x', x);
  const source = contiguous(x);
  const y = emptyLike(x);
  // A number takes the tensor's dtype, on every device.
  const parameters = { n: x.size, op: UNARY_OPS.indexOf(op), ...(x.dtype === 'float64' ? { a, b } : rounded(a, b)) };
  kernelsOf(x).unary({ x: source, y, ...parameters });
  const keeps = slopeNeeds(op, x);
  record(
    name,
    [x],
    [y],
    [keeps.includes('x') ? source : null, keeps.includes('y') ? y : null],
    ([g], [sx, sy]) => {
      if (!g) return [null];
      if (op === 'affine') return [affine(g, a, -0)];
      if (!keeps) return [zerosBeside(g)];
      const dx = emptyLike(g);
      // Where it needs only one of them, the kernel never looks at the other.
      kernelsOf(g).unaryBackward({ x: sx ?? sy, y: sy ?? sx, dy: contiguous(g), dx, ...parameters });
      return [dx];
    },
    keeps ? ([g], [sx, sy]) => [g && mul(g, slopeFrom(op, sx, sy, a, b))] : 'composed',
  );
  return y;
}

/** The derivative of what was kept, as part of the graph; where it comes from the value, that may have to be computed again. */
function slopeFrom(op: UnaryOp, x: Tensor | null, y: Tensor | null, a: number, b: number): Tensor {
  return SLOPES[op](SLOPE_NEEDS[op] === 'y' ? (y ?? applyUnary(op, x!, a, b)) : x!, a, b);
}

/** Cards compute every derivative from the argument: the value of bfloat16 is rounded. */
function slopeNeeds(op: UnaryOp, x: Tensor): string {
  const needs = SLOPE_NEEDS[op];
  return needs && getBackend(x.device).computes.includes('bfloat16') ? 'x' : needs;
}

const rounded = (a: number, b: number): { a: number; b: number } => ({ a: Math.fround(a), b: Math.fround(b) });

const unary = (op: UnaryOp): ((x: Tensor) => Tensor) => takesBfloat16((x: Tensor) => applyUnary(op, x));

/** e^x of floats; above about 88.7 float32 gives Infinity. */
export const exp = unary('exp');
/** Natural logarithm of floats: -Infinity at 0, NaN below. */
export const log = unary('log');
/** Square root of floats: NaN below 0; the gradient at 0 is infinite. */
export const sqrt = unary('sqrt');
/** 1 / sqrt(x) of floats: Infinity at 0, NaN below. */
export const rsqrt = unary('rsqrt');
/** 1 / x of floats, infinite at 0. */
export const reciprocal = unary('reciprocal');
/** Sine of floats, in radians. */
export const sin = unary('sin');
/** Cosine of floats, in radians. */
export const cos = unary('cos');
/** Hyperbolic tangent of floats, between -1 and 1. */
export const tanh = unary('tanh');
/** 1 / (1 + e^-x) of floats; `logSigmoid` is its accurate logarithm. */
export const sigmoid = unary('sigmoid');
/** log(sigmoid(x)), accurate for large |x|. */
export const logSigmoid = unary('logSigmoid');
/** x sigmoid(x), also called swish; of floats. */
export const silu = unary('silu');
/** log(1 + e^x), accurate for large |x|. */
export const softplus = unary('softplus');
/** max(x, 0) of floats; gradient 0 at 0. */
export const relu = unary('relu');
/** ELU(x) + 1: x + 1 for x > 0, else e^x (Katharopoulos et al. 2020). */
export const elu1 = unary('elu1');
/** log(1 + x), accurate near 0. */
export const log1p = unary('log1p');
/** e^x - 1, accurate near 0. */
export const expm1 = unary('expm1');
/** The error function, 2/sqrt(pi) times the integral of e^-t^2 from 0 to x. */
export const erf = unary('erf');
const geluExact = unary('gelu');
const geluTanh = unary('geluTanh');

/**
 * x Phi(x), Phi the normal distribution; 'tanh' takes x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) instead, as
 * GPT-2 does. Of floats.
 */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  checkChoice('gelu', 'approximate', approximate, ['none', 'tanh']);
  return approximate === 'tanh' ? geluTanh(x) : geluExact(x);
}

/** a x + b; with b = -0 the sign of a zero is that of the product. */
export const affine = takesBfloat16((x: Tensor, a: number, b: number): Tensor => applyUnary('affine', x, a, b));

/** The same under the name of the operator that was asked for. */
const affineAs = takesBfloat16((name: string, x: Tensor, a: number, b: number): Tensor =>
  applyUnary('affine', x, a, b, name),
);

const isWhole = (x: unknown): boolean => x instanceof Tensor && x.dtype === 'int32';

// Of whole numbers the simplest functions are chains of binary operators, which wrap; all others need floats.
const stepOf = (op: 'floor' | 'ceil' | 'round' | 'trunc'): ((x: Tensor) => Tensor) => {
  const step = unary(op);
  return (x) => (isWhole(x) ? clone(x) : step(x));
};
/** The largest whole number not above x; gradient 0, int32 as it is, like `ceil`, `round` and `trunc`. */
export const floor = stepOf('floor');
/** The smallest whole number not below x. */
export const ceil = stepOf('ceil');
/** The nearest whole number, of two the even one. */
export const round = stepOf('round');
/** The nearest whole number towards zero. */
export const trunc = stepOf('trunc');
const unarySign = unary('sign');
/** -1, 0 or 1; NaN stays. Gradient 0. */
export const sign = scoped((x: Tensor): Tensor => (isWhole(x) ? clamp(x, -1, 1) : unarySign(x)));

const unaryAbs = unary('abs');
const unarySquare = unary('square');
const unaryClamp = takesBfloat16((x: Tensor, min: number, max: number): Tensor => applyUnary('clamp', x, min, max));

/** -x of floats and of int32, whose lowest number stays as it is; -0 of 0 for floats. */
export function neg(x: Tensor): Tensor {
  return isWhole(x) ? sub(0, x) : affineAs('neg', x, -1, -0);
}

/** Magnitude of floats and of int32, whose lowest number stays negative; gradient 0 at 0. */
export const abs = scoped((x: Tensor): Tensor => (isWhole(x) ? maximum(x, neg(x)) : unaryAbs(x)));

/** x x, of floats and of int32, which wraps. */
export function square(x: Tensor): Tensor {
  return isWhole(x) ? mul(x, x) : unarySquare(x);
}

/**
 * Limits to [min, max], infinite ones allowed; the gradient is 0 outside. Where min > max every element becomes max. The
 * bounds of int32 are whole numbers, or -Infinity and Infinity.
 */
export const clamp = scoped((x: Tensor, min: number, max: number = Infinity): Tensor => {
  if (isWhole(x)) {
    if (min !== -Infinity) checkScalar('clamp', 'min', min, 'int32');
    if (max !== Infinity) checkScalar('clamp', 'max', max, 'int32');
    const above = min === -Infinity ? x : maximum(x, Math.min(min, max));
    if (max !== Infinity) return minimum(above, max);
    return above === x ? clone(x) : above;
  }
  checkBound('min', min);
  checkBound('max', max);
  return unaryClamp(x, Math.min(min, max), max);
});

function checkBound(argument: string, value: number): void {
  if (typeof value === 'number' && !Number.isNaN(value)) return;
  throw argumentError('INVALID_ARGUMENT', 'clamp', argument, 'a number', describe(value));
}

const powScalar = takesBfloat16((x: Tensor, exponent: number): Tensor => applyUnary('pow', x, exponent));

type BinaryGradient = (g: Tensor, a: Tensor, b: Tensor, y: Tensor) => Tensor;

/** The gradient of one side, and which of a, b and y it is computed from. */
interface Side {
  needs: string;
  gradient: BinaryGradient;
}

/** A binary operator's backward pass; one that is missing has gradient zero. */
interface BinaryRule {
  a: Side;
  b: Side;
}

const side = (needs: string, gradient: BinaryGradient): Side => ({ needs, gradient });

const BINARY_RULES: Partial<Record<BinaryOp, BinaryRule>> = {
  add: { a: side('', (g) => g), b: side('', (g) => g) },
  sub: { a: side('', (g) => g), b: side('', (g) => neg(g)) },
  mul: { a: side('b', (g, _, b) => mul(g, b)), b: side('a', (g, a) => mul(g, a)) },
  // Not by the square of b, which leaves the range of floats long before the result does.
  div: { a: side('b', (g, _, b) => div(g, b)), b: side('by', (g, _, b, y) => neg(div(mul(g, y), b))) },
  // a^0 has slope 0 everywhere, and so has 0^b in b, for b >= 0.
  pow: {
    a: side('ab', (g, a, b) => mul(g, mul(b, pow(a, where(eq(b, 0), 0, sub(b, 1)))))),
    b: side('aby', (g, a, b, y) => mul(g, mul(y, log(where(logicalAnd(eq(a, 0), logicalNot(lt(b, 0))), 1, a))))),
  },
  maximum: {
    a: side('ab', (g, a, b) => where(lt(a, b), 0, g)),
    b: side('ab', (g, a, b) => where(lt(a, b), g, 0)),
  },
  atan2: {
    a: side('ab', (g, a, b) => div(mul(g, b), add(square(a), square(b)))),
    b: side('ab', (g, a, b) => neg(div(mul(g, a), add(square(a), square(b))))),
  },
  remainder: { a: side('', (g) => g), b: side('ab', (g, a, b) => neg(mul(g, floorDivide(a, b)))) },
  minimum: {
    a: side('ab', (g, a, b) => where(gt(a, b), 0, g)),
    b: side('ab', (g, a, b) => where(gt(a, b), g, 0)),
  },
};

/** In the graph, where those have the right values but not the right slopes. */
const RECORDED_RULES: Partial<Record<BinaryOp, BinaryRule>> = {
  pow: {
    a: side('ab', (g, a, b) => mul(g, mul(b, pow(where(logicalAnd(eq(a, 0), eq(b, 0)), 1, a), sub(b, 1))))),
    b: BINARY_RULES.pow!.b,
  },
};

function through({ a: left, b: right }: BinaryRule, [aShape, bShape]: readonly [Shape, Shape]): BackwardFunction {
  return ([g], [sa, sb, sy], needs) => {
    if (!g) return [];
    return [
      needs[0] ? sumTo(left.gradient(g, sa, sb, sy), aShape) : null,
      needs[1] ? sumTo(right.gradient(g, sa, sb, sy), bShape) : null,
    ];
  };
}

function applyBinary(op: BinaryOp, a: Tensor, b: Tensor): Tensor {
  checkNumeric(op, 'a', a);
  checkNumeric(op, 'b', b);
  checkAlike(op, 'b', b, a);
  const y = binaryInto(op, a, b);
  const rule = BINARY_RULES[op];
  if (!rule) return y;
  const needed = (a.requiresGrad ? rule.a.needs : '') + (b.requiresGrad ? rule.b.needs : '');
  const saved = [needed.includes('a') ? a : null, needed.includes('b') ? b : null, needed.includes('y') ? y : null];
  const recorded = RECORDED_RULES[op];
  const shapes = [a.shape, b.shape] as const;
  record(op, [a, b], [y], saved, through(rule, shapes), recorded ? through(recorded, shapes) : 'composed');
  return y;
}

/** A number takes the tensor's dtype, or float32 where that would round it to bfloat16. */
const applyWithNumber = computesInFloat32((op: BinaryOp, a: Tensor | number, b: Tensor | number): Tensor => {
  checkNumeric(op, typeof a === 'number' ? 'b' : 'a', typeof a === 'number' ? b : a);
  using number = typeof a === 'number' ? scalarLike(op, b as Tensor, a) : scalarLike(op, a, b as number);
  return typeof a === 'number' ? applyBinary(op, number, b as Tensor) : applyBinary(op, a, number);
});

/** `byNumber` is a shorter way for a number on the right. */
function binary(
  op: BinaryOp,
  byNumber?: (a: Tensor, b: number) => Tensor,
): (a: Tensor | number, b: Tensor | number) => Tensor {
  return takesBfloat16((a: Tensor | number, b: Tensor | number): Tensor => {
    if (typeof b === 'number') {
      checkTensor(op, 'a', a);
      return byNumber && a.dtype !== 'int32' ? byNumber(a, b) : applyWithNumber(op, a, b);
    }
    checkTensor(op, 'b', b);
    return typeof a === 'number' ? applyWithNumber(op, a, b) : applyBinary(op, a, b);
  });
}

/** a + b, broadcast. Tensors must agree in dtype and device; a number takes the tensor's dtype, int32 wraps. */
export const add = binary('add', (a, b) => affineAs('add', a, 1, b));
/** a - b, broadcast, with the dtypes of `add`; the first may be the number. */
export const sub = binary('sub', (a, b) => affineAs('sub', a, 1, -b));
/** a b element by element, broadcast, with the dtypes of `add`; `matmul` is the matrix product. */
export const mul = binary('mul', (a, b) => affineAs('mul', a, b, -0));
const divide = binary('div');
/** a / b; float32 also for int32. */
export const div = scoped((a: Tensor | number, b: Tensor | number): Tensor => {
  const whole = isWhole(a) ? a : isWhole(b) ? b : null;
  if (!whole) return divide(a, b);
  const floatOf = (x: Tensor | number): Tensor | number => {
    if (typeof x === 'number') return checkScalar('div', 'number', x, 'int32');
    return isWhole(x) ? to(x, 'float32') : x;
  };
  if (typeof a !== 'number') checkTensor('div', 'a', a);
  if (typeof b !== 'number') checkTensor('div', 'b', b);
  if (typeof a !== 'number' && typeof b !== 'number') checkAlike('div', 'b', b, a);
  return divide(floatOf(a), floatOf(b));
});
/** The largest whole number not above a / b; no gradient. Of int32 it is 0 where b is 0. */
export const floorDivide = binary('floorDivide');
/** a - b floorDivide(a, b), of the sign of b. Of int32 it is 0 where b is 0. */
export const remainder = binary('remainder');
const power = binary('pow', (a, b) => powScalar(a, b));
/** a^b. Of int32 it wraps, and 1 / a^-b is rounded towards zero. */
export const pow = (a: Tensor | number, b: Tensor | number): Tensor => {
  if (isWhole(a) && typeof b === 'number') checkInteger('pow', 'exponent', b, 0, 2 ** 31 - 1);
  return power(a, b);
};
const angle = binary('atan2');
/** The angle of the point (b, a) from -pi to pi; of floats. */
export const atan2 = (a: Tensor | number, b: Tensor | number): Tensor => {
  for (const [name, x] of [
    ['a', a],
    ['b', b],
  ] as const)
    if (typeof x !== 'number') checkFloat('atan2', name, x);
  return angle(a, b);
};
/** Larger of the two; where they are equal the gradient goes to the first. */
export const maximum = binary('maximum');
/** Smaller of the two; where they are equal the gradient goes to the first. */
export const minimum = binary('minimum');
