// Singular values, and how many of them a matrix spreads over.
import { Pace } from '../platform';
import type { Matrix } from '../viz';

/** Columns whose cosine is below this are at right angles; it is the square of it that values are off by. */
const RIGHT_ANGLE = 1e-7;
const MOST_SWEEPS = 60;

/**
 * Singular values, largest first: one-sided Jacobi rotations of the columns until all are at right angles (Hestenes 1958);
 * their lengths are the values then. min(rows, columns) of them. Others have their turn meanwhile.
 */
export async function singularValues(
  { rows, columns, data }: Matrix,
  pace: Pick<Pace, 'rest'> = new Pace(),
): Promise<Float64Array> {
  // The shorter side is rotated.
  const turn = columns > rows;
  const [n, length] = turn ? [rows, columns] : [columns, rows];
  const vectors = Array.from({ length: n }, (_, c) =>
    Float64Array.from({ length }, (_, r) => (turn ? data[c * columns + r] : data[r * columns + c])),
  );
  for (let sweep = 0, turned = true; turned && sweep < MOST_SWEEPS; sweep++) {
    turned = false;
    for (let a = 0; a < n; a++) {
      for (let b = a + 1; b < n; b++) if (rotate(vectors[a], vectors[b])) turned = true;
      await pace.rest();
    }
  }
  return Float64Array.from(vectors, (x) => Math.hypot(...x))
    .sort()
    .reverse();
}

/** Turns two vectors in their plane until they are at right angles; whether they were not. */
function rotate(a: Float64Array, b: Float64Array): boolean {
  let [aa, bb, ab] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    ab += a[i] * b[i];
  }
  if (!(Math.abs(ab) > RIGHT_ANGLE * Math.sqrt(aa * bb)) || ab === 0) return false;
  const zeta = (bb - aa) / (2 * ab);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < a.length; i++) {
    const x = a[i];
    a[i] = cosine * x - sine * b[i];
    b[i] = sine * x + cosine * b[i];
  }
  return true;
}

/**
 * exp of the entropy of singular values as shares of their sum (Roy and Vetterli 2007): 1 for a matrix of rank 1, n where n are
 * equal and the others 0, 0 for zeros, NaN where an entry is not finite.
 */
export function rankOf(values: Float64Array): number {
  const sum = values.reduce((a, b) => a + b, 0);
  if (sum === 0) return 0;
  const entropy = values.reduce((h, x) => (x > 0 ? h - (x / sum) * Math.log(x / sum) : h), 0);
  return Number.isFinite(sum) ? Math.exp(entropy) : NaN;
}
