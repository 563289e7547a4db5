// Attention with masks against its formula in float64, and with what cannot be seen: gradients, padding, empty sizes.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Sizes = { B: number; T: number; S: number; H: number; Hk: number; K: number; V: number };
type Sees = (b: number, h: number, t: number, s: number) => number;

const numbers = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(seed + 1.7 * i + 0.013 * i * i));

/** `added` is what is added to each product, -Infinity where a query does not see a key. */
function reference(q: number[], k: number[], v: number[], s: Sizes, added: Sees, scale = s.K ** -0.5): number[] {
  const out: number[] = [];
  const at = (x: number[], width: number, heads: number, length: number, b: number, t: number, h: number): number[] =>
    x.slice(((b * length + t) * heads + h) * width, ((b * length + t) * heads + h + 1) * width);
  for (let b = 0; b < s.B; b++) {
    for (let t = 0; t < s.T; t++) {
      for (let h = 0; h < s.H; h++) {
        const own = Math.floor((h * s.Hk) / s.H);
        const query = at(q, s.K, s.H, s.T, b, t, h);
        const scores = Array.from({ length: s.S }, (_, j) => {
          const key = at(k, s.K, s.Hk, s.S, b, j, own);
          return scale * query.reduce((sum, x, i) => sum + x * key[i], 0) + added(b, h, t, j);
        });
        const most = Math.max(...scores);
        const weights = scores.map((x) => (most === -Infinity ? 0 : Math.exp(x - most)));
        const sum = weights.reduce((a, c) => a + c, 0) || 1;
        for (let i = 0; i < s.V; i++) {
          out.push(weights.reduce((a, w, j) => a + (w / sum) * at(v, s.V, s.Hk, s.S, b, j, own)[i], 0));
        }
      }
    }
  }
  return out;
}

const SIZES: Sizes = { B: 2, T: 5, S: 7, H: 4, Hk: 2, K: 3, V: 6 };
/** The second sequence has padding on the left, the last query of the first sees nothing. */
const visible = (b: number, t: number, s: number): boolean => (b === 0 ? t < 4 : s > 2);

