// Operators on native devices against the same operators on `js` in float64, at odd sizes: values and gradients. In
// bfloat16 the reference starts from the rounded inputs, and sizes are fewer.
import * as fw from '../../lib';
import { type Target, targets } from '../support/golden';
import { Draw, type HostTensor, rounded } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

type Build = (...inputs: fw.Tensor[]) => fw.Tensor;
type Case = [name: string, build: Build, ...inputs: { shape: number[]; low?: number; high?: number }[]];

const of = (shape: number[], low = -2, high = 2): { shape: number[]; low: number; high: number } => ({
  shape,
  low,
  high,
});

const UNARY = [
  'exp',
  'tanh',
  'sigmoid',
  'logSigmoid',
  'silu',
  'gelu',
  'softplus',
  'relu',
  'square',
  'abs',
  'sin',
  'cos',
  'neg',
  'expm1',
  'erf',
] as const;
const POSITIVE = ['log', 'sqrt', 'rsqrt', 'reciprocal', 'log1p'] as const;
const SIZES = [1, 15, 16, 17, 33, 1000, 40000];

/** Positions below `limit`, each many times. */
function repeats(device: fw.Device, n: number, limit: number): fw.Tensor {
  const values = Int32Array.from({ length: n }, (_, i) => (i * i + 3 * i) % limit);
  return fw.tensor(values, { dtype: 'int32', device });
}

