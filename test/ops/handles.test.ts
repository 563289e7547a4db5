// What is left of a call of any operator: its results, each a handle of its own, and nothing else.
import { expect } from 'chai';
import * as fw from '../../lib';
import { collectGarbage } from '../support/garbage';

const live = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);

type Inputs = Record<
  | 'x'
  | 'flipped'
  | 'positive'
  | 'row'
  | 'square'
  | 'matrix'
  | 'heads'
  | 'gates'
  | 'decay'
  | 'token'
  | 'strength'
  | 'ids'
  | 'mask'
  | 'column'
  | 'single'
  | 'state'
  | 'sums',
  fw.Tensor
>;
type Call = (inputs: Inputs) => unknown;

/** Modules for inputs whose channels, in the second dimension, are three, and whose last dimension is four; all frozen. */
function modulesOn(device: fw.Device) {
  const { nn } = fw;
  const parts = [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softmax];
  const chain = new nn.Sequential(new nn.LogSoftmax(), new nn.Identity(), new nn.Dropout(), new nn.Flatten());
  const adapted = new nn.Sequential(new nn.Linear(4, 4, { device }));
  nn.addLora(adapted, { rank: 2, alpha: 1, targets: '0', dropout: 0.5 });
  const ofFour = [...parts.map((Part) => new Part()), new nn.Softplus(2), chain, new nn.Sequential(), adapted];
  const ofThree = [new nn.GroupNorm(3, 3, { device }), new nn.BatchNorm1d(3, { device }).eval()];
  const images = [new nn.BatchNorm2d(3, { device }), new nn.Conv2d(3, 2, [1, 3], { device }), new nn.MaxPool2d([1, 2])];
  const attention = new nn.MultiheadAttention(4, 2, { device });
  const all = new nn.ModuleList<fw.nn.Module>([...ofFour, ...ofThree, ...images, attention]);
  nn.freeze(all);
  return { ofFour, ofThree, images, attention, loss: new nn.CrossEntropyLoss() };
}

const MODULES = { cpu: modulesOn('cpu'), js: modulesOn('js') };

