// Initialisations in place, outside the tape: PyTorch's `torch.nn.init`, with its names in camelCase and its underscore.
// Numbers come from the seeded generator and are the same on every device.
import {
  argumentError,
  checkChoice,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  Tensor,
} from '../core';
import { noGrad } from '../autograd';
import { checkFloat, convert, rand, randn, tensor } from '../ops';

/** What follows a layer, for `calculateGain`. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

const NONLINEARITIES: readonly Nonlinearity[] = ['linear', 'sigmoid', 'tanh', 'relu', 'leakyRelu', 'selu'];

/** The factor that keeps the variance through a nonlinearity; `slope` is that of 'leakyRelu', 0.01 by default. */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  checkChoice('calculateGain', 'nonlinearity', nonlinearity, NONLINEARITIES);
  checkNumber('calculateGain', 'slope', slope);
  const gains = { linear: 1, sigmoid: 1, tanh: 5 / 3, relu: Math.SQRT2, selu: 3 / 4 };
  return nonlinearity === 'leakyRelu' ? Math.sqrt(2 / (1 + slope ** 2)) : gains[nonlinearity];
}

/** Inputs and outputs of one unit: of [out, in, ...kernel]. */
function fans(where: string, t: Tensor): { fanIn: number; fanOut: number } {
  checkFloat(where, 't', t);
  if (t.ndim < 2) throw argumentError('SHAPE', where, 't', 'of at least two dimensions', formatShape(t.shape));
  const field = t.shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: t.shape[1] * field, fanOut: t.shape[0] * field };
}

/** Overwrites `t` with what `make` gives on `js`, in float64 or in the dtype of `t`. */
function fillWith(where: string, t: Tensor, make: () => Tensor | ArrayLike<number>): Tensor {
  checkFloat(where, 't', t);
  noGrad(() =>
    scope(() => {
      const made = make();
      const values = made instanceof Tensor ? made : tensor(made, { shape: t.shape, dtype: 'float64', device: 'js' });
      t.copy_(convert(convert(values, 'js', t.dtype === 'float64' ? 'float64' : 'float32'), t.device, t.dtype));
    }),
  );
  return t;
}

/** Uniform in [a, b), 0 and 1 by default. */
export function uniform_(t: Tensor, a = 0, b = 1): Tensor {
  return fillWith('uniform_', t, () => rand(t.shape, { device: 'js', low: a, high: b }));
}

/** Normal with a mean, 0 by default, and a standard deviation, 1. */
export function normal_(t: Tensor, mean = 0, std = 1): Tensor {
  return fillWith('normal_', t, () => randn(t.shape, { device: 'js', mean, std }));
}

/** Normal, drawn again until it lies in [a, b], which are values, not multiples of `std`; -2 and 2 by default. */
export function truncNormal_(t: Tensor, mean = 0, std = 1, a = -2, b = 2): Tensor {
  const where = 'truncNormal_';
  for (const [name, value] of Object.entries({ mean, std, a, b })) checkNumber(where, name, value);
  if (!(std > 0)) throw argumentError('INVALID_ARGUMENT', where, 'std', 'above 0', String(std));
  if (!(a < b)) throw argumentError('INVALID_ARGUMENT', where, 'b', `above a, ${a}`, String(b));
  const [low, high] = [(a - mean) / std, (b - mean) / std].map(normalCdf);
  if (high - low < 1e-8) {
    throw argumentError('INVALID_ARGUMENT', where, 'a, b', 'within some deviations of the mean', `${a}, ${b}`);
  }
  return fillWith(where, t, () => {
    const drawn = rand(t.shape, { device: 'js', dtype: 'float64' }).dataSync();
    return Float64Array.from(drawn, (u) =>
      Math.min(b, Math.max(a, mean + std * normalQuantile(low + u * (high - low)))),
    );
  });
}

/** The share of a normal distribution below x. */
function normalCdf(x: number): number {
  // erf by its series near 0 and the continued fraction of erfc beyond (Abramowitz and Stegun 7.1.6, 7.1.14).
  const z = Math.abs(x) / Math.SQRT2;
  if (z > 27) return x > 0 ? 1 : 0;
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    const half = (sum * Math.exp(-z * z)) / Math.sqrt(Math.PI);
    return 0.5 + Math.sign(x) * half;
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  const tail = Math.exp(-z * z) / (2 * Math.sqrt(Math.PI) * fraction);
  return x > 0 ? 1 - tail : tail;
}

/** a x^n + ... */
const polynomial = (coefficients: readonly number[], x: number): number => coefficients.reduce((y, c) => y * x + c, 0);

/** Where the share is p: rational approximations with a relative error of 1.2e-9 (Acklam 2003). */
function normalQuantile(p: number): number {
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(Math.max(p, 1e-300)));
    return polynomial(TAIL[0], q) / polynomial(TAIL[1], q);
  }
  const q = p - 0.5;
  return (q * polynomial(MIDDLE[0], q * q)) / polynomial(MIDDLE[1], q * q);
}