for (const where of targets()) {
  describe(`attention with masks on ${where.device}, ${where.dtype}`, () => {
    const { forward, gradient } = toleranceOf(where.dtype);
    const make = (data: ArrayLike<number>, shape: number[], dtype: fw.DType = where.dtype): fw.Tensor =>
      fw.tensor(data, { shape, device: where.device, dtype });
    const operands = (s: Sizes): { flat: number[][]; q: fw.Tensor; k: fw.Tensor; v: fw.Tensor } => {
      const shapes = [
        [s.B, s.T, s.H, s.K],
        [s.B, s.S, s.Hk, s.K],
        [s.B, s.S, s.Hk, s.V],
      ];
      const flat = shapes.map((shape, i) =>
        numbers(
          shape.reduce((a, b) => a * b, 1),
          i,
        ),
      );
      const [q, k, v] = flat.map((data, i) => make(data, shapes[i]));
      return { flat, q, k, v };
    };
    const { B, T, S } = SIZES;
    const grid = <A>(of: (b: number, t: number, s: number) => A): A[] =>
      Array.from({ length: B * T * S }, (_, i) => of(Math.floor(i / T / S), Math.floor(i / S) % T, i % S));

    it('none, causal, bool, added, and both kinds with causal', () => {
      const { flat, q, k, v } = operands(SIZES);
      const [a, b, c] = flat;
      const seen = make(
        grid((n, t, s) => Number(visible(n, t, s))),
        [B, 1, T, S],
        'bool',
      );
      const bias = grid((n, t, s) => (visible(n, t, s) ? Math.cos(n + t + 2 * s) : -Infinity));
      const added = make(bias, [B, 1, T, S]);
      const causal: Sees = (_, __, t, s) => (s <= t ? 0 : -Infinity);
      const hidden: Sees = (n, _, t, s) => (visible(n, t, s) ? 0 : -Infinity);
      const biased: Sees = (n, _, t, s) => bias[(n * T + t) * S + s];
      for (const [name, options, sees] of [
        ['none', {}, () => 0],
        ['scale', { scale: 0.3 }, () => 0],
        ['causal', { causal: true }, causal],
        ['bool', { mask: seen }, hidden],
        ['added', { mask: added }, biased],
        ['bool, causal', { mask: seen, causal: true }, (n, h, t, s) => hidden(n, h, t, s) + causal(n, h, t, s)],
        ['added, causal', { mask: added, causal: true }, (n, h, t, s) => biased(n, h, t, s) + causal(n, h, t, s)],
      ] as [string, fw.ScaledDotProductOptions, Sees][]) {
        const y = fw.scaledDotProductAttention(q, k, v, options);
        expect(y.shape).to.eql([B, T, SIZES.H, SIZES.V]);
        expectClose(name, y.dataSync(), reference(a, b, c, SIZES, sees, options.scale), forward);
      }
    });

    it('causal without a mask is softmaxAttention; dropout leaves weights out', () => {
      const square = { ...SIZES, S: SIZES.T };
      const { q, k, v } = operands(square);
      const y = fw.scaledDotProductAttention(q, k, v, { causal: true });
      expect(y.dataSync()).to.eql(fw.softmaxAttention(q, k, v).dataSync());
      expect(fw.scaledDotProductAttention(q, k, v, { dropout: 1 }).abs().max().item()).to.equal(0);
    });

    it('queries that see nothing get 0 and give gradients of 0, padding of any value none', () => {
      const { q, k, v } = operands(SIZES);
      const mask = make(
        grid((n, t, s) => Number(visible(n, t, s))),
        [B, 1, T, S],
        'bool',
      );
      const run = (keys: fw.Tensor, values: fw.Tensor, m: fw.Tensor): Float64Array[] => {
        const leaves = [q, keys, values].map((t) => Object.assign(t.clone(), { requiresGrad: true }));
        const y = fw.scaledDotProductAttention(leaves[0], leaves[1], leaves[2], { mask: m });
        y.square().sum().backward();
        return [y, ...leaves.map((t) => t.grad!)].map((t) => Float64Array.from(t.dataSync()));
      };
      const results = run(k, v, mask);
      expect(results.every((list) => list.every(Number.isFinite))).to.equal(true);
      const row = SIZES.H * SIZES.V;
      expect(
        results[0].slice(4 * row, 5 * row).every((x) => x === 0),
        'output',
      ).to.equal(true);
      const width = SIZES.H * SIZES.K;
      expect(
        results[1].slice(4 * width, 5 * width).every((x) => x === 0),
        'query',
      ).to.equal(true);
      // The keys of the padding of the second sequence.
      const [from, to] = [S, S + 3].map((n) => n * SIZES.Hk * SIZES.K);
      expect(
        results[2].slice(from, to).every((x) => x === 0),
        'keys',
      ).to.equal(true);
      const large = make(
        Array.from({ length: B * S }, (_, i) => (i >= S && i < S + 3 ? 1e6 : 1)),
        [B, S, 1, 1],
      );
      const again = run(k.mul(large), v.mul(large), mask);
      [0, 1].forEach((i) => expectClose('padding', again[i], results[i], gradient));
      // The same as numbers that are added.
      const added = fw.where(mask, make([0], []), -Infinity);
      run(k, v, added).forEach((list, i) => expectClose('added', list, results[i], gradient));
    });

    it('empty sizes give zeros of the right shape', () => {
      for (const change of [{ T: 0 }, { S: 0 }, { B: 0 }, { K: 0 }, { V: 0 }]) {
        const s = { ...SIZES, ...change };
        const { q, k, v } = operands(s);
        const mask = make(new Array<number>(s.T * s.S).fill(0), [s.T, s.S], 'bool');
        const y = fw.scaledDotProductAttention(q, k, v, { mask });
        expect(y.shape).to.eql([s.B, s.T, s.H, s.V]);
        expect(y.dataSync().every((x) => x === 0)).to.equal(true);
      }
    });

    it('MultiheadAttention equals its formula, with padding and across two sequences', () => {
      const [E, H] = [6, 2];
      const own = fw.withSeed(1, () => new fw.nn.MultiheadAttention(E, H).to('js').to('float64')).to(where.dtype);
      own.to(where.device);
      fw.noGrad(() => own.in_proj_bias!.add_(0.1));
      const [x, m] = [numbers(B * T * E, 3), numbers(B * S * E, 4)];
      const weights = Array.from(own.in_proj_weight.dataSync());
      const project = (data: number[], part: number): number[] =>
        Array.from({ length: data.length }, (_, i) => {
          const [row, j] = [Math.floor(i / E), (i % E) + part * E];
          return 0.1 + data.slice(row * E, row * E + E).reduce((sum, value, c) => sum + value * weights[j * E + c], 0);
        });
      const s = { B, T, S, H, Hk: H, K: E / H, V: E / H };
      const keyMask = make(
        Array.from({ length: B * S }, (_, i) => Number(i < S || i > S + 2)),
        [B, S],
        'bool',
      );
      const hidden: Sees = (n, _, __, j) => (n === 0 || j > 2 ? 0 : -Infinity);
      const heads = reference(project(x, 0), project(m, 1), project(m, 2), s, hidden);
      const out = Array.from(own.out_proj.weight.dataSync());
      const expected = Array.from({ length: heads.length }, (_, i) => {
        const row = Math.floor(i / E);
        return heads.slice(row * E, row * E + E).reduce((sum, value, c) => sum + value * out[(i % E) * E + c], 0);
      });
      const y = own.forward(make(x, [B, T, E]), make(m, [B, S, E]), undefined, { keyMask });
      expectClose('cross', y.dataSync(), expected, forward);
      expect(own.namedParameters().map(([name]) => name)).to.eql([
        'in_proj_weight',
        'in_proj_bias',
        'out_proj.weight',
        'out_proj.bias',
      ]);
      const self = own.forward(make(x, [B, T, E]), undefined, undefined, { causal: true });
      const first = own.forward(make(x, [B, T, E]).slice(1, 0, 2), undefined, undefined, { causal: true });
      expectClose('causal', self.slice(1, 0, 2).dataSync(), first.dataSync(), forward);
      const mask = make(numbers(T * T, 1), [T, T]);
      const keys = make(
        Array.from({ length: B * T }, (_, i) => Number(i % T > 0)),
        [B, T],
        'bool',
      );
      const both = own.forward(make(x, [B, T, E]), undefined, undefined, { mask, keyMask: keys });
      const joined = fw.where(keys.reshape(B, 1, 1, T), mask, -Infinity);
      const together = own.forward(make(x, [B, T, E]), undefined, undefined, { mask: joined });
      expectClose('both masks', both.dataSync(), together.dataSync(), forward);
    });
  });
}

