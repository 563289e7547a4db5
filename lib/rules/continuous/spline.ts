// Natural cubic splines through observations of which some may be missing (Kidger et al. 2020; spec 2.6.3).
import { argumentError, checkOptions, formatShape, sameShape, scoped, type Tensor } from '../../core';
import { checkFloat, checkTensor, linearScan, pad, tensor } from '../../ops';
import { checkTimes } from './odeint';

/** Options of `naturalCubicSpline`. */
export interface SplineOptions {
  /** [B, L, C], 0 or false where a value is missing, beside those that are NaN; by default nothing else is. */
  observed?: Tensor | null;
}

/** A path x(t) = a + b f + twoC f^2 / 2 + threeD f^3 / 3 on piece i, f = t - times[i]; coefficients [B, L - 1, C]. */
export interface NaturalCubicSpline {
  /** The knots. */
  readonly times: readonly number[];
  /** The values at the starts of the pieces. */
  readonly a: Tensor;
  /** The slopes there. */
  readonly b: Tensor;
  /** The second derivatives there. */
  readonly twoC: Tensor;
  /** Half the third derivatives. */
  readonly threeD: Tensor;
}

/** What is known of each knot of each channel from the times alone: numbers in [rows, L]. */
interface Knots {
  /** The knot itself or the last one before it with a value, and the first one after it. */
  previous: number[][];
  next: number[][];
  /** Where the value of a knot comes from: itself, or at the ends the nearest one with a value. */
  source: number[][];
  observed: boolean[][];
}

/**
 * The natural cubic spline through x [B, L, C] at `times`, L of them, at least 2. What is missing (NaN, or not `observed`)
 * is left out; a channel that lacks its first or last value has its first or last observed one there, and one without any
 * is zero. Differentiable in x. The linear system of the knots' slopes is solved by two sweeps over time.
 */
export const naturalCubicSpline = scoped(
  (times: readonly number[] | Tensor, x: Tensor, options: SplineOptions = {}): NaturalCubicSpline => {
    const where = 'naturalCubicSpline';
    checkOptions(where, options, { observed: true });
    const knots = checkTimes(where, 'times', times, 2);
    checkFloat(where, 'x', x);
    if (x.ndim !== 3 || x.shape[1] !== knots.length) {
      throw argumentError('SHAPE', where, 'x', `[B, ${knots.length}, C]`, formatShape(x.shape));
    }
    const { values, mask } = present(where, x, options.observed ?? null);
    const rows = mask ? rowsOf(mask, knots.length) : [wholeRow(knots.length)];
    return { times: knots, ...pieces(knots, values, knotsOf(rows), mask !== null) };
  },
);

/** x with 0 for what is missing, and which values [B, C, L] are there, null where all are. */
function present(where: string, x: Tensor, observed: Tensor | null): { values: Tensor; mask: Tensor | null } {
  let missing = x.isnan();
  if (observed !== null) {
    checkTensor(where, 'observed', observed);
    if (!sameShape(observed.shape, x.shape)) {
      throw argumentError('SHAPE', where, 'observed', formatShape(x.shape), formatShape(observed.shape));
    }
    missing = missing.logicalOr(observed.to(x.device).eq(0));
  }
  const mask = missing.logicalNot().transpose(1, 2);
  if (mask.dataSync().every(Boolean)) return { values: x, mask: null };
  return { values: x.maskedFill(missing, 0), mask };
}

const wholeRow = (length: number): boolean[] => new Array<boolean>(length).fill(true);

function rowsOf(mask: Tensor, length: number): boolean[][] {
  const all = Array.from(mask.dataSync(), Boolean);
  return Array.from({ length: all.length / length }, (_, row) => all.slice(row * length, (row + 1) * length));
}

function knotsOf(given: boolean[][]): Knots {
  const knots: Knots = { previous: [], next: [], source: [], observed: [] };
  for (const row of given) {
    const L = row.length;
    const [first, last] = [Math.max(0, row.indexOf(true)), Math.max(0, row.lastIndexOf(true))];
    const observed = row.map((there, i) => there || i === 0 || i === L - 1);
    const source = row.map((_, i) => Math.min(Math.max(i, first), last));
    const previous = row.map((_, i) => observed.lastIndexOf(true, i));
    const next = row.map((_, i) => (i === L - 1 ? i : observed.indexOf(true, i + 1)));
    knots.previous.push(previous);
    knots.next.push(next);
    knots.source.push(source);
    knots.observed.push(observed);
  }
  return knots;
}

type Coefficients = Pick<NaturalCubicSpline, 'a' | 'b' | 'twoC' | 'threeD'>;

