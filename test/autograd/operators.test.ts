// Every differentiable operator against central differences, in float64.
import { expect } from 'chai';
import * as fw from '../../lib';
import { sumOfProducts } from '../../lib/ops';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const js = { device: 'js', dtype: 'float64' } as const;
type Build = (...inputs: fw.Tensor[]) => fw.Tensor;

/** A fixed random weighting makes the scalar that gradcheck wants, so that no gradient is uniform by accident. */
function weighted(fn: Build): Build {
  return (...inputs) => {
    const y = fn(...inputs);
    const w = fw.tensor(
      Float64Array.from({ length: y.size }, (_, i) => Math.sin(1 + 1.7 * i)),
      { shape: y.shape, dtype: y.dtype, device: y.device },
    );
    return y.mul(w).sum();
  };
}

function draw(shape: number[], low = -2, high = 2): fw.Tensor {
  return fw.rand(shape, { ...js, low, high });
}

const unary: [string, Build, number?, number?][] = [
  ['exp', (x) => x.exp()],
  ['log', (x) => x.log(), 0.2, 3],
  ['sqrt', (x) => x.sqrt(), 0.2, 3],
  ['rsqrt', (x) => x.rsqrt(), 0.2, 3],
  ['reciprocal', (x) => x.reciprocal(), 0.3, 3],
  ['abs', (x) => x.abs()],
  ['square', (x) => x.square()],
  ['sin', (x) => x.sin()],
  ['cos', (x) => x.cos()],
  ['tanh', (x) => x.tanh()],
  ['sigmoid', (x) => x.sigmoid()],
  ['logSigmoid', (x) => x.logSigmoid()],
  ['silu', (x) => x.silu()],
  ['gelu', (x) => x.gelu()],
  ['gelu, tanh form', (x) => x.gelu('tanh')],
  ['softplus', (x) => x.softplus()],
  ['relu', (x) => x.relu()],
  ['elu1', (x) => fw.elu1(x)],
  ['leakyRelu', (x) => fw.leakyRelu(x, 0.2).square()],
  ['glu', (x) => fw.glu(x)],
  ['normalize', (x) => fw.normalize(x)],
  ['normalize, p = 3', (x) => fw.normalize(x, { p: 3, dim: [0, 2] })],
  ['pow 3', (x) => x.pow(3)],
  ['pow 0.5', (x) => x.pow(0.5), 0.2, 3],
  ['clamp', (x) => x.clamp(-1, 0.7)],
  ['neg', (x) => x.neg()],
  ['add a number', (x) => x.add(2)],
  ['div by a number', (x) => x.div(3)],
  ['softmax', (x) => x.softmax()],
  ['softmax of the first dimension', (x) => x.softmax(0)],
  ['logSoftmax', (x) => x.logSoftmax()],
  ['sum', (x) => x.sum()],
  ['sum of a dimension', (x) => x.sum(1, true)],
  ['sum of two dimensions apart', (x) => x.sum([0, 2])],
  ['mean', (x) => x.mean(-1)],
  ['max', (x) => x.max(2)],
  ['min of all', (x) => x.min()],
  ['cumsum', (x) => x.cumsum(1)],
  ['cumprod', (x) => x.cumprod(1)],
  ['cumprod with a zero', (x) => x.mul(x.gt(-1).to(x.dtype)).cumprod(2)],
  ['logcumsumexp', (x) => x.logcumsumexp(1)],
  ['linearScan', (x) => fw.linearScan(x, x.sin(), 2)],
  ['log1p', (x) => x.log1p(), -0.5, 3],
  ['expm1', (x) => x.expm1()],
  ['erf', (x) => x.erf()],
  ['round, of a gradient of 0', (x) => x.round().mul(x)],
  ['where', (x) => fw.where(x.gt(0), x.mul(3), x.square())],
  ['maskedFill', (x) => x.maskedFill(x.gt(1), 2).square()],
  ['gather', (x) => x.gather(1, x.argsort({ dim: 1 }).slice(1, 0, 1))],
  ['indexSelect', (x) => x.indexSelect(2, fw.tensor([1, 1, 0, 2], { dtype: 'int32', device: x.device }))],
  ['scatterAdd', (x) => x.scatterAdd(0, x.argsort({ dim: 0 }), x.square())],
  ['scatterAdd of a part', (x) => x.scatterAdd(2, x.argsort({ dim: 2 }).slice(1, 0, 1).slice(2, 0, 3), x.square())],
  ['select', (x) => x.select(1, -1)],
  ['index', (x) => x.index(null, -1, [0, 2])],
  ['maskedSelect', (x) => x.maskedSelect(x.gt(0)).square()],
  ['sort', (x) => x.sort({ dim: 0, descending: true }).values.square()],
  ['topk', (x) => x.topk(2, { largest: false }).values.square()],
  ['prod of a dimension', (x) => x.prod(1)],
  [
    'prod of all, with a zero',
    (x) => x.mul(fw.arange(x.size, undefined, 1, { dtype: x.dtype, device: x.device }).reshape(x.shape)).prod(),
  ],
  ['prod with two zeros', (x) => x.mul(fw.tensor([0, 1, 0, 1], { dtype: x.dtype, device: x.device })).prod(-1, true)],
  ['logsumexp', (x) => x.logsumexp([0, 2])],
  ['max of two dimensions apart', (x) => x.max([0, 2], true)],
  ['maxWithIndices', (x) => x.maxWithIndices(1).values.square()],
  ['minWithIndices', (x) => x.minWithIndices(-1, true).values.square()],
  ['median', (x) => x.median(2).square()],
  ['median of all', (x) => x.median().square()],
  ['var', (x) => x.var()],
  ['var of two dimensions', (x) => x.var([0, 1], { correction: 0, keepdim: true })],
  ['std', (x) => x.std(-1)],
  ['norm', (x) => x.norm(2, 1)],
  ['norm of all', (x) => x.norm()],
  ['norm, p = 1', (x) => x.norm(1, [0, 1])],
  ['norm, p = 3', (x) => x.norm(3, -1, true)],
  ['norm, p = 1.5', (x) => x.norm(1.5, 0)],
  ['norm, p = -1', (x) => x.norm(-1, 0), 0.3, 2],
  ['norm, p = Infinity', (x) => x.norm(Infinity, 1)],
  ['norm, p = -Infinity', (x) => x.norm(-Infinity, 1)],
  ['flatten and unflatten', (x) => x.flatten(1).square().unflatten(1, [2, -1])],
  ['squeeze of all', (x) => x.slice(0, 0, 1).squeeze().square()],
  ['movedim', (x) => x.movedim([0, 1], [2, 0]).square()],
  ['repeat', (x) => x.repeat(2, 1, 3, 2)],
  ['tile', (x) => x.tile(2, 1)],
  ['repeatInterleave', (x) => x.repeatInterleave(3, 1)],
  [
    'repeatInterleave, each its own times',
    (x) => x.repeatInterleave(fw.tensor([2, 0, 3, 1], { dtype: 'int32', device: x.device }), 2),
  ],
  ['flip', (x) => x.flip(0, 2)],
  ['roll', (x) => x.roll([1, -2], [0, 2])],
  ['roll of all', (x) => x.roll(5)],
  ['pad', (x) => x.pad([1, 2, -1, 1], 'constant', 3)],
  ['pad by reflection', (x) => x.pad([3, 2, 0, 0, 1, 1], 'reflect')],
  ['pad with the edge', (x) => x.pad([5, 2, 0, 1, 2, 0], 'replicate')],
  ['pad from the other end', (x) => x.pad([3, 4], 'circular')],
  ['unfold, windows that overlap', (x) => x.unfold(2, 3, 1)],
  ['unfold, windows with gaps', (x) => x.unfold(1, 1, 2).square()],
  ['chunk', (x) => fw.cat(x.chunk(3, 2).reverse(), 2)],
  ['tensorSplit', (x) => fw.cat(x.tensorSplit([1, 3], 2).reverse(), 2)],
  ['unbind', (x) => x.unbind(2)[2].mul(x.unbind(2)[0])],
  ['tril', (x) => x.tril(-1)],
  ['triu', (x) => x.triu(1)],
  ['diagonal', (x) => x.diagonal(-1, 2, 1)],
  ['diag of a matrix', (x) => x.select(0, 1).diag(1)],
  ['diag of a vector', (x) => x.flatten().diag(2)],
  ['trace by einsum', (x) => fw.einsum('kij,kij,ijk', x, x.sin(), x.permute(1, 2, 0))],
  ['diagonals by einsum', (x) => fw.einsum('...ii->...i', x.transpose(0, 1).slice(2, 0, 2))],
  ['reshape', (x) => x.reshape(4, -1)],
  ['permute', (x) => x.permute(2, 0, 1)],
  ['slice', (x) => x.slice(2, 1, 3)],
  ['expand', (x) => x.unsqueeze(0).expand(3, -1, -1, -1)],
  ['contiguous of a transpose', (x) => x.transpose(0, 2).contiguous()],
  ['reshape of a transpose', (x) => x.transpose(1, 2).reshape(-1)],
  ['split and cat', (x) => fw.cat(fw.split(x, [1, 3], 2).reverse(), 2)],
  ['stack', (x) => fw.stack([x, x.mul(2)], 1)],
  ['layerNorm', (x) => fw.layerNorm(x)],
  ['rmsNorm', (x) => fw.rmsNorm(x)],
  ['l2Norm', (x) => fw.l2Norm(x)],
  ['rope', (x) => fw.rope(x.unsqueeze(0), { dims: 2, offset: 3 })],
  ['checkpoint', (x) => fw.checkpoint((y) => y.tanh().mul(y), x)],
];

