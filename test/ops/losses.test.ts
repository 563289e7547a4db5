// Losses against their formulas in float64: every option, reductions, large inputs, empty ones, gradients.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const numbers = (count: number, seed: number, scale = 2): number[] =>
  Array.from({ length: count }, (_, i) => scale * Math.sin(seed + 1.37 * i + 0.01 * i * i));

function logSoftmax(row: number[]): number[] {
  const most = Math.max(...row);
  const log = most + Math.log(row.reduce((sum, z) => sum + Math.exp(z - most), 0));
  return row.map((z) => z - log);
}

interface Entropy {
  weight?: number[];
  labelSmoothing?: number;
  ignoreIndex?: number;
  zLoss?: number;
  logitSoftcap?: number;
}

/** PyTorch's definition: the loss of each row, and the divisor of the mean. */
function entropy(logits: number[][], target: number[] | number[][], options: Entropy): { rows: number[]; by: number } {
  const { labelSmoothing: e = 0, ignoreIndex = -100, zLoss = 0, logitSoftcap: cap } = options;
  const V = logits[0].length;
  const w = options.weight ?? new Array<number>(V).fill(1);
  const rows = logits.map((row, i) => {
    const z = cap ? row.map((x) => cap * Math.tanh(x / cap)) : row;
    const logs = logSoftmax(z);
    const lse = z[0] - logs[0];
    const t = target[i];
    if (typeof t === 'number') {
      if (t === ignoreIndex) return 0;
      const smooth = logs.reduce((sum, l, c) => sum - (e / V) * w[c] * l, 0);
      return -(1 - e) * w[t] * logs[t] + smooth + w[t] * zLoss * lse * lse;
    }
    return logs.reduce((sum, l, c) => sum - w[c] * ((1 - e) * t[c] + e / V) * l, 0) + zLoss * lse * lse;
  });
  const counted = (target as unknown[]).map((t) => (typeof t === 'number' ? (t === ignoreIndex ? 0 : w[t]) : 1));
  return { rows, by: counted.reduce((a, b) => a + b, 0) };
}

const [B, T, V] = [3, 5, 7];
const LOGITS = numbers(B * T * V, 1, 4);
const CLASSES = Array.from({ length: B * T }, (_, i) => (i % 4 === 3 ? -100 : (i * 5) % V));
const SHARES = Array.from({ length: B * T }, (_, i) => logSoftmax(numbers(V, i)).map(Math.exp));
const WEIGHT = [0.5, 2, 0, 1, 3, 0.25, 1];
const inRows = (flat: number[]): number[][] => Array.from({ length: B * T }, (_, i) => flat.slice(i * V, (i + 1) * V));

const OPTIONS: Entropy[] = [
  {},
  { weight: WEIGHT },
  { labelSmoothing: 0.1 },
  { labelSmoothing: 0.3, weight: WEIGHT },
  { labelSmoothing: 1, weight: WEIGHT },
  { ignoreIndex: 5, weight: WEIGHT, labelSmoothing: 0.2 },
  { zLoss: 0.1, logitSoftcap: 3 },
  { zLoss: 0.1, logitSoftcap: 3, weight: WEIGHT, labelSmoothing: 0.2 },
];

type Pair = (x: fw.Tensor, t: fw.Tensor, options?: object) => fw.Tensor;
type Scalar = (x: number, t: number) => number;
const sigmoidEntropy = (x: number, t: number): [number, number] => {
  const log = (z: number): number => -Math.log1p(Math.exp(-Math.abs(z))) + Math.min(z, 0);
  return [-t * log(x), -(1 - t) * log(-x)];
};
const PAIRS: [name: string, loss: Pair, options: object, of: Scalar][] = [
  ['mseLoss', fw.mseLoss, {}, (x, t) => (x - t) ** 2],
  ['l1Loss', fw.l1Loss, {}, (x, t) => Math.abs(x - t)],
  ['smoothL1Loss', fw.smoothL1Loss, {}, (x, t) => (Math.abs(x - t) < 1 ? (x - t) ** 2 / 2 : Math.abs(x - t) - 0.5)],
  [
    'smoothL1Loss, beta 0.5',
    fw.smoothL1Loss,
    { beta: 0.5 },
    (x, t) => (Math.abs(x - t) < 0.5 ? (x - t) ** 2 : Math.abs(x - t) - 0.25),
  ],
  ['smoothL1Loss, beta 0', fw.smoothL1Loss, { beta: 0 }, (x, t) => Math.abs(x - t)],
  [
    'huberLoss, delta 0.7',
    fw.huberLoss,
    { delta: 0.7 },
    (x, t) => (Math.abs(x - t) <= 0.7 ? (x - t) ** 2 / 2 : 0.7 * (Math.abs(x - t) - 0.35)),
  ],
  [
    'binaryCrossEntropyWithLogits',
    fw.binaryCrossEntropyWithLogits,
    {},
    (x, t) => sigmoidEntropy(x, t)[0] + sigmoidEntropy(x, t)[1],
  ],
  ['klDiv', fw.klDiv, {}, (x, t) => (t === 0 ? 0 : t * Math.log(t)) - t * x],
  ['klDiv of logarithms', fw.klDiv, { logTarget: true }, (x, t) => Math.exp(t) * (t - x)],
];

