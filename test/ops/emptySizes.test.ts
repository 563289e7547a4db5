// Sizes of 0 in every place where a size may stand: results have the shape and the values that arithmetic gives them, and
// gradients are written, zeros where no number depends on them. Fresh memory holds NaN (test/support/setup.ts).
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';

type Sizes = { B: number; M: number; N: number; K: number };
type Build = (t: fw.Tensor[], sizes: Sizes) => fw.Tensor | (fw.Tensor | undefined)[];
type Case = [name: string, build: Build, result: (s: Sizes) => number[], ...shapes: ((s: Sizes) => number[])[]];

const labels = (n: number, value: number, { device }: fw.Tensor): fw.Tensor =>
  fw.full([n], value, { dtype: 'int32', device });

const rules: Case[] = (
  ['linearAttention', 'gatedLinearAttention', 'deltaRule', 'ojaRule', 'generalizedDeltaRule', 'rwkv6'] as const
).flatMap((name) =>
  (['chunk', 'recurrent'] as const).map((mode): Case => {
    const run: Build = ([q, k, v, state]) => {
      const options = { mode, initialState: state, outputFinalState: true };
      // Tensors of their own: each has its gradient.
      const { output, finalState } =
        name === 'generalizedDeltaRule'
          ? fw.generalizedDeltaRule(q, k, v, { a: k.mul(1), b: q.mul(1), ...options })
          : fw[name](q, k, v, options);
      return [output, finalState];
    };
    const keys = (s: Sizes): number[] => [s.B, s.M, 2, s.K];
    const values = (s: Sizes): number[] => [s.B, s.M, 2, s.N];
    return [`${name}, ${mode}`, run, values, keys, keys, values, (s) => [s.B, 2, s.K, s.N]];
  }),
);

const row = (s: Sizes): number[] => [s.N];
const rows = (s: Sizes): number[] => [s.B, s.M, s.N];
const CASES: Case[] = [
  ['matmul', ([a, b]) => a.matmul(b), (s) => [s.M, s.N], (s) => [s.M, s.K], (s) => [s.K, s.N]],
  ['matmul of rows', ([a, b]) => a.matmul(b), rows, (s) => [s.B, s.M, s.K], (s) => [s.K, s.N]],
  ['matmul of batches', ([a, b]) => a.matmul(b), rows, (s) => [s.B, s.M, s.K], (s) => [s.B, s.K, s.N]],
  [
    'matmul of a transpose, broadcast',
    ([a, b]) => a.transpose(1, 2).matmul(b),
    (s) => [s.B, s.M, s.N],
    (s) => [1, s.K, s.M],
    (s) => [s.B, s.K, s.N],
  ],
  ['matmul of a vector', ([a, b]) => a.matmul(b), (s) => [s.B, s.M], (s) => [s.B, s.M, s.K], (s) => [s.K]],
  ['linear', ([x, w, b]) => fw.linear(x, w, b), rows, (s) => [s.B, s.M, s.K], (s) => [s.N, s.K], row],
  [
    'linear with everything',
    ([x, w, b, residual]) => fw.linear(x, w, b, { activation: 'silu', residual }),
    rows,
    (s) => [s.B, s.M, s.K],
    (s) => [s.N, s.K],
    row,
    rows,
  ],
  [
    'feedForward',
    ([x, gate, up, down]) => fw.feedForward(x, { gate, up, down }),
    (s) => [s.B, s.M, s.K],
    (s) => [s.B, s.M, s.K],
    (s) => [s.N, s.K],
    (s) => [s.N, s.K],
    (s) => [s.K, s.N],
  ],
  [
    'softmaxAttention',
    ([q, k, v]) => fw.softmaxAttention(q, k, v),
    (s) => [s.B, s.M, 2, s.N],
    (s) => [s.B, s.M, 2, s.K],
    (s) => [s.B, 3, 2, s.K],
    (s) => [s.B, 3, 2, s.N],
  ],
  ...rules,
  [
    'deltaRule with gates',
    ([q, k, v, gate, beta]) => fw.deltaRule(q, k, v, { gate: gate.neg(), beta }).output,
    (s) => [s.B, s.M, 2, s.N],
    (s) => [s.B, s.M, 2, s.K],
    (s) => [s.B, s.M, 2, s.K],
    (s) => [s.B, s.M, 2, s.N],
    (s) => [s.B, s.M, 2, s.K],
    (s) => [s.B, s.M, 2],
  ],
  [
    'shortConvolution',
    ([x, weight, bias, initialState]) => {
      const options = { bias, initialState, outputFinalState: true, activation: 'silu' } as const;
      const { output, finalState } = fw.shortConvolution(x, weight, options);
      return [output, finalState];
    },
    rows,
    rows,
    (s) => [s.N, 4],
    row,
    (s) => [s.B, s.N, 3],
  ],
  ['layerNorm', ([x, w, b]) => fw.layerNorm(x, w, b), rows, rows, row, row],
  ['rmsNorm', ([x, w]) => fw.rmsNorm(x, w), rows, rows, row],
  ['rmsNormGated', ([x, z, w]) => fw.rmsNormGated(x, z, w), rows, rows, rows, row],
  ['softmax', ([x]) => x.softmax(), rows, rows],
  ['logSoftmax along another dimension', ([x]) => x.logSoftmax(1), rows, rows],
  ['sum', ([x]) => x.sum(1), (s) => [s.B, s.N], rows],
  ['cumsum', ([x]) => x.cumsum(1), rows, rows],
  ['prod', ([x]) => x.prod(1), (s) => [s.B, s.N], rows],
  ['norm', ([x]) => x.norm(2, 1), (s) => [s.B, s.N], rows],
  ['repeat', ([x]) => x.repeat(2, 1, 3), (s) => [2 * s.B, s.M, 3 * s.N], rows],
  ['flip and roll', ([x]) => x.flip(1).roll(1, 2), rows, rows],
  ['pad', ([x]) => x.pad([1, 2]), (s) => [s.B, s.M, s.N + 3], rows],
  [
    'unfold',
    ([x]) => x.unfold(2, Math.min(2, x.shape[2]), 1),
    (s) => [s.B, s.M, Math.max(1, s.N - 1), Math.min(2, s.N)],
    rows,
  ],
  ['tril', ([x]) => x.tril(), rows, rows],
  ['diagonal', ([x]) => x.diagonal(0, 1, 2), (s) => [s.B, Math.min(s.M, s.N)], rows],
  [
    'einsum',
    ([a, b]) => fw.einsum('bmk,bkn->mn', a, b),
    (s) => [s.M, s.N],
    (s) => [s.B, s.M, s.K],
    (s) => [s.B, s.K, s.N],
  ],
  [
    'einsum of elements',
    ([a, b]) => fw.einsum('bm,bm->mb', a, b),
    (s) => [s.M, s.B],
    (s) => [s.B, s.M],
    (s) => [s.B, s.M],
  ],
  ['div with broadcasting', ([a, b]) => a.div(b), rows, (s) => [s.B, 1, s.N], (s) => [s.M, 1]],
  [
    'embedding',
    ([w], { B, M }) => fw.embedding(w, labels(B * M, 0, w).reshape(B, M)),
    (s) => [s.B, s.M, s.K],
    (s) => [s.N + 1, s.K],
  ],
  [
    'crossEntropy',
    ([x], { M, N }) => fw.crossEntropy(x, labels(M, N === 0 ? -100 : 0, x), { reduction: 'sum', labelSmoothing: 0.1 }),
    () => [1],
    (s) => [s.M, s.N],
  ],
  [
    'crossEntropy of probabilities and weighted classes',
    ([x, t, w], { M, N }) => [
      fw.crossEntropy(x, t, { reduction: 'none', weight: w }),
      fw.crossEntropy(x, labels(M, N === 0 ? -100 : 0, x), { reduction: 'sum', weight: w }),
    ],
    (s) => [s.M],
    (s) => [s.M, s.N],
    (s) => [s.M, s.N],
    row,
  ],
  ['huberLoss', ([x, t]) => fw.huberLoss(x, t, { reduction: 'sum' }), () => [1], rows, rows],
  [
    'scaledDotProductAttention',
    ([q, k, v, mask]) => fw.scaledDotProductAttention(q, k, v, { mask }),
    (s) => [s.B, s.M, 2, s.N],
    (s) => [s.B, s.M, 2, s.K],
    (s) => [s.B, s.B, 1, s.K],
    (s) => [s.B, s.B, 1, s.N],
    (s) => [s.M, s.B],
  ],
  [
    'conv2d',
    ([x, w, bias]) => fw.conv2d(x, w, { bias, padding: 1 }),
    (s) => [s.B, s.N, s.M + 1, s.K + 1],
    (s) => [s.B, 2, s.M, s.K],
    (s) => [s.N, 2, 2, 2],
    row,
  ],
  [
    'lstm',
    ([x, weightIh, weightHh, biasIh]) => fw.lstm(x, [{ weightIh, weightHh, biasIh }]).output,
    rows,
    (s) => [s.B, s.M, s.K],
    (s) => [4 * s.N, s.K],
    (s) => [4 * s.N, s.N],
    (s) => [4 * s.N],
  ],
];