const CALLS: Record<string, Call> = {
  'add a number': ({ x }) => x.add(1),
  'add a row': ({ x, row }) => x.add(row),
  sub: ({ x, row }) => [x.sub(row), x.sub(1), x.neg()],
  'mul broadcast': ({ x, row }) => row.mul(x),
  div: ({ x, row }) => x.div(row),
  'div of int32': ({ ids }) => ids.div(2),
  pow: ({ positive, row }) => [positive.pow(row), positive.pow(2), positive.pow(0.5)],
  remainder: ({ x, row }) => x.remainder(row),
  floorDivide: ({ x }) => x.floorDivide(2),
  'maximum with a number': ({ x }) => x.maximum(0.1),
  'minimum with a row': ({ x, row }) => x.minimum(row),
  eq: ({ x, row }) => x.eq(row),
  'exp to cos': ({ x, positive }) => [
    positive.log(),
    positive.sqrt(),
    positive.rsqrt(),
    x.reciprocal(),
    x.exp(),
    x.sin(),
    x.cos(),
    x.tanh(),
    x.sigmoid(),
  ],
  'silu to relu': ({ x }) => [x.silu(), x.gelu(), x.gelu('tanh'), x.softplus(), x.relu(), fw.elu1(x), x.logSigmoid()],
  'abs, neg, square of int32': ({ ids }) => [ids.abs(), ids.neg(), ids.square()],
  'leakyRelu, glu, normalize': ({ x }) => [
    fw.leakyRelu(x),
    fw.glu(x),
    fw.normalize(x),
    fw.normalize(x, { p: 1, dim: -1 }),
  ],
  isclose: ({ x }) => x.isclose(x, { equalNan: true }),
  oneHot: ({ ids }) => [fw.oneHot(ids, 100), fw.oneHot(ids)],
  clamp: ({ x }) => x.clamp(-1, 1),
  'clamp of int32 without bounds': ({ ids }) => ids.clamp(-Infinity, Infinity),
  sum: ({ x, flipped }) => [x.sum(), x.sum([0, 2]), flipped.sum(1, true)],
  'sum over nothing': ({ x }) => x.sum([]),
  mean: ({ x, flipped }) => [x.mean(), x.mean(1), flipped.mean(-1, true)],
  'max and min': ({ x }) => [x.max(), x.max(1), x.min(2, true)],
  argmax: ({ x, ids }) => [x.argmax(1), x.argmin(1, true), ids.argmin(0)],
  'prod and log-sums': ({ x }) => [x.prod(), x.prod(1), x.logsumexp(), x.logsumexp([0, 2], true)],
  'with indices': ({ x }) => [x.maxWithIndices(1), x.minWithIndices(2, true), x.median(), x.median(1)],
  truth: ({ x, mask }) => [x.any(), x.all(1), x.countNonzero([0, 1]), mask.sum(0), mask.max(0), mask.all()],
  spread: ({ x }) => [
    x.var(),
    x.std(1),
    x.norm(),
    x.norm(0),
    x.norm(1),
    x.norm(3, 1),
    x.norm(Infinity),
    x.norm(-Infinity),
  ],
  shapes: ({ x, row, square, column }) => [
    x.flatten(),
    row.flatten(),
    x.unflatten(2, [2, 2]),
    x.unflatten(2, [4]),
    x.squeeze(),
    column.squeeze(),
    x.movedim(0, 0),
    x.movedim(0, 2),
    row.t(),
    square.t(),
    x.broadcastTo(x.shape),
    x.chunk(1),
    x.chunk(2, 1),
    x.tensorSplit(2, 1),
    x.tensorSplit([1], 1),
    x.unbind(1),
    row.unbind(),
    fw.meshgrid([row, column.reshape(4)], 'xy'),
    fw.meshgrid([row]),
  ],
  copies: ({ x, flipped, row, ids }) => [
    x.repeat(1, 1, 1),
    row.repeat(2, 2),
    x.tile(1),
    x.repeatInterleave(1, 0),
    row.repeatInterleave(2),
    row.repeatInterleave(ids),
    x.flip(),
    x.flip(0),
    x.roll(0),
    flipped.roll(1, 0),
    x.pad([]),
    x.pad([1, -1]),
    x.pad([0, 0], 'reflect'),
    x.pad([1, 1], 'circular'),
    x.unfold(1, 2, 1),
  ],
  triangles: ({ x, square, row }) => [x.tril(), x.triu(1), square.diag(), row.diag(1), x.diagonal()],
  einsum: ({ x, square, row }) => [
    fw.einsum('ijk', x),
    fw.einsum('ij->ji', square),
    fw.einsum('ii', square),
    fw.einsum('bij,jk,k->bi', x.transpose(1, 2), square.slice(0, 0, 3), row),
  ],
  products: ({ x, square, row }) => [
    square.mm(square),
    x.bmm(x.transpose(1, 2)),
    square.mv(row),
    row.dot(row),
    row.outer(row),
  ],
  'made like another': ({ x }) => [
    fw.zerosLike(x),
    fw.onesLike(x, { dtype: 'bfloat16' }),
    fw.randLike(x),
    fw.randnLike(x),
  ],
  drawn: ({ x, row }) => [row.bernoulli(), x.multinomial(2), row.multinomial(9, { replacement: true })],
  printed: ({ x }) => [x.toString(), x.unsqueeze(0).expand(99, -1, -1, -1).toString()].length,
  cumsum: ({ x }) => x.cumsum(1),
  softmax: ({ x }) => [x.softmax(), x.softmax(0), x.logSoftmax(), x.logSoftmax(1)],
  'reshape to the same': ({ x }) => x.reshape(x.shape),
  'reshape that copies': ({ flipped }) => flipped.reshape(-1),
  'permute to the same': ({ x }) => x.permute(0, 1, 2),
  'transpose of one dimension': ({ x }) => x.transpose(1, 1),
  slice: ({ x }) => [x.slice(1, 1, 2), x.slice(1, 0)],
  'expand to the same': ({ x }) => x.expand(x.shape),
  expand: ({ row }) => row.expand(5, 4),
  squeeze: ({ x, column }) => [x.squeeze(0), column.squeeze(1), x.unsqueeze(-1)],
  contiguous: ({ x, flipped }) => [x.contiguous(), flipped.contiguous()],
  clone: ({ x, flipped }) => [x.clone(), flipped.clone()],
  detach: ({ x }) => x.detach(),
  'to where it is': ({ x }) => [x.to(x.device), x.to(x.dtype)],
  'to another dtype': ({ x, flipped }) => [x.to('bfloat16'), flipped.to('bfloat16'), x.to('int32')],
  'to another device': ({ x, flipped }) => [x.to('js'), flipped.to('js'), x.to('cpu')],
  cat: ({ x, flipped, row }) => [fw.cat([x, x], 0), fw.cat([flipped, flipped], 1), fw.cat([row])],
  stack: ({ x, flipped }) => [fw.stack([x, x]), fw.stack([flipped, flipped], 2)],
  split: ({ x }) => [fw.split(x, [1, 2], 1), fw.split(x, [3], 1)],
  'matmul of matrices': ({ square, matrix }) => fw.matmul(matrix, square),
  'matmul of vectors': ({ x, row, square }) => [fw.matmul(x, row), fw.matmul(row, square), fw.matmul(row, row)],
  'matmul broadcast': ({ x, square }) => fw.matmul(x, square),
  linear: ({ x, square, row }) => [
    fw.linear(x, square),
    fw.linear(x, square, row, { activation: 'silu', residual: x }),
  ],
  swiglu: ({ x }) => fw.swiglu(x, x),
  feedForward: ({ x, square }) => fw.feedForward(x, { gate: square, up: square, down: square }),
  norms: ({ x, row }) => [
    fw.rmsNorm(x, row),
    fw.rmsNorm(x, null, { residual: x }),
    fw.layerNorm(x, row, row),
    fw.groupNorm(x, 2),
    fw.rmsNormGated(x, x, row),
    fw.l2Norm(x),
  ],
  dropout: ({ x }) => [fw.dropout(x, 0), fw.dropout(x, 0.5), fw.dropout(x, 1)],
  embedding: ({ matrix, ids }) => fw.embedding(matrix, ids),
  crossEntropy: ({ matrix, ids }) => [
    fw.crossEntropy(matrix, ids),
    fw.crossEntropy(matrix, ids, { reduction: 'none' }),
    fw.crossEntropy(matrix, ids, { labelSmoothing: 0.1, zLoss: 0.1, reduction: 'sum' }),
  ],
  'crossEntropy of weighted classes and of shares': ({ matrix, ids, row }) => [
    fw.crossEntropy(matrix, ids, { weight: row, labelSmoothing: 0.1, zLoss: 0.1 }),
    fw.crossEntropy(matrix, matrix, { reduction: 'none' }),
  ],
  losses: ({ matrix, ids, positive, x, row }) => [
    fw.nllLoss(matrix, ids),
    ...[fw.mseLoss, fw.l1Loss, fw.smoothL1Loss, fw.huberLoss, fw.klDiv].map((loss) => loss(x, positive)),
    fw.binaryCrossEntropyWithLogits(x, positive, { weight: row, posWeight: row }),
    fw.mseLoss(x, x, { reduction: 'none' }),
    fw.cosineSimilarity(x, positive),
  ],
  scaledDotProductAttention: ({ heads, decay }) => {
    const mask = fw.scope(() => heads.gt(0.5).slice(3, 0, 3).permute(0, 2, 1, 3).contiguous());
    const added = decay.slice(3, 0, 3).permute(0, 2, 1, 3);
    const options = [{}, { causal: true }, { causal: true, dropout: 0.5, mask }, { mask: added }];
    return [mask, ...options.map((option) => fw.scaledDotProductAttention(heads, heads, heads, option))];
  },
  'convolution and pooling': ({ x, matrix }) => [
    fw.conv1d(x, matrix.slice(1, 0, 3).unsqueeze(-1)),
    fw.conv2d(x.unsqueeze(0), matrix.reshape(2, 2, 2, 2), { padding: 1, bias: matrix.select(0, 0).slice(0, 0, 2) }),
    fw.maxPool2d(x.unsqueeze(0), 2, { padding: 1 }),
    fw.avgPool2d(x.unsqueeze(0), 2, { countIncludePad: false }),
    fw.adaptiveAvgPool2d(x.unsqueeze(0)),
  ],
  modules: ({ x, square, heads }) => {
    const { ofThree, ofFour, attention, images, loss } = MODULES[x.device as 'cpu' | 'js'];
    return [
      ...ofFour.map((part) => part.forward(x)),
      ...ofThree.map((part) => part.forward(x)),
      ...images.map((part) => part.forward(heads)),
      attention.forward(x, undefined, undefined, { causal: true }),
      loss.forward(square, square),
    ];
  },
  featureMap: ({ x }) =>
    (['identity', 'elu1', 'relu', 'dpfp'] as const).map((name) => fw.featureMap(x, { featureMap: name })),
  rope: ({ heads }) => fw.rope(heads),
  shortConvolution: ({ x, square }) => fw.shortConvolution(x, square, { activation: 'silu', outputFinalState: true }),
  softmaxAttention: ({ heads }) => [
    fw.softmaxAttention(heads, heads, heads),
    fw.softmaxAttention(heads, heads, heads, { window: 2 }),
  ],
  lstm: ({ x, matrix, single }) =>
    fw.lstm(x, [
      { weightIh: matrix, weightHh: single },
      { weightIh: single, weightHh: single },
    ]),
  checkpoint: ({ x }) => fw.checkpoint((y) => y.tanh().mul(y), x),
  'checkpoint of nothing': ({ x }) => fw.checkpoint((y) => y, x),
  'checkpoint of several': ({ x, row }) => fw.checkpoint((a, b) => [a.mul(b), b], x, row),
  linearAttention: ({ heads }) => [
    fw.linearAttention(heads, heads, heads, { outputFinalState: true }),
    fw.linearAttention(heads, heads, heads, { normalize: true, outputFinalState: true, featureMap: 'elu1' }),
  ],
  retention: ({ heads }) => fw.retention(heads, heads, heads),
  gatedLinearAttention: ({ heads, decay }) => fw.gatedLinearAttention(heads, heads, heads, { gate: decay }),
  deltaRule: ({ heads, gates }) => [
    fw.deltaRule(heads, heads, heads, { beta: gates, qkL2Norm: true, outputFinalState: true }),
    fw.deltaRule(heads, heads, heads, { beta: gates, featureMap: 'dpfp', sumNorm: true }),
  ],
  deltaProduct: ({ heads, gates }) => fw.deltaProduct(heads, heads, heads, { numHouseholder: 1, beta: gates }),
  ojaRule: ({ heads, gates }) => fw.ojaRule(heads, heads, heads, { beta: gates }),
  grad: ({ x }) => fw.grad((y) => y.square().sum())(x),
  'defineFunction of an argument, a view and a result that it saves': ({ x, row }) => odd(x, 2, row),
  hooks: ({ x }) => {
    const y = x.mul(2);
    if (y.requiresGrad) y.registerHook((g) => g.dispose());
    return y;
  },
  gradients: ({ x, row }) => {
    using y = fw.scope(() => x.mul(row).tanh().square().sum());
    if (!y.requiresGrad) return [];
    using first = fw.gradients(y, row, { retainGraph: true })[0];
    first.dataSync();
    return fw.gradients(y, [x, row], { createGraph: true });
  },
  detectAnomaly: ({ x, row }) => fw.detectAnomaly(() => x.mul(row)),
};