for (const where of targets()) {
  describe(`losses on ${where.device}, ${where.dtype}`, () => {
    const { forward } = toleranceOf(where.dtype);
    const make = (data: ArrayLike<number>, shape: number[], dtype: fw.DType = where.dtype): fw.Tensor =>
      fw.tensor(data, { shape, device: where.device, dtype });

    for (const kind of ['classes', 'probabilities'] as const) {
      for (const options of OPTIONS) {
        if (kind === 'probabilities' && options.ignoreIndex !== undefined) continue;
        it(`crossEntropy of ${kind}, ${JSON.stringify(Object.keys(options))}`, () => {
          const target =
            kind === 'classes' ? CLASSES.map((c) => ((options.ignoreIndex ?? -100) === 5 && c < 0 ? 5 : c)) : SHARES;
          const { rows, by } = entropy(inRows(LOGITS), target, options);
          const sum = rows.reduce((a, b) => a + b, 0);
          const t = kind === 'classes' ? make(target as number[], [B, T], 'int32') : make(SHARES.flat(), [B, T, V]);
          const given = { ...options, weight: options.weight ? make(options.weight, [V]) : null };
          for (const [reduction, expected] of [
            ['none', rows],
            ['sum', [sum]],
            ['mean', [sum / by]],
          ] as const) {
            const loss = fw.crossEntropy(make(LOGITS, [B, T, V]), t, { ...given, reduction });
            expect(loss.shape).to.eql(reduction === 'none' ? [B, T] : [1]);
            expectClose(reduction, loss.dataSync(), expected, forward);
          }
        });
      }
    }

    it('nllLoss: the weighted mean of the counted rows', () => {
      const logs = inRows(LOGITS).map(logSoftmax);
      const { rows, by } = entropy(logs, CLASSES, { weight: WEIGHT });
      const [x, t] = [make(logs.flat(), [B, T, V]), make(CLASSES, [B, T], 'int32')];
      expectClose(
        'mean',
        fw.nllLoss(x, t, { weight: make(WEIGHT, [V]) }).dataSync(),
        [rows.reduce((a, b) => a + b) / by],
        forward,
      );
      const { rows: plain } = entropy(logs, CLASSES, {});
      expectClose('none', fw.nllLoss(x, t, { reduction: 'none' }).dataSync(), plain, forward);
    });

    for (const [name, loss, options, of] of PAIRS) {
      it(name, () => {
        const x = numbers(15, 3);
        const t = numbers(15, 5, name.startsWith('bin') || name === 'klDiv' ? 0.5 : 2).map((v, i) =>
          name.startsWith('bin') || name === 'klDiv' ? (i === 2 ? 0 : i === 3 ? 1 : v + 0.5) : v,
        );
        const all = x.map((v, i) => of(v, t[i]));
        const sum = all.reduce((a, b) => a + b, 0);
        const [a, b] = [make(x, [3, 5]), make(t, [3, 5])];
        for (const [reduction, expected] of [
          ['none', all],
          ['sum', [sum]],
          ['mean', [sum / 15]],
        ] as const) {
          const y = loss(a, b, { ...options, reduction });
          expect(y.shape).to.eql(reduction === 'none' ? [3, 5] : [1]);
          expectClose(reduction, y.dataSync(), expected, forward);
        }
        expectError('SHAPE', /target must be \[3, 5\]/, () => loss(a, b.slice(0, 0, 1)));
        expectError('INVALID_ARGUMENT', /reduction/, () => loss(a, b, { reduction: 'all' }));
        // Of nothing the sum is 0, and the mean NaN.
        const [none, noTarget] = [make([], [0, 5]), make([], [0, 5])];
        expect(loss(none, noTarget, { ...options, reduction: 'sum' }).tolist()).to.eql([0]);
        expect(loss(none, noTarget, options).item()).to.be.NaN;
      });
    }

    it('klDiv by the batch, binaryCrossEntropyWithLogits with weights, cosineSimilarity', () => {
      const [x, t] = [numbers(6, 3), SHARES[0].slice(0, 6)];
      const kl = x.reduce((sum, v, i) => sum + t[i] * (Math.log(t[i]) - v), 0);
      const [a, b] = [make(x, [2, 3]), make(t, [2, 3])];
      expectClose('batchMean', fw.klDiv(a, b, { reduction: 'batchMean' }).dataSync(), [kl / 2], forward);
      const [w, p] = [
        [0.5, 2],
        [1, 3, 0.25],
      ];
      const expected = x.map((v, i) => {
        const [yes, no] = sigmoidEntropy(v, t[i]);
        return w[Math.floor(i / 3)] * (p[i % 3] * yes + no);
      });
      const options = { weight: make(w, [2, 1]), posWeight: make(p, [3]), reduction: 'none' } as const;
      expectClose('weights', fw.binaryCrossEntropyWithLogits(a, b, options).dataSync(), expected, forward);
      const cosine = [0, 1].map((i) => {
        const [u, v] = [x, t].map((list) => list.slice(3 * i, 3 * i + 3));
        return u.reduce((s, _, j) => s + u[j] * v[j], 0) / Math.hypot(...u) / Math.hypot(...v);
      });
      expectClose('cosine', fw.cosineSimilarity(a, b).dataSync(), cosine, forward);
      expect(fw.cosineSimilarity(a.mul(0), b).tolist()).to.eql([0, 0]);
    });

    it('stay finite and right at large inputs, gradients too', () => {
      const x = make([1e4, -1e4, 1e4, -1e4, 60, -60], [6]);
      x.requiresGrad = true;
      const t = make([1, 0, 0, 1, 1, 0], [6]);
      const loss = fw.binaryCrossEntropyWithLogits(x, t, { reduction: 'none' });
      const tiny = Math.log1p(Math.exp(-60));
      expectClose('large', loss.dataSync().slice(0, 4), [0, 0, 1e4, 1e4], forward);
      // Not rounded to 0.
      expectClose('small', loss.dataSync().slice(4), [tiny, tiny], 1e-5);
      loss.sum().backward();
      expectClose('gradient', x.grad!.dataSync().slice(0, 4), [0, 0, 1, -1], forward);
      const z = make([1e4, -1e4, 0, 5e3, 5e3, -1e4], [2, 3]);
      z.requiresGrad = true;
      const options = { weight: make([1, 2, 3], [3]), labelSmoothing: 0.3 };
      const y = fw.crossEntropy(z, make([0, 1], [2], 'int32'), options);
      y.backward();
      expect([...y.dataSync(), ...z.grad!.dataSync()].every(Number.isFinite)).to.equal(true);
    });
  });
}