const CASES: Case[] = [
  ...UNARY.flatMap((op) => SIZES.map((n): Case => [`${op} of ${n}`, (x) => x[op](), of([n], -3, 3)])),
  ...POSITIVE.flatMap((op) => [17, 1000].map((n): Case => [`${op} of ${n}`, (x) => x[op](), of([n], 0.05, 9)])),
  ['elu1', (x) => fw.elu1(x), of([333])],
  ['pow 1.7', (x) => x.pow(1.7), of([333], 0.1, 3)],
  ['clamp', (x) => x.clamp(-1, 1), of([333])],
  ['add with broadcasting', (a, b) => a.add(b), of([3, 7, 33]), of([7, 1])],
  ['mul of a transpose', (a, b) => a.transpose(0, 2).mul(b), of([5, 3, 17]), of([17, 3, 5])],
  ['div', (a, b) => a.div(b), of([4, 33]), of([33], 0.5, 2)],
  ['maximum', (a, b) => a.maximum(b), of([100]), of([100])],
  ['sum of rows', (x) => x.sum(-1), of([7, 1001])],
  ['sum of columns', (x) => x.sum(0), of([1001, 7])],
  ['sum of the middle', (x) => x.sum(1), of([3, 130, 5])],
  ['mean of all', (x) => x.mean(), of([100, 1000])],
  ['max', (x) => x.max(-1), of([9, 77])],
  ['cumsum', (x) => x.cumsum(1), of([3, 130, 5])],
  ['cumprod of rows', (x) => x.cumprod(-1), of([7, 70], -1.2, 1.2)],
  ['cumprod of columns', (x) => x.cumprod(0), of([40, 9], -1.2, 1.2)],
  ['logcumsumexp of rows', (x) => x.logcumsumexp(-1), of([5, 300], -30, 30)],
  ['logcumsumexp of the middle', (x) => x.logcumsumexp(1), of([3, 130, 5], -3, 3)],
  ['linearScan of rows', (x, f) => fw.linearScan(x, f, -1), of([3, 333]), of([3, 333], 0, 1)],
  ['linearScan of many columns', (x, f) => fw.linearScan(x, f, 1), of([2, 9, 37]), of([2, 9, 37], -1, 1)],
  ['linearScan of the middle', (x, f) => fw.linearScan(x, f, 1), of([3, 130, 5]), of([3, 130, 5], -1, 1)],
  ['atan2', (a, b) => a.atan2(b), of([4, 33]), of([33])],
  ['where', (a, b) => fw.where(a.gt(b), a.mul(2), b), of([5, 33]), of([33])],
  ['maskedFill', (a) => a.maskedFill(a.lt(0), 0.5), of([5, 33])],
  ['gather', (x) => x.gather(1, x.argsort({ dim: 1 }).slice(1, 0, 9)), of([7, 33, 3])],
  ['scatterAdd', (x, s) => x.scatterAdd(0, s.argsort({ dim: 0 }).remainder(4), s), of([4, 33]), of([40, 33])],
  ['indexSelect of rows', (x) => x.indexSelect(0, repeats(x.device, 100, 9)), of([9, 33])],
  ['indexSelect of columns', (x) => x.transpose(0, 1).indexSelect(1, repeats(x.device, 5000, 9)), of([9, 3])],
  ['sort', (x) => x.sort({ descending: true }).values, of([5, 100])],
  ['sort of columns', (x) => x.sort({ dim: 0 }).values, of([1000, 3])],
  ['topk', (x) => x.topk(7).values, of([5, 100])],
  ['prod of rows', (x) => x.prod(-1), of([7, 33], 0.5, 1.5)],
  ['prod of columns with zeros', (x) => x.mul(x.gt(-1.2).to(x.dtype)).prod(0), of([5, 33])],
  ['logsumexp', (x) => x.logsumexp([0, 2]), of([5, 33, 7], -30, 30)],
  ['maxWithIndices', (x) => x.maxWithIndices(1).values, of([9, 77])],
  ['median', (x) => x.median(0), of([8, 77])],
  ['var', (x) => x.var([0, 2]), of([5, 7, 33])],
  ['std of a transpose', (x) => x.transpose(0, 1).std(-1, { correction: 0 }), of([33, 7])],
  ['norm', (x) => x.norm(2, 0), of([33, 7])],
  ['norm, p = 3', (x) => x.norm(3, -1), of([7, 33])],
  ['repeat', (x) => x.repeat(3, 1, 2), of([7, 5])],
  ['repeatInterleave', (x) => x.repeatInterleave(3, 0), of([7, 5])],
  ['flip and roll', (x) => x.flip(0).roll(3, 1), of([7, 33])],
  ['pad', (x) => x.pad([3, -1, 0, 2], 'constant', 0.5), of([3, 7, 9])],
  ['pad by reflection', (x) => x.pad([3, 2, 4, 1], 'reflect'), of([3, 7, 9])],
  ['unfold', (x) => x.unfold(1, 5, 2), of([3, 33, 4])],
  ['tril of a transpose', (x) => x.transpose(1, 2).tril(1), of([3, 7, 9])],
  ['diagonal', (x) => x.diagonal(-1, 0, 2), of([5, 3, 7])],
  ['einsum', (a, b) => fw.einsum('bthd,bshd->bhts', a, b), of([2, 19, 3, 8]), of([2, 21, 3, 8])],
  ['einsum of three', (a, b, c) => fw.einsum('ij,ijk,kl->jl', a, b, c), of([5, 9]), of([5, 9, 7]), of([7, 3])],
  ['softmax', (x) => x.softmax(), of([5, 77], -20, 20)],
  ['logSoftmax of one column', (x) => x.logSoftmax(), of([5, 1])],
  ['copy of a transpose', (x) => x.permute(2, 0, 1).contiguous(), of([33, 18, 47])],
  ['copy of strided slices', (x) => x.slice(2, 3, 20).slice(0, 1, 4).contiguous(), of([5, 7, 23])],
  ['layerNorm', (x, w, b) => fw.layerNorm(x, w, b), of([6, 130]), of([130]), of([130])],
  ['rmsNorm', (x, w) => fw.rmsNorm(x, w), of([300, 33]), of([33])],
  ['l2Norm', (x) => fw.l2Norm(x), of([9, 5])],
  ['groupNorm', (x, w, b) => fw.groupNorm(x, 4, w, b), of([9, 28]), of([28]), of([28])],
  // Whole packs of 16 bytes, for teams of each size, also with a rest; more rows than a block walks through.
  ...[
    [300, 64],
    [40, 136],
    [70, 1000],
    [35, 2048],
    [3, 4104],
  ].flatMap(([rows, n]): Case[] => [
    [`rmsNorm ${rows} x ${n}`, (x, w) => fw.rmsNorm(x, w), of([rows, n]), of([n])],
    [`layerNorm ${rows} x ${n}`, (x, w, b) => fw.layerNorm(x, w, b), of([rows, n]), of([n]), of([n])],
    [`l2Norm ${rows} x ${n}`, (x) => fw.l2Norm(x), of([rows, n])],
  ]),
  ['groupNorm of whole packs', (x, w, b) => fw.groupNorm(x, 3, w, b), of([270, 192]), of([192]), of([192])],
  ['norm of a sum', (x, w) => fw.rmsNorm(x, w).add(fw.l2Norm(x)), of([70, 256]), of([256])],
  // Classes that lie in whole packs and that do not, few and many.
  ...[77, 80, 1100, 3000].map((classes): Case => [
    `crossEntropy of ${classes} classes`,
    (x) => fw.crossEntropy(x, repeats(x.device, 9, classes), { labelSmoothing: 0.1, zLoss: 0.01 }).to(x.dtype),
    of([9, classes], -9, 9),
  ]),
  ...[
    [1, 1, 1],
    [1, 64, 64],
    [5, 3, 7],
    [17, 31, 33],
    [64, 64, 64],
    [65, 130, 127],
    [200, 48, 300],
    [3, 500, 2],
    [130, 1, 257],
    [211, 77, 1100],
    [13, 301, 70], // few rows of a beside rows of b that lie far apart
  ].flatMap(([m, n, k]): Case[] => [
    [`matmul ${m} x ${n} x ${k}`, (a, b) => a.matmul(b), of([m, k]), of([k, n])],
    [
      `matmul with transposes ${m} x ${n} x ${k}`,
      (a, b) => a.transpose(0, 1).matmul(b.transpose(0, 1)),
      of([k, m]),
      of([n, k]),
    ],
  ]),
  // Over many terms: slices that end with and within a depth, panels that are parts, operands with gaps.
  ...[
    [97, 16, 512],
    [131, 80, 1300],
    [210, 48, 2090],
  ].flatMap(([m, n, k]): Case[] => [
    [`matmul over many terms ${m} x ${n} x ${k}`, (a, b) => a.transpose(0, 1).matmul(b), of([k, m]), of([k, n])],
    [
      `matmul over many terms with gaps ${m} x ${n} x ${k}`,
      (a, b) =>
        a
          .slice(1, 2, m + 2)
          .transpose(0, 1)
          .matmul(b.slice(1, 16, n + 16)),
      of([k, m + 3]),
      of([k, n + 19]),
    ],
  ]),
  [
    'gradients of many rows that add up',
    (x, y, w) => fw.linear(x, w).add(fw.linear(y, w).mul(0.5)),
    of([700, 32]),
    of([700, 32]),
    of([110, 32]),
  ],
  ['batched matmul of whole tiles', (a, b) => a.matmul(b.transpose(1, 2)), of([5, 64, 48]), of([5, 32, 48])],
  [
    'batched matmul over heads',
    (a, b) => a.permute(0, 2, 1, 3).matmul(b.permute(0, 2, 3, 1)),
    of([2, 19, 3, 8]),
    of([2, 21, 3, 8]),
  ],
  [
    'shortConvolution',
    (x, w, b) => fw.shortConvolution(x, w, { bias: b, activation: 'silu' }).output,
    of([3, 37, 21]),
    of([21, 4]),
    of([21]),
  ],
  ['shortConvolution, width 7', (x, w) => fw.shortConvolution(x, w).output, of([2, 5, 16]), of([16, 7])],
  // Few rows and many; more columns, depth and hidden units than are taken at once.
  ...[
    [1, 5, 7],
    [9, 130, 66],
    [97, 100, 33],
    [130, 33, 1100],
    [101, 1100, 40],
    [250, 3, 20],
  ].flatMap(([rows, n, k]): Case[] => [
    [`linear ${rows} x ${n} x ${k}`, (x, w) => fw.linear(x, w), of([rows, k]), of([n, k])],
    [
      `linear with all that may follow ${rows} x ${n} x ${k}`,
      (x, w, b, r) => fw.linear(x, w, b, { activation: 'silu', residual: r }),
      of([rows, k], -0.5, 0.5),
      of([n, k], -0.5, 0.5),
      of([n]),
      of([rows, n]),
    ],
    [
      `feedForward ${rows} x ${k}, hidden ${n}`,
      (x, gate, up, down, r) => fw.feedForward(x, { gate, up, down }, r),
      of([rows, k]),
      of([n, k], -0.2, 0.2),
      of([n, k], -0.2, 0.2),
      of([k, n], -0.2, 0.2),
      of([rows, k]),
    ],
  ]),
  [
    'feedForward of a frozen x',
    (gate, up, down) =>
      fw.feedForward(fw.full([100, 9], 0.3125, { device: gate.device, dtype: gate.dtype }), { gate, up, down }),
    of([20, 9]),
    of([20, 9]),
    of([9, 20]),
  ],
  ['swiglu', (x, y) => fw.swiglu(x, y), of([7, 33]), of([7, 33])],
  ['rope', (x) => fw.rope(x, { dims: 6 }), of([2, 40, 3, 10])],
  ['rope far from the start', (x) => fw.rope(x, { offset: 5000 }), of([1, 9, 2, 8])],
  ['maximum with a number', (x) => x.maximum(0.3), of([333])],
  ['a number over', (x) => x.reciprocal().add(x.neg().add(0.7)), of([333], 0.5, 3)],
  [
    'softmaxAttention',
    (q, k, v) => fw.softmaxAttention(q, k, v),
    of([2, 70, 4, 12]),
    of([2, 70, 2, 12]),
    of([2, 70, 2, 9]),
  ],
  [
    'softmaxAttention with a window and past keys',
    (q, k, v) => fw.softmaxAttention(q, k, v, { window: 9 }),
    of([1, 20, 2, 8]),
    of([1, 50, 2, 8]),
    of([1, 50, 2, 8]),
  ],
];