function pieces(times: readonly number[], x: Tensor, knots: Knots, gaps: boolean): Coefficients {
  const [B, L, C] = x.shape;
  const { previous, next, source, observed } = knots;
  const place = { device: x.device, dtype: x.dtype };
  /** A number for every knot: [B, L, C], or [1, L, 1] where all channels are alike. */
  const numbers = (of: (row: number, i: number) => number): Tensor => {
    const values = Float64Array.from({ length: observed.length * L }, (_, at) => of(Math.floor(at / L), at % L));
    return tensor(values, { ...place, shape: gaps ? [B, C, L] : [1, 1, L] }).transpose(1, 2);
  };
  const taken = (t: Tensor, from: number[][]): Tensor => {
    if (!gaps) {
      const index = tensor(Int32Array.from(from[0]), { device: x.device, dtype: 'int32', shape: [L] });
      return t.indexSelect(1, index);
    }
    const index = tensor(Int32Array.from(from.flat()), { device: x.device, dtype: 'int32', shape: [B, C, L] });
    return t.gather(1, index.transpose(1, 2).contiguous());
  };
  const full = (t: Tensor): Tensor => t.expand(B, L, C).contiguous();
  const { forget, rest, pivot } = sweeps(times, knots);
  const width = (row: number, i: number): number => times[next[row][i]] - times[previous[row][i]] || 1;
  const at = (index: number[][]): number[][] => index.map((list, row) => list.map((i) => source[row][i]));
  const change = taken(x, at(next)).sub(taken(x, at(previous)));
  // 3 (x_n - x_p) / h^2 of the gap after a knot, and of the one before it.
  const steepness = change.mul(numbers((row, i) => (i === L - 1 ? 0 : 3 / width(row, i) ** 2)));
  const there = numbers((row, i) => Number(observed[row][i]));
  const sums = steepness.add(pad(steepness.slice(1, 0, L - 1), [0, 0, 1, 0])).mul(there);
  const swept = linearScan(sums, full(numbers((row, i) => -forget[row][i])), 1);
  const scaled = swept.mul(numbers((row, i) => pivot[row][i])).flip(1);
  // A knot that is left out takes the slope of the next one along.
  const back = full(numbers((row, i) => (observed[row][L - 1 - i] ? -rest[row][L - 1 - i] : 1)));
  const slopes = linearScan(scaled, back, 1).flip(1);
  const [from, to] = [taken(slopes, previous), taken(slopes, next)];
  const inverse = numbers((row, i) => 1 / width(row, i));
  const mean = change.mul(inverse);
  const twoC = mean.mul(6).sub(from.mul(4)).sub(to.mul(2)).mul(inverse);
  const threeD = from.add(to).mul(3).sub(mean.mul(6)).mul(inverse).mul(inverse);
  const starts = { a: taken(x, at(previous)), b: from, twoC, threeD };
  const moved = gaps
    ? shifted(
        starts,
        numbers((row, i) => times[i] - times[previous[row][i]]),
      )
    : starts;
  const inner = (t: Tensor): Tensor => t.slice(1, 0, L - 1);
  return { a: inner(moved.a), b: inner(moved.b), twoC: inner(moved.twoC), threeD: inner(moved.threeD) };
}

/** The same cubic, from a point that lies by d further on. */
function shifted({ a, b, twoC, threeD }: Coefficients, d: Tensor): Coefficients {
  const half = twoC.mul(0.5).add(threeD.mul(d).div(3));
  return {
    a: a.add(b.add(half.mul(d)).mul(d)),
    b: b.add(twoC.add(threeD.mul(d)).mul(d)),
    twoC: twoC.add(threeD.mul(d).mul(2)),
    threeD,
  };
}

/**
 * Elimination in the tridiagonal system of the slopes, whose rows are 1/h_- s_- + 2 (1/h_- + 1/h_+) s + 1/h_+ s_+ =
 * 3 (change_- / h_-^2 + change_+ / h_+^2). Forwards r_i -= forget_i r_{i-1}, backwards s_i = pivot_i r_i - rest_i s_{i+1};
 * a knot that is left out has 0 on the right and hands on what comes.
 */
function sweeps(
  times: readonly number[],
  { previous, next, observed }: Knots,
): { forget: number[][]; rest: number[][]; pivot: number[][] } {
  const [forget, rest, pivot]: number[][][] = [[], [], []];
  observed.forEach((row, r) => {
    const L = row.length;
    const [own, after, scale] = [
      new Array<number>(L).fill(-1),
      new Array<number>(L).fill(0),
      new Array<number>(L).fill(0),
    ];
    let [before, diagonal] = [0, 0];
    for (let i = 0; i < L; i++) {
      if (!row[i]) continue;
      const behind = i === L - 1 ? 0 : 1 / (times[next[r][i]] - times[previous[r][i]]);
      own[i] = before === 0 ? 0 : before / diagonal;
      diagonal = 2 * (before + behind) - own[i] * before;
      [after[i], scale[i]] = [behind / diagonal, 1 / diagonal];
      before = behind;
    }
    forget.push(own);
    rest.push(after);
    pivot.push(scale);
  });
  return { forget, rest, pivot };
}