const binary: [string, Build, number[], number[], number?, number?][] = [
  ['add', (a, b) => a.add(b), [2, 3, 2], [3, 1]],
  ['sub', (a, b) => a.sub(b), [3, 1], [2, 3, 2]],
  ['mul', (a, b) => a.mul(b), [2, 3, 2], [2]],
  ['div', (a, b) => a.div(b), [2, 3, 2], [2, 1, 2], 0.5, 2],
  ['pow', (a, b) => a.pow(b), [2, 3], [3], 0.5, 2],
  ['maximum', (a, b) => a.maximum(b), [2, 3], [2, 3]],
  ['minimum', (a, b) => a.minimum(b), [2, 3], [3]],
  ['matmul', (a, b) => a.matmul(b), [3, 2], [2, 4]],
  ['matmul of a batch with a matrix', (a, b) => a.matmul(b), [2, 1, 3], [3, 2]],
  ['matmul of two batches', (a, b) => a.matmul(b), [2, 1, 1, 3], [2, 3, 2]],
  ['matmul of transposes', (a, b) => a.transpose(0, 1).matmul(b.transpose(0, 1)), [2, 3], [4, 2]],
  ['sum of products', (a, b) => sumOfProducts(a, b, a.sin(), b.exp()), [2, 3, 2], [2, 2, 4]],
  ['matmul of vectors', (a, b) => a.matmul(b), [4], [4]],
  ['einsum of a batch', (a, b) => fw.einsum('bhtd,bshd->bhts', a, b), [1, 2, 2, 3], [1, 2, 2, 3]],
  ['einsum with sums on either side', (a, b) => fw.einsum('ijk,jl->l', a, b), [2, 3, 2], [3, 2]],
  ['einsum that broadcasts', (a, b) => fw.einsum('...ij,...jk->ik...', a, b), [2, 1, 1, 3], [2, 3, 2]],
  [
    'einsum of three',
    (a, b) => fw.einsum('ij,jk,ki->k', a, b, a.add(1).t().matmul(b).t().slice(0, 0, 3)),
    [3, 3],
    [3, 3],
  ],
  ['outer', (a, b) => a.outer(b), [3], [4]],
  ['linear', (x, w) => fw.linear(x, w), [2, 1, 3], [4, 3]],
  ['layerNorm with weight', (x, w) => fw.layerNorm(x, w), [2, 1, 4], [4]],
  ['rmsNormGated', (x, z) => fw.rmsNormGated(x, z, null), [1, 4], [1, 4]],
  ['swiglu', (x, y) => fw.swiglu(x, y), [2, 5], [2, 5]],
  ['shortConvolution', (x, w) => fw.shortConvolution(x, w, { activation: 'silu' }).output, [2, 5, 3], [3, 4]],
];