const odd = fw.defineFunction({
  name: 'odd',
  forward(ctx, x: fw.Tensor, by: number, row: fw.Tensor) {
    const y = x.mul(by);
    ctx.saveForBackward(x, y, y.exp());
    return [x, x.transpose(0, 1), y, row];
  },
  backward: (ctx, a, b, c, d) => [a.add(b.transpose(0, 1)).add(c.mul(ctx.savedTensors[2])), null, d],
});

/** Calls outside recording. */
const STEPS: Record<string, Call> = {
  'in place': ({ x, flipped, row, mask }) => {
    x.add_(1).mul_(row).mul_(0.5).add_(-1).sub_(row).div_(2).maskedFill_(mask, 1).add_(1);
    flipped.zero_().sub_(1).div_(-3);
    flipped.fill_(0.5).add_(0.25);
    flipped.copy_(flipped);
  },
  reads: ({ flipped, row }) => {
    flipped.dataSync();
    flipped.tolist();
    fw.matmul(row, row).dispose();
  },
  'steps of rules': ({ token: q, strength: b, state }) => [
    fw.deltaRule.step(q, q, q, { beta: b, state }),
    fw.deltaRule.step(q, q, q, { beta: b, state, qkL2Norm: true }),
    fw.deltaRule.step(q, q, q, { beta: b, state, featureMap: 'elu1', sumNorm: true }),
    fw.linearAttention.step(q, q, q, { state, featureMap: 'relu' }),
    fw.retention.step(q, q, q, { state }),
    fw.ojaRule.step(q, q, q, { beta: b, state }),
  ],
  'normalized step': ({ token: q, state, sums }) =>
    fw.linearAttention.step(q, q, q, { state, normalizer: sums, normalize: true }),
  clipGradNorm: ({ x }) => {
    x.grad = fw.ones(x.shape, { device: x.device });
    const norm = fw.optim.clipGradNorm([x], 0.1);
    x.grad.dispose();
    x.grad = null;
    return norm;
  },
};