describe('losses', () => {
  const js = { device: 'js', dtype: 'float64' } as const;
  const x = fw.tensor(numbers(6, 2), { shape: [2, 3], ...js });
  const t = fw.tensor(
    numbers(6, 7, 0.4).map((v) => v + 0.5),
    { shape: [2, 3], ...js },
  );
  const ids = fw.tensor([1, -100], { dtype: 'int32', device: 'js' });
  const weight = fw.tensor([0.5, 2, 3], js);

  it('have the gradients of central differences, with respect to targets and weights, too', () => {
    for (const [, loss, options] of PAIRS) fw.gradcheck((a, b) => loss(a, b, options), [x.clone(), t.clone()]);
    fw.gradcheck((a, b, w) => fw.crossEntropy(a, b, { labelSmoothing: 0.2, zLoss: 0.1, weight: w }), [x, t, weight]);
    for (const options of OPTIONS.slice(-1)) {
      fw.gradcheck((a, w) => fw.crossEntropy(a, ids, { ...options, weight: w, ignoreIndex: -100 }), [x, weight]);
    }
    fw.gradcheck((a, w) => fw.nllLoss(a, ids, { weight: w }), [x, weight]);
    fw.gradcheck((a, b) => fw.cosineSimilarity(a, b).square().sum(), [x, t]);
    fw.gradcheck((a, b, w) => fw.binaryCrossEntropyWithLogits(a, b, { posWeight: w, weight: w }), [x, t, weight]);
  });

  it('refuse what does not fit', () => {
    expectError('INVALID_ARGUMENT', /ignoreIndex must be left out/, () => fw.crossEntropy(x, t, { ignoreIndex: 1 }));
    expectError('SHAPE', /weight must be \[3\]/, () => fw.crossEntropy(x, ids, { weight: weight.slice(0, 1) }));
    expectError('SHAPE', /target must be \[2, 3\]/, () => fw.crossEntropy(x, t.slice(0, 1)));
    expectError('DTYPE', /target must be int32/, () => fw.crossEntropy(x, ids.to('bool')));
    expectError('INVALID_ARGUMENT', /./, () =>
      fw.nllLoss(x, fw.tensor([4, 0], { dtype: 'int32', device: 'js' })).item(),
    );
    expectError('INVALID_ARGUMENT', /delta must be above 0/, () => fw.huberLoss(x, t, { delta: 0 }));
  });

  it('are modules, too, whose tensors are buffers', () => {
    const { CrossEntropyLoss, MSELoss } = fw.nn;
    const loss = new CrossEntropyLoss({ weight, labelSmoothing: 0.1 });
    expect(loss.forward(x, ids).tolist()).to.eql(fw.crossEntropy(x, ids, { weight, labelSmoothing: 0.1 }).tolist());
    expect([loss.parameters(), Object.keys(loss.stateDict())]).to.eql([[], ['weight']]);
    expect(new MSELoss().forward(x, t).tolist()).to.eql(fw.mseLoss(x, t).tolist());
  });
});
