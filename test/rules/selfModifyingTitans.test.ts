// The self-modifying Titans against their equations, a matrix at a time, and where they become other systems.
import { expect } from 'chai';
import * as fw from '../../lib';
import { Draw } from '../support/ruleInputs';

const sizes = { B: 2, T: 5, H: 2, D: 3 };
const { B, T, H, D } = sizes;
const on = { device: 'js', dtype: 'float64' } as const;

type Matrix = number[][];
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
/** S^T x */
const read = (S: Matrix, x: readonly number[]): number[] =>
  S[0].map((_, j) => x.reduce((sum, xi, i) => sum + xi * S[i][j], 0));
const normed = (x: readonly number[]): number[] => x.map((xi) => xi / Math.sqrt(dot(x, x) + 1e-6));

function draw(seed: number, options: { rates?: number } = {}): Record<string, fw.Tensor> {
  const from = new Draw(seed);
  const make = (shape: number[], bound: number): fw.Tensor =>
    fw.tensor(from.uniform(shape, -bound, bound).data, { shape, ...on });
  const rates = options.rates ?? 0.5;
  return {
    x: make([B, T, H, D], 1),
    q: make([B, T, H, D], 1),
    wM: make([H, D, D], 0.5),
    wV: make([H, D, D], 0.5),
    wK: make([H, D, D], 0.5),
    wEta: make([H, D, 1], rates),
    wAlpha: make([H, D, 1], rates),
  };
}

/** The equations, matrix by matrix: outputs of one head of one sequence. */
function literal(
  inputs: Record<string, fw.Tensor>,
  b: number,
  h: number,
  biases: { eta: number; alpha: number },
): number[][] {
  const host = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.tolist() as never]));
  const { x, q, wM, wV, wK, wEta, wAlpha } = host as Record<string, number[][][][]>;
  const matrices = [wM, wV, wK, wEta, wAlpha].map((w) => (w as unknown as number[][][])[h].map((row) => [...row]));
  return Array.from({ length: T }, (_, t) => {
    const [M, V, K, E, A] = matrices;
    const token = x[b][t][h];
    const k = normed(read(K, token));
    const v = read(V, token);
    const eta = sigmoid(read(E, token)[0] + biases.eta);
    const alpha = sigmoid(read(A, token)[0] + biases.alpha);
    const output = read(M, normed(q[b][t][h]));
    for (const S of matrices) {
      const [found, target] = [read(S, k), read(S, v)];
      for (let i = 0; i < D; i++)
        for (let j = 0; j < S[i].length; j++)
          S[i][j] = alpha * S[i][j] - eta * k[i] * found[j] - eta * k[i] * (found[j] - target[j]);
    }
    return output;
  });
}

describe('selfModifyingTitans', () => {
  it('is its equations, a matrix at a time', () =>
    fw.scope(() => {
      const inputs = draw(3);
      const { output } = fw.selfModifyingTitans(inputs as never, { etaBias: -0.5, alphaBias: 2 });
      const found = output.tolist() as unknown as number[][][][];
      for (let b = 0; b < B; b++)
        for (let h = 0; h < H; h++) {
          const expected = literal(inputs, b, h, { eta: -0.5, alpha: 2 });
          for (let t = 0; t < T; t++)
            for (let j = 0; j < D; j++) expect(found[b][t][h][j]).to.be.closeTo(expected[t][j], 1e-12);
        }
    }));

  it('without learning and forgetting is a fixed linear map', () =>
    fw.scope(() => {
      const { x, q, ...weights } = draw(4, { rates: 0 });
      const options = { etaBias: -60, alphaBias: 60, qkL2Norm: false };
      const { output } = fw.selfModifyingTitans({ x, q, ...weights } as never, options);
      const fixed = q.unsqueeze(3).matmul(weights.wM).squeeze(3);
      const gap = output.sub(fixed).abs().max().item();
      expect(gap).to.be.below(1e-12);
    }));
});