const MIDDLE = [
  [
    -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
    2.506628277459239,
  ],
  [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1],
] as const;
const TAIL = [
  [
    -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ],
  [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1],
] as const;

/** Uniform in +-gain sqrt(6 / (in + out)) (Glorot and Bengio 2010). */
export function xavierUniform_(t: Tensor, gain = 1): Tensor {
  checkNumber('xavierUniform_', 'gain', gain, 0);
  const { fanIn, fanOut } = fans('xavierUniform_', t);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform_(t, -bound, bound);
}

/** Normal of deviation gain sqrt(2 / (in + out)). */
export function xavierNormal_(t: Tensor, gain = 1): Tensor {
  checkNumber('xavierNormal_', 'gain', gain, 0);
  const { fanIn, fanOut } = fans('xavierNormal_', t);
  return normal_(t, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

/** How He et al. 2015 scale. */
export interface KaimingOptions {
  /** The slope of 'leakyRelu', 0 by default. */
  a?: number;
  /** Which of the two variances is kept: that of the pass forward, by default, or that of gradients. */
  mode?: 'fanIn' | 'fanOut';
  /** 'leakyRelu' by default. */
  nonlinearity?: Nonlinearity;
}

const KAIMING: OptionNames<KaimingOptions> = { a: true, mode: true, nonlinearity: true };

function kaimingDeviation(where: string, t: Tensor, options: KaimingOptions): number {
  checkOptions(where, options, KAIMING);
  const { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' } = options;
  checkChoice(where, 'mode', mode, ['fanIn', 'fanOut']);
  return calculateGain(nonlinearity, a) / Math.sqrt(Math.max(1, fans(where, t)[mode]));
}

/** Uniform in +-gain sqrt(3 / fan) (He et al. 2015). */
export function kaimingUniform_(t: Tensor, options: KaimingOptions = {}): Tensor {
  const bound = Math.sqrt(3) * kaimingDeviation('kaimingUniform_', t, options);
  return uniform_(t, -bound, bound);
}

/** Normal of deviation gain / sqrt(fan). */
export function kaimingNormal_(t: Tensor, options: KaimingOptions = {}): Tensor {
  return normal_(t, 0, kaimingDeviation('kaimingNormal_', t, options));
}

/**
 * Rows, or columns where there are more rows, that are orthogonal and of length `gain`, all such matrices alike probable
 * (Saxe et al. 2013); dimensions behind the first count as one. It is computed in JavaScript: a second for 1000 x 1000.
 */
export function orthogonal_(t: Tensor, gain = 1): Tensor {
  const where = 'orthogonal_';
  checkFloat(where, 't', t);
  checkNumber(where, 'gain', gain);
  if (t.ndim < 2) throw argumentError('SHAPE', where, 't', 'of at least two dimensions', formatShape(t.shape));
  const rows = t.shape[0];
  const columns = t.size / Math.max(1, rows);
  const [count, width] = rows < columns ? [rows, columns] : [columns, rows];
  return fillWith(where, t, () => {
    const drawn = randn([count, width], { device: 'js', dtype: 'float64' }).dataSync();
    const vectors = Array.from({ length: count }, (_, i) => Float64Array.from(drawn.slice(i * width, (i + 1) * width)));
    orthonormalize(vectors);
    const at = rows < columns ? (i: number, j: number) => vectors[i][j] : (i: number, j: number) => vectors[j][i];
    return Float64Array.from({ length: t.size }, (_, i) => gain * at(Math.floor(i / columns), i % columns));
  });
}

/** Gram and Schmidt, twice: once more takes away what rounding left. */
function orthonormalize(vectors: readonly Float64Array[]): void {
  const dot = (a: Float64Array, b: Float64Array): number => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  };
  for (const [n, v] of vectors.entries()) {
    for (let pass = 0; pass < 2; pass++) {
      for (const u of vectors.slice(0, n)) {
        const share = dot(u, v);
        for (let i = 0; i < v.length; i++) v[i] -= share * u[i];
      }
    }
    const length = Math.sqrt(dot(v, v));
    for (let i = 0; i < v.length; i++) v[i] /= length;
  }
}

/** Zeros. */
export function zeros_(t: Tensor): Tensor {
  return constant_(t, 0);
}

/** Ones. */
export function ones_(t: Tensor): Tensor {
  return constant_(t, 1);
}

/** One value. */
export function constant_(t: Tensor, value: number): Tensor {
  checkFloat('constant_', 't', t);
  return noGrad(() => t.fill_(value));
}

/** 1 on the diagonal of a matrix, 0 elsewhere. */
export function eye_(t: Tensor): Tensor {
  checkFloat('eye_', 't', t);
  if (t.ndim !== 2) throw argumentError('SHAPE', 'eye_', 't', 'of two dimensions', formatShape(t.shape));
  const [, columns] = t.shape;
  return fillWith('eye_', t, () =>
    Float64Array.from({ length: t.size }, (_, i) => Number(Math.floor(i / columns) === i % columns)),
  );
}