describe('attention with masks', () => {
  const js = { device: 'js', dtype: 'float64' } as const;
  const [q, k, v] = [
    [2, 3, 2, 2],
    [2, 4, 1, 2],
    [2, 4, 1, 3],
  ].map((shape, i) =>
    fw.tensor(
      numbers(
        shape.reduce((a, b) => a * b, 1),
        i,
      ),
      { shape, ...js },
    ),
  );

  it('has the gradients of central differences', () => {
    const bool = fw.tensor([1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1], { shape: [3, 4], device: 'js', dtype: 'bool' });
    const added = fw.tensor(numbers(12, 5), { shape: [3, 4], ...js });
    for (const options of [{}, { causal: true }, { mask: bool }, { mask: bool, causal: true }]) {
      fw.gradcheck((a, b, c) => fw.scaledDotProductAttention(a, b, c, options).square().sum(), [q, k, v]);
    }
    fw.gradcheck((a, b, c, mask) => fw.scaledDotProductAttention(a, b, c, { mask }).square().sum(), [q, k, v, added]);
  });

  it('refuses masks and operands that do not fit', () => {
    const refuse = (code: fw.ErrorCode, pattern: RegExp, mask: fw.Tensor): unknown =>
      expectError(code, pattern, () => fw.scaledDotProductAttention(q, k, v, { mask }));
    refuse('SHAPE', /mask must be one that broadcasts to \[2, 2, 3, 4\]/, fw.ones([3, 3], js));
    refuse('SHAPE', /mask/, fw.ones([1, 2, 2, 3, 4], js));
    refuse('DTYPE', /mask must be bool, or floats/, fw.ones([3, 4], { device: 'js', dtype: 'int32' }));
    refuse('DTYPE', /mask must be float64/, fw.ones([3, 4], { device: 'js' }));
    expectError('SHAPE', /v must be \[2, 4, 1, V\]/, () => fw.scaledDotProductAttention(q, k, v.slice(1, 1)));
    expectError('SHAPE', /k must be/, () => fw.scaledDotProductAttention(q, k.slice(0, 1), v));
    expectError('SHAPE', /keyMask must be bool/, () =>
      new fw.nn.MultiheadAttention(4, 2, js).forward(fw.ones([1, 2, 4], js), undefined, undefined, { keyMask: q }),
    );
  });
});