const target = (z: fw.Tensor, ...values: number[]): fw.Tensor =>
  fw.tensor(values, { device: z.device, dtype: 'int32' });

const several: [string, Build, number[][]][] = [
  [
    'linear with an activation, a bias and a residual',
    (x, w, b, r) => fw.linear(x, w, b, { activation: 'silu', residual: r }),
    [[2, 1, 3], [4, 3], [4], [2, 1, 4]],
  ],
  [
    'feedForward',
    (x, gate, up, down) => fw.feedForward(x, { gate, up, down }, x),
    [
      [2, 3],
      [2, 3],
      [2, 3],
      [3, 2],
    ],
  ],
  ['layerNorm with weight and bias', (x, w, b) => fw.layerNorm(x, w, b), [[2, 1, 3], [3], [3]]],
  ['groupNorm', (x, w, b) => fw.groupNorm(x, 2, w, b), [[1, 8], [8], [8]]],
  [
    'rmsNorm with a residual',
    (x, r) => fw.rmsNorm(x, null, { residual: r, eps: 0.1 }),
    [
      [1, 4],
      [1, 4],
    ],
  ],
  ['embedding, with repeated indices', (w) => fw.embedding(w, target(w, 2, 0, 2, 1)), [[4, 3]]],
  ['crossEntropy', (z) => fw.crossEntropy(z, target(z, 1, 0, 3)), [[3, 4]]],
  [
    'crossEntropy with all of its options',
    (z) => fw.crossEntropy(z, target(z, 1, -100, 3), { labelSmoothing: 0.1, zLoss: 0.01, logitSoftcap: 3 }),
    [[3, 4]],
  ],
  ['crossEntropy of rows', (z) => fw.crossEntropy(z, target(z, 1, -100, 3), { reduction: 'none' }), [[3, 4]]],
  [
    'dropout repeats its mask',
    (x) => {
      fw.manualSeed(5);
      return fw.dropout(x, 0.4);
    },
    [[4, 5]],
  ],
  [
    'lstm',
    (x, weightIh, weightHh) => fw.lstm(x, [{ weightIh, weightHh }]).output,
    [
      [1, 2, 2],
      [4, 2],
      [4, 1],
    ],
  ],
  [
    'softmaxAttention',
    (q, k, v) => fw.softmaxAttention(q, k, v, { window: 3 }),
    [
      [1, 5, 2, 3],
      [1, 5, 1, 3],
      [1, 5, 1, 2],
    ],
  ],
];

