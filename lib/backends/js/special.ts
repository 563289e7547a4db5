// Scalar functions that Math lacks, stable for arguments of any size.

/** x^a as IEEE 754 has it: 1^a is 1 for every a, and so is (-1)^a for infinite ones. */
export function power(x: number, a: number): number {
  return x === 1 || (x === -1 && Math.abs(a) === Infinity) ? 1 : Math.pow(x, a);
}

/**
 * Below it numbers of this kind are subnormal. A state that decays would stay among them for ever, since 0.9 times the
 * smallest one is rounded to it: what states keep is 0 there.
 */
export function smallestNormal(data: Float32Array | Float64Array): number {
  return data instanceof Float32Array ? 2 ** -126 : 2 ** -1022;
}

/** To the nearest whole number, halves to the even one; -0 stays. */
export function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1;
  return rest < 0.5 ? (x < 0 && below === 0 ? -0 : below) : x < 0 && below === -1 ? -0 : below + 1;
}

export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

/** s(x) (1 - s(x)), also where 1 - s(x) would round to 0. */
export function sigmoidDerivative(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return e / ((1 + e) * (1 + e));
}

export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

export function silu(x: number): number {
  return x === -Infinity ? 0 : x * sigmoid(x);
}

export function siluDerivative(x: number): number {
  const s = sigmoid(x);
  return s + (Number.isFinite(x) ? x * s * (1 - s) : 0);
}

/** floor(a / b) by what `%` leaves exactly, so that no quotient just below a whole number is rounded up to it. */
export function floorQuotient(a: number, b: number): number {
  if (b === 0) return a / b;
  const rest = a % b;
  const quotient = (a - rest) / b - (rest !== 0 && rest < 0 !== b < 0 ? 1 : 0);
  if (quotient === 0) return (a / b) * 0;
  const whole = Math.floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

/** a - b floor(a / b), of the sign of b. */
export function floorRemainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** base^exponent of whole numbers of 32 bits, which wraps; of a negative exponent what is left of 1 / base^-exponent. */
export function wholePower(base: number, exponent: number): number {
  if (exponent < 0) return base === 1 ? 1 : base === -1 ? (exponent % 2 === 0 ? 1 : -1) : 0;
  let power = 1;
  for (let [square, left] = [base, exponent]; left > 0; left >>>= 1, square = Math.imul(square, square)) {
    if (left & 1) power = Math.imul(power, square);
  }
  return power;
}

// Rational approximations of W. J. Cody, "Rational Chebyshev approximation for the error function" (1969).
const A = [
  3.1611237438705656, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3, 1.85777706184603153e-1,
];
const B = [2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3];
const C = [
  5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2, 8.8195222124176909e2,
  1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3, 2.15311535474403846e-8,
];
const D = [
  1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3, 3.29079923573345963e3,
  4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
];
const P = [
  3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
  6.58749161529837803e-4, 1.63153871373020978e-2,
];
const Q = [
  2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3,
];
const INVERSE_SQRT_PI = 5.6418958354775628695e-1;

/** For |x| up to 0.46875. */
function erfNearZero(x: number): number {
  const z = x * x;
  let top = A[4] * z;
  let bottom = z;
  for (let i = 0; i < 3; i++) {
    top = (top + A[i]) * z;
    bottom = (bottom + B[i]) * z;
  }
  return (x * (top + A[3])) / (bottom + B[3]);
}

/** The error function: near 0 by its rational approximation, elsewhere from what is left of 1. */
export function erf(x: number): number {
  return Math.abs(x) <= 0.46875 ? erfNearZero(x) : x < 0 ? erfc(-x) - 1 : 1 - erfc(x);
}

/** 1 - erf(x), without cancellation for large x */
export function erfc(x: number): number {
  const y = Math.abs(x);
  if (y <= 0.46875) return 1 - erfNearZero(x);
  let tail: number;
  if (y <= 4) {
    let top = C[8] * y;
    let bottom = y;
    for (let i = 0; i < 7; i++) {
      top = (top + C[i]) * y;
      bottom = (bottom + D[i]) * y;
    }
    tail = (top + C[7]) / (bottom + D[7]);
  } else {
    const z = 1 / (y * y);
    let top = P[5] * z;
    let bottom = z;
    for (let i = 0; i < 4; i++) {
      top = (top + P[i]) * z;
      bottom = (bottom + Q[i]) * z;
    }
    tail = (INVERSE_SQRT_PI - (z * (top + P[4])) / (bottom + Q[4])) / y;
  }
  // exp(-y^2) with y split, so that the square of the leading part is exact.
  const lead = Math.trunc(y * 16) / 16;
  tail *= Math.exp(-lead * lead) * Math.exp(-(y - lead) * (y + lead));
  if (Number.isNaN(tail)) tail = Number.isNaN(x) ? NaN : 0;
  return x < 0 ? 2 - tail : tail;
}