function tensorsIn(value: unknown): fw.Tensor[] {
  if (value instanceof fw.Tensor) return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

for (const device of ['cpu', 'js'] as const) {
  describe(`handles and memory of operators on ${device}`, () => {
    let inputs: Inputs;

    beforeEach(() => {
      const leaf = (...shape: number[]): fw.Tensor => fw.rand(shape, { device, low: 0.1, requiresGrad: true });
      const x = leaf(2, 3, 4);
      inputs = {
        x,
        flipped: x.detach().transpose(0, 2),
        positive: leaf(2, 3, 4),
        row: leaf(4),
        square: leaf(4, 4),
        matrix: leaf(4, 4),
        heads: leaf(1, 3, 2, 4),
        gates: leaf(1, 3, 2),
        decay: fw.noGrad(() => leaf(1, 3, 2, 4).neg()),
        token: leaf(1, 2, 4),
        strength: leaf(1, 2),
        ids: fw.tensor([0, 2, 1, 3], { dtype: 'int32', device }),
        mask: fw.full([2, 3, 4], true, { device }),
        column: leaf(4, 1),
        single: leaf(4, 1),
        state: fw.zeros([1, 2, 4, 4], { device }),
        sums: fw.zeros([1, 2, 4], { device }),
      };
      inputs.flipped.requiresGrad = true;
      inputs.decay.requiresGrad = true;
    });
    afterEach(() => Object.values(inputs).forEach((t) => t.dispose()));

    const results = (call: Call): fw.Tensor[] => {
      const given = Object.values(inputs);
      const found = [...new Set(tensorsIn(call(inputs)))];
      for (const y of found) expect(given, 'a handle of its own').not.to.include(y);
      return found;
    };

    for (const [name, call] of Object.entries({ ...CALLS, ...STEPS })) {
      it(`${name}: nothing is left when the results are disposed`, () => {
        const before = live();
        for (const y of fw.noGrad(() => results(call))) y.dispose();
        expect(live(), 'outside recording').to.equal(before);
        expect(Object.values(inputs).filter((t) => t.isDisposed)).to.eql([]);
        if (!(name in CALLS)) return;
        for (const y of results(call)) y.dispose();
        expect(live(), 'without a backward pass').to.equal(before);
        for (const y of results(call)) {
          if (y.requiresGrad) {
            using direction = fw.ones(y.shape, { device: y.device, dtype: y.dtype });
            y.backward(direction, { retainGraph: true });
          }
          y.dispose();
        }
        for (const t of Object.values(inputs)) {
          t.grad?.dispose();
          t.grad = null;
        }
        expect(live(), 'after a backward pass').to.equal(before);
      });
    }

    it('results that nobody holds are collected with their graphs', async () => {
      /** How many storages some calls leave behind. */
      const leftBy = async (calls: Call[]): Promise<number> => {
        await collectGarbage();
        const before = live();
        for (const call of calls) results(call);
        await collectGarbage();
        return live() - before;
      };
      if ((await leftBy(Object.values(CALLS))) === 0) return;
      const guilty: string[] = [];
      for (const [name, call] of Object.entries(CALLS)) if ((await leftBy([call])) > 0) guilty.push(name);
      expect(guilty).to.eql([]);
    });
  });
}