/** Sizes of elementwise operators and products that bfloat16 leaves out. */
const REPEATED = [
  / of (1|15|16|17|1000|40000)$/,
  / (1 x 1 x 1|1 x 64 x 64|17 x 31 x 33|64 x 64 x 64|200 x 48 x 300|3 x 500 x 2|130 x 1 x 257)$/,
  / (1 x 5 x 7|101 x 1100 x 40|250 x 3 x 20|1 x 7, hidden 5|101 x 40, hidden 1100|250 x 20, hidden 3)$/,
];

function run(build: Build, inputs: HostTensor[], where: Target) {
  return fw.scope(() => {
    const leaves = inputs.map(({ shape, data }) => fw.tensor(data, { shape, ...where, requiresGrad: true }));
    const y = build(...leaves);
    const { cotangent } = rounded({ cotangent: new Draw(5).uniform([...y.shape], -1, 1) });
    y.mul(fw.tensor(cotangent.data, { shape: y.shape, ...where }))
      .sum()
      .backward();
    const gradients = leaves.map((t) => t.grad!.dataSync());
    leaves.forEach((t) => t.grad!.dispose());
    return { y: y.dataSync(), gradients };
  });
}

/** Far from 0 a derivative may cancel in float32, but values stay right and finite. */
const STABLE = ['sigmoid', 'logSigmoid', 'silu', 'softplus', 'tanh', 'gelu'] as const;