/** Every choice of which sizes are 0, but for none. Attention has three keys or none, hence M of at most three. */
const SIZES = Array.from({ length: 15 }, (_, zeros): Sizes => {
  const size = (i: number, n: number): number => ((zeros + 1) & (1 << i) ? 0 : n);
  return { B: size(0, 2), M: size(1, 3), N: size(2, 5), K: size(3, 4) };
});

for (const where of targets()) {
  describe(`empty sizes on ${where.device}, ${where.dtype}`, () => {
    for (const [name, build, result, ...shapes] of CASES) {
      it(name, () => {
        for (const sizes of SIZES) {
          fw.scope(() => {
            const leaves = shapes.map((shape) => fw.full(shape(sizes), 0.5, { ...where, requiresGrad: true }));
            const built = build(leaves, sizes);
            const outputs = (Array.isArray(built) ? built : [built]).map((t) => t!);
            const at = `${name} of ${JSON.stringify(sizes)}`;
            expect(outputs[0].shape, at).to.deep.equal(result(sizes));
            outputs
              .map((t) => t.sum())
              .reduce((a, b) => a.add(b))
              .backward();
            for (const t of [...outputs, ...leaves.map((leaf) => leaf.grad!)]) {
              expect([...t.dataSync()].every(Number.isFinite), `${at}: written`).to.equal(true);
            }
            leaves.forEach((leaf) => expect(leaf.grad!.shape, at).to.deep.equal(leaf.shape));
            if (outputs.every((t) => t.size === 0)) {
              leaves.forEach((leaf, i) =>
                expect([...leaf.grad!.dataSync()].some(Boolean), `${at}: gradient ${i}`).to.equal(false),
              );
            }
          });
        }
      });
    }

    it('a product of no terms is 0', () => {
      for (const [a, b] of [
        [
          [5, 2, 0],
          [0, 3],
        ],
        [
          [5, 2, 0],
          [5, 0, 3],
        ],
      ])
        expect([...fw.ones(a, where).matmul(fw.ones(b, where)).dataSync()]).to.deep.equal(new Array(30).fill(0));
      expect([...fw.linear(fw.ones([2, 0], where), fw.ones([3, 0], where)).dataSync()]).to.deep.equal(
        new Array(6).fill(0),
      );
    });
  });
}