/** Every operator with a function and its inputs. */
const cases: { name: string; fn: Build; inputs: (lead?: number) => fw.Tensor[] }[] = [
  ...unary.map(([name, fn, low, high]) => ({ name, fn, inputs: (lead = 3) => [draw([2, lead, 4], low, high)] })),
  ...binary.map(([name, fn, a, b, low, high]) => ({
    name,
    fn,
    inputs: () => [draw(a, low, high), draw(b, low, high)],
  })),
  ...several.map(([name, fn, shapes]) => ({ name, fn, inputs: () => shapes.map((shape) => draw(shape)) })),
];

describe('gradients of operators', () => {
  before(() => fw.manualSeed(1));
  for (const { name, fn, inputs } of cases) {
    it(name, () => fw.scope(() => void fw.gradcheck(weighted(fn), inputs())));
  }
});

/** Those whose gradients have none. */
const ONCE = ['checkpoint', 'shortConvolution', 'softmaxAttention'];

/** What comes back is not constant, either. */
const curved = (fn: Build): Build =>
  weighted((...given) => {
    const y = fn(...given);
    return y.add(y.square());
  });

const leafOf = (t: fw.Tensor): fw.Tensor => {
  t.requiresGrad = true;
  return t;
};

/** The gradients of a sum over gradients. */
function second(fn: Build, leaves: fw.Tensor[]): fw.Tensor[] {
  const first = fw.gradients(curved(fn)(...leaves), leaves, { createGraph: true });
  const total = first.map((g) => g.square().sum()).reduce((a, b) => a.add(b));
  return fw.gradients(total, leaves);
}

describe('gradients of gradients of operators', () => {
  before(() => fw.manualSeed(2));
  for (const { name, fn, inputs } of cases) {
    if (ONCE.includes(name)) {
      it(`${name} has none, and says so`, () =>
        fw.scope(() => {
          const leaves = inputs().map(leafOf);
          const y = curved(fn)(...leaves);
          const named = new RegExp(`backward: ${name} has no gradient of its gradient`);
          expectError('UNSUPPORTED', named, () => fw.gradients(y, leaves, { createGraph: true }));
          expectError('UNSUPPORTED', named, () => y.backward(undefined, { createGraph: true }));
          for (const t of leaves) expect(t.grad).to.equal(null);
          y.backward();
        }));
      continue;
    }
    it(name, () => fw.scope(() => void fw.gradgradcheck(curved(fn), inputs(2), { tolerance: 1e-5 })));
    it(`${name} on cpu`, () =>
      fw.scope(() => {
        const given = inputs();
        const exact = second(
          fn,
          given.map((t) => leafOf(t.clone())),
        );
        const rounded = second(
          fn,
          given.map((t) => leafOf(t.to('float32').to('cpu'))),
        );
        exact.forEach((g, i) => expectClose(`inputs[${i}]`, rounded[i].dataSync(), g.dataSync(), 1e-4));
      }));
  }
  it('rules name themselves', () =>
    fw.scope(() => {
      const q = leafOf(draw([1, 3, 2, 4]));
      const { output } = fw.deltaRule(q, q, q, { beta: draw([1, 3, 2], 0, 1) });
      expectError('UNSUPPORTED', /backward: deltaRule has no gradient/, () =>
        fw.gradients(output.sum(), q, { createGraph: true }),
      );
    }));
});
