// What the operators of everyday give for whole numbers, truth values, shapes and edges: PyTorch's results, written out.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`toolkit on ${device}`, () => {
    const on = { device } as const;
    const t = (data: fw.NestedData, dtype?: fw.DType): fw.Tensor => fw.tensor(data, { dtype, ...on });
    const whole = (data: fw.NestedData): fw.Tensor => t(data, 'int32');
    const [MOST, LEAST] = [2 ** 31 - 1, -(2 ** 31)];
    const seq = (...shape: number[]): fw.Tensor =>
      fw
        .arange(
          shape.reduce((a, b) => a * b, 1),
          undefined,
          1,
          on,
        )
        .reshape(shape);
    const expectList = (x: fw.Tensor, list: fw.NestedNumbers): void => {
      expect(x.tolist()).to.deep.equal(list);
    };

    it('tensor takes true and false, and infers bool', () => {
      expect([t(true).dtype, t([[true, false]]).dtype, t([true, 2.5]).dtype, t([]).dtype]).to.deep.equal([
        'bool',
        'bool',
        'float32',
        'float32',
      ]);
      expectList(t([[true], [false]]), [[1], [0]]);
      expectList(t([true, 2.5]), [1, 2.5]);
      expectList(whole([true, false]), [1, 0]);
      expect(fw.full([2], true, on).dtype).to.equal('bool');
    });

    it('isclose and allclose: shares of the second, infinities, NaN, whole numbers', () => {
      const a = t([1, 1.1, Infinity, Infinity, -Infinity, NaN, 1e-9]);
      const b = t([1.000005, 1, Infinity, 5, Infinity, NaN, 0]);
      expectList(a.isclose(b), [1, 0, 1, 0, 0, 0, 1]);
      expectList(fw.isclose(a, b, { rtol: 0.2, equalNan: true }), [1, 1, 1, 0, 0, 1, 1]);
      expectList(fw.isclose(t([5, 5]), t([Infinity, NaN])), [0, 0]);
      expectList(fw.isclose(t([1, 2]), t([1.5, 2.5]), { rtol: 0, atol: 0.5 }), [1, 1]);
      expectList(whole([3, MOST, LEAST]).isclose(whole([3, LEAST, LEAST])), [1, 0, 1]);
      expectList(t([[true], [false]]).isclose(t([true, false])), [
        [1, 0],
        [0, 1],
      ]);
      expect([a.allclose(b), a.allclose(a, { equalNan: true }), fw.allclose(t([]), t([]))]).to.deep.equal([
        false,
        true,
        true,
      ]);
      expectError('INVALID_ARGUMENT', /rtol/, () => a.allclose(b, { rtol: -1 }));
      expectError('DTYPE', /isclose: b/, () => fw.isclose(a, whole([1])));
      expectError('DTYPE', /allclose: b/, () => a.allclose(t([1], 'bfloat16')));
    });

    it('oneHot: classes given and counted, any shape, indices outside', () => {
      expect(fw.oneHot(whole([0, 2]), 4).dtype).to.equal('int32');
      expectList(fw.oneHot(whole([0, 2]), 4), [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
      ]);
      expectList(fw.oneHot(whole([[1], [0]])), [[[0, 1]], [[1, 0]]]);
      expectList(fw.oneHot(whole(2)), [0, 0, 1]);
      expect(fw.oneHot(whole([]), 3).shape).to.deep.equal([0, 3]);
      expectError('INVALID_ARGUMENT', /numClasses/, () => fw.oneHot(whole([])));
      expectError('INVALID_ARGUMENT', /index/, () => fw.oneHot(whole([1, 2]), 2).tolist());
      expectError('INVALID_ARGUMENT', /index/, () => fw.oneHot(whole([-1, -2])).tolist());
    });

    it('normalize, glu, leakyRelu: defaults, other dimensions, vectors of zeros, odd sizes', () => {
      expectList(
        fw
          .normalize(
            t([
              [3, 4],
              [0, 0],
            ]),
          )
          .mul(5),
        [
          [3, 4],
          [0, 0],
        ],
      );
      expectList(fw.normalize(t([1, -3]), { p: 1, dim: 0 }), [0.25, -0.75]);
      expectList(fw.normalize(t([2, -4]), { p: Infinity, dim: -1, eps: 8 }), [0.25, -0.5]);
      expectList(fw.glu(t([4, 6, 0, Infinity])), [2, 6]);
      expectList(fw.glu(t([[2], [0]]), 0), [[1]]);
      expectError('SHAPE', /x/, () => fw.glu(t([1, 2, 3])));
      expectList(fw.leakyRelu(t([2, 0, -2, NaN]), 0.5), [2, 0, -1, NaN]);
      expect(fw.leakyRelu(t([-1])).item()).to.be.closeTo(-0.01, 1e-9);
      expectList(new fw.nn.LeakyReLU(0.25).forward(t([-4, 4])), [-1, 4]);
    });

    it('truth: any, all, counts, and the largest of bool', () => {
      const x = t([
        [0, 1, NaN],
        [0, 0, 0],
      ]);
      expect([x.any(), x.all(), x.any(1), x.countNonzero()].map((y) => y.dtype)).to.deep.equal([
        'bool',
        'bool',
        'bool',
        'int32',
      ]);
      expectList(x.any(1, true), [[1], [0]]);
      expectList(x.any(0), [0, 1, 1]);
      expectList(x.all([0, 1]), 0);
      expectList(
        whole([
          [3, -1],
          [0, 5],
        ]).all(-1),
        [1, 0],
      );
      expectList(x.countNonzero(0), [0, 1, 1]);
      expectList(t([0.25, 0, -0], 'bfloat16').any(), 1);
      const none = fw.zeros([0, 3], on);
      expectList(none.any(0), [0, 0, 0]);
      expectList(none.all(), 1);
      const mask = t([
        [true, false],
        [true, true],
      ]);
      expect([mask.sum().dtype, mask.sum().item(), mask.prod(1).dtype]).to.deep.equal(['int32', 3, 'int32']);
      expectList(mask.prod(1), [0, 1]);
      expect([mask.max(0).dtype, mask.min(0).dtype]).to.deep.equal(['bool', 'bool']);
      expectList(mask.min(0), [1, 0]);
      expectList(mask.argmax(1), [0, 0]);
      expectList(mask.argmin(1), [1, 0]);
      expectError('DTYPE', /mean: x must be a floating-point tensor/, () => mask.mean());
    });

    it('extremes of int32 at the ends of its range, and their positions', () => {
      const x = whole([
        [LEAST, 3, MOST],
        [7, LEAST, 7],
      ]);
      expectList(x.argmin(1), [0, 1]);
      expectList(x.argmax(1, true), [[2], [0]]);
      const { values, indices } = x.minWithIndices(0);
      expectList(values, [LEAST, LEAST, 7]);
      expectList(indices, [0, 1, 1]);
      expectList(x.max([0, 1]), MOST);
      expectList(x.median(1), [3, 7]);
      expectList(x.median(), 3);
      expectList(whole([65536, 65536, 3]).prod(), 0);
    });

    it('NaN is the largest and the smallest, and the median', () => {
      const x = t([
        [1, NaN, 3],
        [4, 2, 3],
      ]);
      expectList(x.max(1), [NaN, 4]);
      expectList(x.min(1), [NaN, 2]);
      expectList(x.argmax(1), [1, 0]);
      expectList(x.argmin(1), [1, 1]);
      expectList(x.median(1), [NaN, 3]);
      expectList(t([4, 1, 3, 2]).median(), 2);
      expectList(x.maxWithIndices(0, true).values, [[4, NaN, 3]]);
      expectError('SHAPE', /maxWithIndices: x must be with elements/, () => fw.zeros([2, 0], on).maxWithIndices(1));
      expectError('SHAPE', /median: x must be with elements/, () => fw.zeros([0], on).median());
    });

    it('log-sums, variances and norms at their edges', () => {
      const x = t([
        [-Infinity, -Infinity],
        [0, Infinity],
        [1000, 1000],
      ]);
      x.requiresGrad = true;
      const y = x.logsumexp(1);
      expectList(y.slice(0, 0, 2), [-Infinity, Infinity]);
      expect(y.slice(0, 2).item()).to.be.closeTo(1000 + Math.log(2), 1e-3);
      y.slice(0, 0, 1).sum().backward();
      expectList(x.grad!.slice(0, 0, 1), [[0, 0]]);
      expectList(t([3]).var(), NaN);
      expectList(t([3, 5]).var(0, { correction: 2 }), Infinity);
      expectList(t([3, 5]).var(0, { correction: 0 }), 1);
      expectList(
        t([
          [3, 5],
          [1, 1],
        ]).std(1, { correction: 0, keepdim: true }),
        [[1], [0]],
      );
      const zero = fw.zeros([2, 3], { requiresGrad: true, ...on });
      for (const p of [2, 1, 3, 0.5, Infinity, -Infinity]) zero.norm(p, 1).sum().backward();
      zero.std(1).sum().backward();
      expectList(zero.grad!, [
        [0, 0, 0],
        [0, 0, 0],
      ]);
      const v = t([3, 0, -4]);
      expectList(v.norm(), 5);
      expectList(v.norm(0), 2);
      expectList(v.norm(1), 7);
      expectList(v.norm(Infinity), 4);
      expectList(v.norm(-Infinity), 0);
      expect(t([3, -4], 'bfloat16').norm().dtype).to.equal('bfloat16');
      expectError('INVALID_ARGUMENT', /norm: p must be a number/, () => v.norm('fro' as never));
      expectError('INVALID_ARGUMENT', /did you mean keepdim/, () => v.var(0, { keepDim: true } as never));
      expectError('INVALID_ARGUMENT', /options must be an object/, () => v.var(0, true as never));
    });

    it('makes unit matrices, distances, and tensors like others', () => {
      expectList(fw.eye(2, 3, on), [
        [1, 0, 0],
        [0, 1, 0],
      ]);
      expect(fw.eye(2, { dtype: 'bool', ...on }).dtype).to.equal('bool');
      expectList(fw.linspace(-1, 1, 5, on), [-1, -0.5, 0, 0.5, 1]);
      expectList(fw.linspace(3, 7, 1, on), [3]);
      expect(fw.linspace(0, 0.7, 8, on).dataSync()[7]).to.equal(Math.fround(0.7));
      const x = whole([[1, 2]]);
      expect([fw.zerosLike(x).dtype, fw.zerosLike(x).device, fw.onesLike(x, { dtype: 'float32' }).dtype]).to.deep.equal(
        ['int32', device, 'float32'],
      );
      expectList(fw.fullLike(x, 7), [[7, 7]]);
      expectError('DTYPE', /randLike: dtype|rand: dtype/, () => fw.randLike(x));
      expect(fw.randnLike(x, { dtype: 'float32' }).shape).to.deep.equal([1, 2]);
    });

    it('draws whole numbers, orders and categories, the same on every device', () => {
      const draws = (where: { device: fw.Device }): unknown[] => {
        fw.manualSeed(7);
        const p = fw.tensor(
          [
            [0.1, 0, 3, 2],
            [5, 1, 1, 0],
          ],
          where,
        );
        return [
          fw.randint(6, [9], where),
          fw.randint(-3, 3, [2, 3], { dtype: 'float32', ...where }),
          fw.randperm(20, where),
          p.multinomial(2),
          fw.multinomial(p, 30, { replacement: true }),
          fw.full([20], 0.3, where).bernoulli(),
        ].map((y) => y.tolist());
      };
      expect(draws(on)).to.deep.equal(draws({ device: 'js' }));
      fw.manualSeed(1);
      const dice = fw.randint(1, 7, [1200], on);
      expect([dice.dtype, dice.min().item(), dice.max().item()]).to.deep.equal(['int32', 1, 6]);
      for (let side = 1; side <= 6; side++) expect(dice.eq(side).sum().item()).to.be.within(135, 265);
      const order = [...fw.randperm(1000, on).dataSync()];
      expect(order).not.to.deep.equal([...order].sort((a, b) => a - b));
      expect(order.sort((a, b) => a - b)).to.deep.equal([...order.keys()]);
      expectList(fw.randperm(0, on), []);
      const drawn = t([1, 0, 3]).multinomial(2000, { replacement: true });
      expect([drawn.dtype, drawn.eq(1).any().item()]).to.deep.equal(['int32', 0]);
      expect(drawn.eq(2).sum().item()).to.be.within(1400, 1600);
      const firsts = fw
        .ones([600, 1], on)
        .mul(t([1, 0, 3]))
        .multinomial(2);
      expect(firsts.eq(1).any().item()).to.equal(0);
      expect(firsts.select(1, 0).eq(2).sum().item()).to.be.within(395, 505);
      const coins = fw.full([2000], 0.25, on).bernoulli();
      expect([coins.dtype, coins.max().item()]).to.deep.equal(['float32', 1]);
      expect(coins.sum().item()).to.be.within(400, 600);
      expectList(t([0, 1, 1, 0]).bernoulli(), [0, 1, 1, 0]);
      for (const impossible of [
        () => t([-1, 1]).multinomial(1),
        () => t([NaN, 1]).multinomial(1),
        () => t([0, 0]).multinomial(1),
        () => t([1, 0, 0]).multinomial(2),
        () => t([2]).bernoulli(),
        () => t([NaN]).bernoulli(),
      ]) {
        if (on.device === 'js' || on.device === 'cpu') expectError('INVALID_ARGUMENT', /x must be/, impossible);
      }
      expectError('INVALID_ARGUMENT', /multinomial: numSamples must be a whole number from 1 to 3/, () =>
        t([1, 2, 3]).multinomial(4),
      );
      expectError('INVALID_ARGUMENT', /randint: high must be a whole number from 4/, () => fw.randint(3, 3, [1], on));
      fw.withChecks(true, () => {
        expectError('INVALID_ARGUMENT', /from 0 to 1, got 1.5/, () => t([1.5]).bernoulli());
        expectError('INVALID_ARGUMENT', /finite and not negative/, () => t([1, -1]).multinomial(1));
        expectError('INVALID_ARGUMENT', /at least 2 weights above 0/, () => t([1, 0]).multinomial(2));
      });
    });

    it('shapes: flatten, unflatten, squeeze, movedim, chunk, tensorSplit, unbind, meshgrid', () => {
      const x = seq(2, 3, 4);
      expect(x.flatten(1).shape).to.deep.equal([2, 12]);
      expect(x.flatten(0, 1).shape).to.deep.equal([6, 4]);
      expect(t(3).flatten().shape).to.deep.equal([1]);
      expect(x.unflatten(-1, [-1, 2]).shape).to.deep.equal([2, 3, 2, 2]);
      expectError('SHAPE', /unflatten: sizes must be of 4 elements/, () => x.unflatten(2, [3, -1]));
      expectError('INVALID_ARGUMENT', /flatten: startDim/, () => x.flatten(2, 1));
      expect(fw.zeros([1, 3, 1], on).squeeze().shape).to.deep.equal([3]);
      expect(fw.zeros([1, 3, 1], on).squeeze([0, 1]).shape).to.deep.equal([3, 1]);
      expect(x.movedim(0, -1).shape).to.deep.equal([3, 4, 2]);
      expect(x.movedim([0, 1], [1, 0]).shape).to.deep.equal([3, 2, 4]);
      expectError('INVALID_ARGUMENT', /each dimension once/, () => x.movedim([0, 0], [1, 2]));
      expectError('SHAPE', /t: x must be of at most two/, () => x.t());
      expect(
        fw
          .arange(5, undefined, 1, on)
          .chunk(3)
          .map((p) => p.tolist()),
      ).to.deep.equal([[0, 1], [2, 3], [4]]);
      expect(
        fw
          .arange(6, undefined, 1, on)
          .chunk(4)
          .map((p) => p.size),
      ).to.deep.equal([2, 2, 2]);
      expect(
        fw
          .zeros([0, 2], on)
          .chunk(3)
          .map((p) => p.shape),
      ).to.deep.equal([
        [0, 2],
        [0, 2],
        [0, 2],
      ]);
      expect(
        fw
          .arange(7, undefined, 1, on)
          .tensorSplit(3)
          .map((p) => p.tolist()),
      ).to.deep.equal([
        [0, 1, 2],
        [3, 4],
        [5, 6],
      ]);
      expect(
        fw
          .arange(7, undefined, 1, on)
          .tensorSplit([1, 6, 4])
          .map((p) => p.tolist()),
      ).to.deep.equal([[0], [1, 2, 3, 4, 5], [], [4, 5, 6]]);
      const more = fw.arange(3, undefined, 1, on).tensorSplit(5);
      expect(more.map((p) => p.size)).to.deep.equal([1, 1, 1, 0, 0]);
      // The memory would end before 1e8 pieces.
      expectError('INVALID_ARGUMENT', /from 1 to 65536/, () => fw.zeros([40], on).tensorSplit(1e8));
      expectError('INVALID_ARGUMENT', /from 1 to 65536/, () => fw.zeros([0], on).chunk(1e8));
      expect(
        seq(2, 3)
          .unbind(1)
          .map((p) => p.tolist()),
      ).to.deep.equal([
        [0, 3],
        [1, 4],
        [2, 5],
      ]);
      const [a, b] = fw.meshgrid([whole([1, 2]), whole([3, 4, 5])]);
      expectList(a, [
        [1, 1, 1],
        [2, 2, 2],
      ]);
      expectList(b, [
        [3, 4, 5],
        [3, 4, 5],
      ]);
      expect(fw.meshgrid([whole([1, 2]), whole([3, 4, 5])], 'xy')[0].shape).to.deep.equal([3, 2]);
      expect(x.numel()).to.equal(24);
    });

    it('copies: repeat, tile, repeatInterleave, flip, roll', () => {
      const x = whole([
        [1, 2],
        [3, 4],
      ]);
      expectList(x.repeat(1, 2), [
        [1, 2, 1, 2],
        [3, 4, 3, 4],
      ]);
      expect(x.repeat(4, 2, 1).shape).to.deep.equal([4, 4, 2]);
      expect(x.repeat([0, 1]).shape).to.deep.equal([0, 2]);
      expectError('INVALID_ARGUMENT', /repeat: repeats must be at least 2/, () => x.repeat(2));
      expectList(x.tile(2), [
        [1, 2, 1, 2],
        [3, 4, 3, 4],
      ]);
      expectList(x.repeatInterleave(2), [1, 1, 2, 2, 3, 3, 4, 4]);
      expectList(x.repeatInterleave(whole([1, 2]), 0), [
        [1, 2],
        [3, 4],
        [3, 4],
      ]);
      expectError('SHAPE', /repeats must be \[2\] or \[1\]/, () => x.repeatInterleave(whole([1, 2, 3]), 0));
      expectError('INVALID_ARGUMENT', /repeats\[1\]/, () => x.repeatInterleave(whole([1, -2]), 0));
      expectList(x.flip(0), [
        [3, 4],
        [1, 2],
      ]);
      expectList(t([[true, false]]).flip([0, 1]), [[0, 1]]);
      expectList(whole([1, 2, 3, 4]).roll(1), [4, 1, 2, 3]);
      expectList(x.roll(1), [
        [4, 1],
        [2, 3],
      ]);
      expectList(
        whole([
          [1, 2, 3],
          [4, 5, 6],
        ]).roll([1, -1], [0, 1]),
        [
          [5, 6, 4],
          [2, 3, 1],
        ],
      );
      const y = x.repeat(1, 1);
      fw.noGrad(() => y.fill_(0));
      expectList(x, [
        [1, 2],
        [3, 4],
      ]);
    });

    it('pad in every mode, and windows', () => {
      const x = whole([[1, 2, 3]]);
      expectList(x.pad([1, 2]), [[0, 1, 2, 3, 0, 0]]);
      expectList(x.pad([-1, 1], 'constant', 9), [[2, 3, 9]]);
      expectList(x.pad([0, 0, 1, 0], 'constant', 9), [
        [9, 9, 9],
        [1, 2, 3],
      ]);
      expectList(x.pad([2, 1], 'reflect'), [[3, 2, 1, 2, 3, 2]]);
      expectList(x.pad([2, 1], 'replicate'), [[1, 1, 1, 2, 3, 3]]);
      expectList(x.pad([2, 1], 'circular'), [[2, 3, 1, 2, 3, 1]]);
      expectList(t([[true]]).pad([1, 0]), [[0, 1]]);
      expectError('INVALID_ARGUMENT', /pad: padding must be below the size/, () => x.pad([3, 0], 'reflect'));
      expectError('INVALID_ARGUMENT', /pad: padding must be at most the size/, () => x.pad([4, 0], 'circular'));
      expectError('INVALID_ARGUMENT', /pad: padding must be sizes that leave/, () => x.pad([-2, -2]));
      expectError('INVALID_ARGUMENT', /pad: padding must be an even number/, () => x.pad([1]));
      expectError('INVALID_ARGUMENT', /pad: mode must be 'constant' \| 'reflect'/, () =>
        x.pad([1, 1], 'edge' as never),
      );
      expectList(whole([1, 2, 3, 4, 5]).unfold(0, 3, 2), [
        [1, 2, 3],
        [3, 4, 5],
      ]);
      expect(seq(2, 5, 3).unfold(1, 2, 1).shape).to.deep.equal([2, 4, 3, 2]);
      expectError('INVALID_ARGUMENT', /unfold: size must be a whole number from 0 to 3/, () => x.unfold(1, 4, 1));
      const windows = seq(5).unfold(0, 3, 1);
      expectError('SHAPE', /add_: x must be without elements at two places/, () => fw.noGrad(() => windows.add_(1)));
    });

    it('triangles and diagonals', () => {
      const x = seq(3, 4);
      expectList(x.tril(), [
        [0, 0, 0, 0],
        [4, 5, 0, 0],
        [8, 9, 10, 0],
      ]);
      expectList(x.triu(2), [
        [0, 0, 2, 3],
        [0, 0, 0, 7],
        [0, 0, 0, 0],
      ]);
      expectList(fw.full([2, 2], NaN, on).tril(-1).slice(0, 0, 1), [[0, 0]]);
      expect(
        t([
          [true, true],
          [true, true],
        ]).triu(1).dtype,
      ).to.equal('bool');
      expectList(
        t([
          [true, true],
          [true, true],
        ]).triu(1),
        [
          [0, 1],
          [0, 0],
        ],
      );
      expectList(x.diag(1), [1, 6, 11]);
      expectList(x.diagonal(-1), [4, 9]);
      expectList(whole([1, 2]).diag(-1), [
        [0, 0, 0],
        [1, 0, 0],
        [0, 2, 0],
      ]);
      expectList(seq(2, 2, 2).diagonal(0, 1, 2), [
        [0, 3],
        [4, 7],
      ]);
      expect(x.diagonal(9).shape).to.deep.equal([0]);
      expectError('SHAPE', /tril: x must be of at least two dimensions/, () => t([1]).tril());
    });

    it('einsum: sums, orders, diagonals, dots, whole numbers', () => {
      const [a, b] = [seq(2, 3), seq(3, 2).add(1)];
      expectList(fw.einsum('ij,jk->ik', a, b), a.matmul(b).tolist());
      expectList(fw.einsum('ij, jk', a, b), a.matmul(b).tolist());
      expectList(fw.einsum('ba', a), a.t().tolist());
      expectList(fw.einsum('ij->', a), 15);
      expectList(fw.einsum('ij->j', a), [3, 5, 7]);
      expectList(fw.einsum('ii', a.matmul(b)), a.matmul(b).diag().sum().tolist());
      expectList(fw.einsum('ii->i', a.matmul(b)), a.matmul(b).diag().tolist());
      expectList(fw.einsum('i,j->ji', t([1, 2]), t([3, 4, 5])), [
        [3, 6],
        [4, 8],
        [5, 10],
      ]);
      expectList(fw.einsum(',i->i', t(2), t([3, 4])), [6, 8]);
      expectList(fw.einsum('...i->...', seq(2, 2, 2)), [
        [1, 5],
        [9, 13],
      ]);
      expectList(fw.einsum('...i->i', seq(2, 2, 2)), [12, 16]);
      expect(fw.einsum('b...i,...ij->b...j', fw.ones([2, 5, 3], on), fw.ones([1, 3, 4], on)).shape).to.deep.equal([
        2, 5, 4,
      ]);
      expectList(
        fw.einsum(
          'ij,jk->ik',
          whole([
            [1, 2],
            [3, 4],
          ]),
          whole([
            [5, 6],
            [7, 8],
          ]),
        ),
        [
          [19, 22],
          [43, 50],
        ],
      );
      expectList(fw.einsum('i,i', whole([MOST, 1]), whole([2, 5])), 3);
    });

    it('einsum says what is wrong', () => {
      const x = seq(2, 3);
      const wrong: [RegExp, 'INVALID_ARGUMENT' | 'SHAPE', () => unknown][] = [
        [/equation must be a string/, 'INVALID_ARGUMENT', () => fw.einsum(x as never, x)],
        [/operands must be 2, one a term, got 1/, 'INVALID_ARGUMENT', () => fw.einsum('ij,jk->ik', x)],
        [/made of letters/, 'INVALID_ARGUMENT', () => fw.einsum('i1->i', x)],
        [/made of letters/, 'INVALID_ARGUMENT', () => fw.einsum('i..j', x)],
        [/a single '->'/, 'INVALID_ARGUMENT', () => fw.einsum('ij->i->j', x)],
        [/at most one '...'/, 'INVALID_ARGUMENT', () => fw.einsum('...i...', x)],
        [/names each dimension once/, 'INVALID_ARGUMENT', () => fw.einsum('ij->ii', x)],
        [/names dimensions of operands/, 'INVALID_ARGUMENT', () => fw.einsum('ij->k', x)],
        [/operands\[0\] must be of 1 dimensions/, 'SHAPE', () => fw.einsum('i->i', x)],
        [/operands\[0\] must be of 3 dimensions/, 'SHAPE', () => fw.einsum('ijk->i', x)],
        [/operands\[1\] must be 3 at 'j'/, 'SHAPE', () => fw.einsum('ij,jk->ik', x, x)],
        [/operands\[0\] must be 2 at 'i'/, 'SHAPE', () => fw.einsum('ii', x)],
      ];
      for (const [pattern, code, call] of wrong) expectError(code, pattern, call);
      expectError('DTYPE', /operands\[1\]/, () => fw.einsum('ij,ij', x, whole([[1]])));
    });

    it('products by the shapes of their operands', () => {
      const m = seq(2, 2);
      expectList(m.mm(m), [
        [2, 3],
        [6, 11],
      ]);
      expectList(m.mv(t([1, 2])), [2, 8]);
      expectList(t([1, 2]).dot(t([3, 4])), 11);
      expectList(whole([1, 2]).outer(whole([3, 4])), [
        [3, 4],
        [6, 8],
      ]);
      expectError('SHAPE', /mm: b must be of 2 dimensions/, () => m.mm(t([1, 2])));
      expectError('SHAPE', /bmm: b must be of 2 matrices/, () => seq(2, 1, 1).bmm(seq(3, 1, 1)));
    });

    it('in place: sub_, div_, zero_, maskedFill_, of views and broadcast', () => {
      const x = seq(2, 3);
      fw.noGrad(() => {
        expect(x.sub_(t([1, 1, 1]))).to.equal(x);
        x.slice(1, 0, 1).div_(0.5);
        x.t().maskedFill_(x.t().eq(4), -1);
      });
      expectList(x, [
        [-2, 0, 1],
        [-1, 3, -1],
      ]);
      fw.noGrad(() => x.slice(0, 1).zero_());
      expectList(x, [
        [-2, 0, 1],
        [0, 0, 0],
      ]);
      expectError('DTYPE', /div_: x must be a floating-point tensor/, () => fw.noGrad(() => whole([4]).div_(2)));
      expectError('GRAPH', /zero_|fill_/, () => x.zero_());
      const mask = t([true, false]);
      fw.noGrad(() => mask.fill_(true));
      expectList(mask, [1, 1]);
    });

    it('functions beside the methods', () => {
      const x = t([
        [3, 1],
        [2, 4],
      ]);
      expectList(fw.max(x, 0), [3, 4]);
      expectList(fw.var(x, 1), [2, 2]);
      expectList(fw.sum(x.gt(1)), 3);
      expectList(fw.sort(x).values, [
        [1, 3],
        [2, 4],
      ]);
      expectList(fw.flip(x, [1]), [
        [1, 3],
        [4, 2],
      ]);
    });
  });
}
