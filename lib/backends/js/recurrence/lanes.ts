// Inner loops of the token-by-token recurrence. The state of a head is kept transposed, [valueDim, keyDim]: every
// value lane is a vector over the keys with a recurrence of its own, and four neighbouring lanes share each key that
// is loaded. `s` is where the first of the four starts, K the distance to the next. Float64Array only, so that these
// loops see one kind of array whatever the tensors hold.

export const LANES = 4;

/** Value dimensions rounded up to whole groups of lanes; the lanes added are zero. */
export function padded(valueDim: number): number {
  return Math.ceil(valueDim / LANES) * LANES;
}

/** out_l = S_l . x */
export function dot4(
  S: Float64Array,
  s: number,
  K: number,
  x: Float64Array,
  xAt: number,
  out: Float64Array,
  outAt: number,
): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  for (let i = 0; i < K; i++) {
    const xi = x[xAt + i];
    a0 += S[s + i] * xi;
    a1 += S[s1 + i] * xi;
    a2 += S[s2 + i] * xi;
    a3 += S[s3 + i] * xi;
  }
  out[outAt] = a0;
  out[outAt + 1] = a1;
  out[outAt + 2] = a2;
  out[outAt + 3] = a3;
}

/** S_l += c_l x */
export function add4(
  S: Float64Array,
  s: number,
  K: number,
  x: Float64Array,
  xAt: number,
  c: Float64Array,
  cAt: number,
): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  const c0 = c[cAt];
  const c1 = c[cAt + 1];
  const c2 = c[cAt + 2];
  const c3 = c[cAt + 3];
  for (let i = 0; i < K; i++) {
    const xi = x[xAt + i];
    S[s + i] += c0 * xi;
    S[s1 + i] += c1 * xi;
    S[s2 + i] += c2 * xi;
    S[s3 + i] += c3 * xi;
  }
}

/** S_l += c_l x, then out_l = S_l . y, in one pass. */
export function addDot4(
  S: Float64Array,
  s: number,
  K: number,
  x: Float64Array,
  xAt: number,
  c: Float64Array,
  cAt: number,
  y: Float64Array,
  yAt: number,
  out: Float64Array,
  outAt: number,
): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  const c0 = c[cAt];
  const c1 = c[cAt + 1];
  const c2 = c[cAt + 2];
  const c3 = c[cAt + 3];
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  for (let i = 0; i < K; i++) {
    const xi = x[xAt + i];
    const yi = y[yAt + i];
    const z0 = S[s + i] + c0 * xi;
    const z1 = S[s1 + i] + c1 * xi;
    const z2 = S[s2 + i] + c2 * xi;
    const z3 = S[s3 + i] + c3 * xi;
    S[s + i] = z0;
    S[s1 + i] = z1;
    S[s2 + i] = z2;
    S[s3 + i] = z3;
    a0 += z0 * yi;
    a1 += z1 * yi;
    a2 += z2 * yi;
    a3 += z3 * yi;
  }
  out[outAt] = a0;
  out[outAt + 1] = a1;
  out[outAt + 2] = a2;
  out[outAt + 3] = a3;
}

/** y += sum of c_l S_l */
export function gather4(
  S: Float64Array,
  s: number,
  K: number,
  y: Float64Array,
  yAt: number,
  c: Float64Array,
  cAt: number,
): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  const c0 = c[cAt];
  const c1 = c[cAt + 1];
  const c2 = c[cAt + 2];
  const c3 = c[cAt + 3];
  for (let i = 0; i < K; i++) {
    y[yAt + i] += c0 * S[s + i] + c1 * S[s1 + i] + c2 * S[s2 + i] + c3 * S[s3 + i];
  }
}

/** y += x times the sum of S_l P_l, all elementwise over the keys; x and y start at the same place. */
export function gatherProducts4(
  S: Float64Array,
  s: number,
  P: Float64Array,
  p: number,
  K: number,
  x: Float64Array,
  y: Float64Array,
  at: number,
): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  const p1 = p + K;
  const p2 = p1 + K;
  const p3 = p2 + K;
  for (let i = 0; i < K; i++) {
    const sum = S[s + i] * P[p + i] + S[s1 + i] * P[p1 + i] + S[s2 + i] * P[p2 + i] + S[s3 + i] * P[p3 + i];
    y[at + i] += x[at + i] * sum;
  }
}

/** S_l *= x, elementwise over the keys */
export function scale4(S: Float64Array, s: number, K: number, x: Float64Array, xAt: number): void {
  const s1 = s + K;
  const s2 = s1 + K;
  const s3 = s2 + K;
  for (let i = 0; i < K; i++) {
    const xi = x[xAt + i];
    S[s + i] *= xi;
    S[s1 + i] *= xi;
    S[s2 + i] *= xi;
    S[s3 + i] *= xi;
  }
}
