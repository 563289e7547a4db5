// The scans of Mamba and their descendants: the authors' vectors, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

describeFolders('mamba2Scan');

/** One head of a scan in plain numbers: rows are tokens. */
interface Plain {
  q: number[][];
  k: number[][];
  v: number[][];
  decay: number[];
  present: number[];
  past: number[];
}

const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** Mamba-3 token by token: the state, and the last key and value. */
function tokenByToken({ q, k, v, decay, present, past }: Plain): number[][] {
  const S = k[0].map(() => v[0].map(() => 0));
  return q.map((query, t) => {
    S.forEach((row, i) =>
      row.forEach((_, j) => {
        const before = t === 0 ? 0 : past[t] * k[t - 1][i] * v[t - 1][j];
        row[j] = Math.exp(decay[t]) * (row[j] + before) + present[t] * k[t][i] * v[t][j];
      }),
    );
    return v[0].map((_, j) =>
      dot(
        query,
        S.map((row) => row[j]),
      ),
    );
  });
}

/** The same as attention: each pair of tokens by itself. */
function pairByPair({ q, k, v, decay, present, past }: Plain): number[][] {
  return q.map((query, t) =>
    v[0].map((_, j) => {
      let sum = 0;
      for (let s = 0; s <= t; s++) {
        const between = decay.slice(s + 1, t + 1).reduce((a, b) => a + b, 0);
        const weight = present[s] + (s < t ? past[s + 1] : 0);
        sum += weight * Math.exp(between) * dot(query, k[s]) * v[s][j];
      }
      return sum;
    }),
  );
}

describe('mamba3Scan', () => {
  it('equals two loops over its equation', () => {
    const js = { device: 'js', dtype: 'float64' } as const;
    const [T, H, K, V, R] = [9, 2, 6, 3, 2];
    const uniform = (low: number, high: number, ...shape: number[]): fw.Tensor => fw.rand(shape, { ...js, low, high });
    const inputs = {
      x: uniform(-1, 1, 1, T, H, V),
      dt: uniform(0.1, 1, 1, T, H),
      gate: uniform(-1, 0, 1, T, H),
      trap: uniform(-2, 2, 1, T, H),
      angles: uniform(-3, 3, 1, T, H, R),
      b: uniform(-1, 1, 1, T, 1, K),
      c: uniform(-1, 1, 1, T, 1, K),
      bBias: uniform(-1, 1, H, K),
      cBias: uniform(-1, 1, H, K),
      d: uniform(-1, 1, H),
    };
    type Rows = number[][][][];
    const [x, angles, b, c] = [inputs.x, inputs.angles, inputs.b, inputs.c].map((t) => t.tolist() as Rows);
    const [dt, gate, trap] = [inputs.dt, inputs.gate, inputs.trap].map((t) => t.tolist() as number[][][]);
    const [bBias, cBias] = [inputs.bBias, inputs.cBias].map((t) => t.tolist() as number[][]);
    const d = inputs.d.tolist() as number[];
    const output = fw.mamba3Scan(inputs).output.tolist() as Rows;
    for (let h = 0; h < H; h++) {
      const angle = new Array<number>(R).fill(0);
      const own: Plain = { q: [], k: [], v: [], decay: [], present: [], past: [] };
      for (let t = 0; t < T; t++) {
        for (let i = 0; i < R; i++) angle[i] += Math.PI * Math.tanh(angles[0][t][h][i]) * dt[0][t][h];
        const turn = (row: number[], bias: number[]): number[] => {
          const y = row.map((z, i) => z + bias[i]);
          angle.forEach((a, i) => {
            const [re, im] = [y[2 * i], y[2 * i + 1]];
            y[2 * i] = re * Math.cos(a) - im * Math.sin(a);
            y[2 * i + 1] = re * Math.sin(a) + im * Math.cos(a);
          });
          return y;
        };
        const share = 1 / (1 + Math.exp(-trap[0][t][h]));
        own.q.push(turn(c[0][t][0], cBias[h]));
        own.k.push(turn(b[0][t][0], bBias[h]));
        own.v.push(x[0][t][h]);
        own.decay.push(gate[0][t][h]);
        own.present.push(share * dt[0][t][h]);
        own.past.push((1 - share) * dt[0][t][h]);
      }
      const found = output[0].map((row, t) => row[h].map((y, j) => y - d[h] * x[0][t][h][j]));
      for (const loop of [tokenByToken, pairByPair]) {
        expectClose(loop.name, found.flat(), loop(own).flat(), 1e-13);
      }
    }
  });
});

describe('scans, given what they do not take', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });
  const mamba2 = { x: z(1, 3, 4, 2), dt: z(1, 3, 4), aLog: z(4), b: z(1, 3, 2, 5), c: z(1, 3, 2, 5) };

  it('mamba3Scan: groups and pairs', () => {
    const heads = z(1, 3, 4);
    const steps = { x: z(1, 3, 4, 2), dt: heads, gate: heads, trap: heads, angles: z(1, 3, 4, 2) };
    const run =
      (more: object): (() => unknown) =>
      () =>
        fw.mamba3Scan({ ...steps, b: z(1, 3, 2, 5), c: z(1, 3, 2, 5), ...more });
    expectError('SHAPE', /b must be \[..., a divisor of 4, 5\]/, run({ b: z(1, 3, 3, 5), c: z(1, 3, 3, 5) }));
    expectError('SHAPE', /angles must be \[..., at most 2\] \(pairs\), got \[..., 3\]/, run({ angles: z(1, 3, 4, 3) }));
    expectError('SHAPE', /bBias must be \[4, 5\]/, run({ bBias: z(2, 5) }));
  });

  it('mamba2Scan: groups, limits, modes', () => {
    const run =
      (options: object, inputs: object = {}): (() => unknown) =>
      () =>
        fw.mamba2Scan({ ...mamba2, ...inputs }, options);
    expectError(
      'SHAPE',
      /b must be \[..., a divisor of 4, 5\].* got \[..., 3, 5\]/,
      run({}, { b: z(1, 3, 3, 5), c: z(1, 3, 3, 5) }),
    );
    expectError('SHAPE', /c must be \[1, 3, 2, 5\]/, run({}, { c: z(1, 3, 1, 5) }));
    expectError('SHAPE', /d must be \[4\] or \[4, 2\]/, run({}, { d: z(2) }));
    expectError('INVALID_ARGUMENT', /groups must be 2 like those of b, got 4/, run({ groups: 4 }));
    for (const dtLimit of [[0.1], [0.2, 0.1], [-1, 1], [0, NaN], [Infinity, Infinity], 3, ['0', '1'], [0, 1, 2]]) {
      const error = expectError('INVALID_ARGUMENT', /dtLimit must be \[least, largest\]/, run({ dtLimit }));
      expect(error.argument).to.equal('dtLimit');
    }
    expectError('INVALID_ARGUMENT', /mode must be/, run({ mode: 'fast' }));
    expectError('INVALID_ARGUMENT', /scale must be a finite number/, run({ scale: NaN }));
    expectError('INVALID_ARGUMENT', /unknown option dtSoftPlus; did you mean dtSoftplus/, run({ dtSoftPlus: true }));
  });
});