for (const where of targets({ bfloat16: true }).filter((t) => t.dtype !== 'float64')) {
  const narrow = where.dtype === 'bfloat16';
  describe(`operators on ${where.device}, ${where.dtype}`, () => {
    it('saturating functions are right and finite far from 0', () => {
      const x = [-100, -50, -20, -9, 9, 20, 50, 100];
      for (const op of STABLE) {
        const value = (device: fw.Device, dtype: fw.DType) => fw.tensor(x, { device, dtype })[op]().dataSync();
        const [actual, reference] = [value(where.device, where.dtype), value('js', 'float64')];
        const { forward } = toleranceOf(where.dtype);
        x.forEach((_, i) => expectClose(`${op}(${x[i]})`, [actual[i]], [reference[i]], forward, 1e-30));
      }
    });

    for (const [name, build, ...specs] of CASES) {
      if (narrow && REPEATED.some((pattern) => pattern.test(name))) continue;
      it(name, () => {
        const draw = new Draw(3);
        const drawn = specs.map((s) => draw.uniform(s.shape, s.low!, s.high!));
        const inputs = narrow ? drawn.map((input) => rounded({ input }).input) : drawn;
        const reference = run(build, inputs, { device: 'js', dtype: 'float64' });
        const actual = run(build, inputs, where);
        const tolerance = toleranceOf(where.dtype);
        expectClose('value', actual.y, reference.y, tolerance.forward);
        const floor = 1e-3 * Math.max(...reference.gradients.map(rms));
        reference.gradients.forEach((g, i) =>
          expectClose(`gradient ${i}`, actual.gradients[i], g, tolerance.gradient, floor),
        );
      });
    }
  });
}
