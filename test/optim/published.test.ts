// Lion, Adafactor and Muon against their published equations, written plainly in float64; orthogonalisation.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

const { Adafactor, AdamW, Lion, Muon, muonGroups, orthogonalize } = fw.optim;

type Matrix = { m: number; n: number; x: number[] };

const startOf = (size: number): number[] => Array.from({ length: size }, (_, i) => 0.5 * Math.cos(1.7 * i));
/** The gradient at step s: a fixed function. */
const gradientOf = (size: number, s: number): number[] =>
  Array.from({ length: size }, (_, i) => Math.sin(3 * s + 0.9 * i) + 0.05 * (i % 7));

function lion(size: number, steps: number, lr: number, wd: number, [b1, b2]: number[]): number[] {
  const [p, m] = [startOf(size), new Array<number>(size).fill(0)];
  for (let s = 1; s <= steps; s++) {
    gradientOf(size, s).forEach((g, i) => {
      p[i] -= lr * (Math.sign(b1 * m[i] + (1 - b1) * g) + wd * p[i]);
      m[i] = b2 * m[i] + (1 - b2) * g;
    });
  }
  return p;
}

const rms = (x: number[]): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);

/** torch.optim.Adafactor, of [batch, m, n] or, with m = 0, of vectors. */
function adafactor(
  batch: number,
  m: number,
  n: number,
  steps: number,
  lr: number,
  wd: number,
  least: number,
): number[] {
  const size = batch * Math.max(1, m) * n;
  const p = startOf(size);
  const [rows, columns, variance] = [batch * m, batch * n, size].map((k) => new Array<number>(k).fill(0));
  for (let t = 1; t <= steps; t++) {
    const g = gradientOf(size, t);
    const w = t ** -0.8;
    const alpha = Math.max(1e-3, rms(p)) * Math.min(lr, 1 / Math.sqrt(t));
    const means = (count: number, of: (i: number) => number): number =>
      Array.from({ length: count }, (_, i) => g[of(i)] ** 2).reduce((a, b) => a + b, 0) / count;
    const estimate = variance.map((v, i) => (variance[i] = v + w * (g[i] ** 2 - v)));
    if (m > 0) {
      rows.forEach((r, i) => (rows[i] += w * (means(n, (j) => i * n + j) - r)));
      columns.forEach((c, i) => {
        const first = Math.floor(i / n) * m * n + (i % n);
        columns[i] += w * (means(m, (j) => first + j * n) - c);
      });
      for (let i = 0; i < size; i++) {
        const [b, r] = [Math.floor(i / (m * n)), Math.floor(i / n)];
        const mean = rows.slice(b * m, b * m + m).reduce((x, y) => x + y, 0) / m;
        estimate[i] = (rows[r] * columns[b * n + (i % n)]) / Math.max(mean, least);
      }
    }
    const u = g.map((v, i) => v / Math.sqrt(Math.max(estimate[i], least * least)));
    const norm = Math.max(1, rms(u));
    p.forEach((v, i) => (p[i] = v * (1 - lr * wd) - (alpha / norm) * u[i]));
  }
  return p;
}

const times = (a: Matrix, b: Matrix): Matrix => {
  const x = new Array<number>(a.m * b.n).fill(0);
  for (let i = 0; i < a.m; i++)
    for (let k = 0; k < a.n; k++) for (let j = 0; j < b.n; j++) x[i * b.n + j] += a.x[i * a.n + k] * b.x[k * b.n + j];
  return { m: a.m, n: b.n, x };
};
const turn = ({ m, n, x }: Matrix): Matrix => ({
  m: n,
  n: m,
  x: Array.from({ length: m * n }, (_, i) => x[(i % m) * n + Math.floor(i / m)]),
});
const mix = (a: number, x: Matrix, b: number, y: Matrix): Matrix => ({
  ...x,
  x: x.x.map((v, i) => a * v + b * y.x[i]),
});

function newtonSchulz(g: Matrix, [a, b, c] = [3.4445, -4.775, 2.0315], steps = 5): Matrix {
  let y = g.m > g.n ? turn(g) : g;
  const norm = Math.max(1e-7, Math.sqrt(y.x.reduce((sum, v) => sum + v * v, 0)));
  y = { ...y, x: y.x.map((v) => v / norm) };
  for (let s = 0; s < steps; s++) {
    const gram = times(y, turn(y));
    y = mix(a, y, 1, times(mix(b, gram, c, times(gram, gram)), y));
  }
  return g.m > g.n ? turn(y) : y;
}

/** torch.optim.Muon, whose products are float64 here. */
function muon(m: number, n: number, steps: number, o: { lr: number; wd: number; nesterov: boolean; rms: boolean }) {
  const [p, buffer] = [startOf(m * n), new Array<number>(m * n).fill(0)];
  const ratio = o.rms ? 0.2 * Math.sqrt(Math.max(m, n)) : Math.sqrt(Math.max(1, m / n));
  for (let s = 1; s <= steps; s++) {
    const g = gradientOf(m * n, s);
    g.forEach((v, i) => (buffer[i] = 0.95 * buffer[i] + 0.05 * v));
    const x = o.nesterov ? g.map((v, i) => 0.05 * v + 0.95 * buffer[i]) : [...buffer];
    newtonSchulz({ m, n, x }).x.forEach((v, i) => (p[i] = p[i] * (1 - o.lr * o.wd) - o.lr * ratio * v));
  }
  return p;
}

for (const where of targets().filter(({ dtype }) => dtype !== 'bfloat16')) {
  const tolerance = where.dtype === 'float64' ? 1e-12 : 2e-6;

  describe(`published optimisers on ${where.device}, ${where.dtype}`, () => {
    const leaf = (shape: number[]): fw.Tensor => {
      const size = shape.reduce((a, b) => a * b, 1);
      return fw.nn.parameter(fw.tensor(startOf(size), { ...where, shape }));
    };
    /** `steps` steps along the fixed gradients; as in a run, a factor may scale them on the way. */
    const run = (
      optimizer: { step(scale?: fw.Tensor): void },
      leaves: fw.Tensor[],
      steps: number,
      factor = 1,
    ): void => {
      for (let s = 1; s <= steps; s++) {
        for (const p of leaves) {
          p.grad = fw.tensor(gradientOf(p.size, s), { ...where, shape: p.shape }).mul(1 / factor);
        }
        if (factor === 1) optimizer.step();
        else optimizer.step(fw.full([1], factor, where));
        for (const p of leaves) p.grad!.dispose();
      }
    };

    it('Lion', () => {
      for (const factor of [1, 0.25]) {
        const [p, q] = [leaf([37]), leaf([5, 3])];
        const optimizer = new Lion([p, { params: [q], betas: [0.8, 0.9] }], { lr: 0.01, weightDecay: 0.1 });
        run(optimizer, [p, q], 5, factor);
        expectClose('vector', p.dataSync(), lion(37, 5, 0.01, 0.1, [0.9, 0.99]), tolerance);
        expectClose('matrix', q.dataSync(), lion(15, 5, 0.01, 0.1, [0.8, 0.9]), tolerance);
      }
      const still = leaf([3]);
      const before = Array.from(still.dataSync());
      still.grad = fw.tensor([0, 1e-44, -3], where);
      new Lion([still], { lr: 0.5 }).step();
      expectClose('signs', still.dataSync(), [before[0], before[1] - 0.5, before[2] + 0.5], tolerance);
    });

    it('Adafactor', () => {
      const least = where.dtype === 'float64' ? 2 ** -52 : 2 ** -23;
      for (const factor of [1, 0.25]) {
        const leaves = [leaf([37]), leaf([5, 3]), leaf([2, 3, 4]), leaf([]), leaf([0, 4])];
        const optimizer = new Adafactor(leaves, { lr: 0.02, weightDecay: 0.1 });
        run(optimizer, leaves, 5, factor);
        const expected = [
          adafactor(1, 0, 37, 5, 0.02, 0.1, least),
          adafactor(1, 5, 3, 5, 0.02, 0.1, least),
          adafactor(2, 3, 4, 5, 0.02, 0.1, least),
          adafactor(1, 0, 1, 5, 0.02, 0.1, least),
        ];
        expected.forEach((values, i) => expectClose(`leaf ${i}`, leaves[i].dataSync(), values, 10 * tolerance));
        const shapes = Object.entries(optimizer.state().tensors).map(([name, { shape }]) => [name, shape]);
        expect(Object.fromEntries(shapes)).to.deep.include({
          '0.variance': [37],
          '2.rowVariance': [2, 3, 1],
          '2.colVariance': [2, 1, 4],
        });
      }
    });

    it('Muon, matrices of one shape together, and AdamW beside it', () => {
      for (const nesterov of [true, false]) {
        for (const rms of [true, false]) {
          const [a, b, c, d] = [leaf([5, 3]), leaf([5, 3]), leaf([3, 7]), leaf([4])];
          const beside = leaf([4]);
          const groups = [{ params: [a, b, c] }, { params: [d], useMuon: false, lr: 0.005 }];
          const adjustLr = rms ? 'matchRmsAdamw' : 'original';
          const optimizer = new Muon(groups, { lr: 0.02, weightDecay: 0.1, nesterov, adjustLr });
          run(optimizer, [a, b, c, d], 3, nesterov ? 0.25 : 1);
          run(new AdamW([beside], { lr: 0.005, weightDecay: 0.1 }), [beside], 3, nesterov ? 0.25 : 1);
          const options = { lr: 0.02, wd: 0.1, nesterov, rms };
          for (const p of [a, b]) expectClose('tall', p.dataSync(), muon(5, 3, 3, options), 20 * tolerance);
          expectClose('wide', c.dataSync(), muon(3, 7, 3, options), 20 * tolerance);
          expect(d.dataSync()).to.eql(beside.dataSync());
        }
      }
    });

    it('orthogonalize makes singular values about 1, of all matrices at once', () => {
      const x = Array.from({ length: 2 * 5 * 3 }, (_, i) => Math.sin(1 + i * i));
      const t = fw.tensor(x, { ...where, shape: [2, 5, 3] });
      const [o, wide] = [orthogonalize(t), orthogonalize(t.transpose(1, 2))];
      const expected = [x.slice(0, 15), x.slice(15)].flatMap((part) => newtonSchulz({ m: 5, n: 3, x: part }).x);
      expectClose('tall', o.dataSync(), expected, 20 * tolerance);
      expectClose('wide', wide.transpose(1, 2).dataSync(), expected, 20 * tolerance);
      const exact = orthogonalize(t, { steps: 20, coefficients: [1.875, -1.25, 0.375] });
      const gram = exact.transpose(1, 2).matmul(exact).dataSync();
      gram.forEach((v, i) => expect(v).to.be.closeTo(i % 9 === 0 || i % 9 === 4 || i % 9 === 8 ? 1 : 0, 1e-5));
      expect(orthogonalize(fw.zeros([3, 2], where)).dataSync()).to.eql(fw.zeros([3, 2], where).dataSync());
      expect(orthogonalize(fw.zeros([2, 0, 3], where)).shape).to.eql([2, 0, 3]);
    });
  });
}

for (const { device, available } of fw.devices()) {
  if (!available) continue;

  describe(`published optimisers in a run on ${device}`, () => {
    const makers: [string, (named: [string, fw.Tensor][]) => fw.optim.Optimizer<fw.optim.CommonSettings>][] = [
      ['Lion', (named) => new Lion(named, { lr: 1e-3 })],
      ['Adafactor', (named) => new Adafactor(named, { lr: 1e-3 })],
      ['Muon', (named) => new Muon(named, { lr: 1e-3 })],
    ];
    const leaf = (dtype: fw.DType = 'float32'): fw.Tensor =>
      fw.nn.parameter(fw.tensor(startOf(15), { device, shape: [5, 3] }).to(dtype));
    const step = (optimizer: { step(scale?: fw.Tensor): void }, p: fw.Tensor, s: number, scale?: fw.Tensor): void => {
      p.grad = fw.tensor(gradientOf(15, s), { device, shape: [5, 3] }).to(p.dtype);
      optimizer.step(scale);
      p.grad.dispose();
    };

    for (const [name, make] of makers) {
      it(`${name}: bfloat16 parameters have float32 masters; a saved state goes on bit for bit`, () => {
        for (const dtype of ['float32', 'bfloat16'] as const) {
          const [p, q] = [leaf(dtype), leaf(dtype)];
          const optimizer = make([['p', p]]);
          for (let s = 1; s <= 12; s++) step(optimizer, p, 1 + (s % 2) * 1e-3);
          const state = optimizer.state();
          for (const t of Object.values(state.tensors)) expect(t.dtype).to.equal('float32');
          const before = leaf(dtype).to('float32').sub(p.to('float32')).abs().max().item();
          expect(before).to.be.above(5e-4);
          fw.noGrad(() => q.copy_(p));
          const resumed = make([['p', q]]);
          resumed.loadState(state);
          [step(optimizer, p, 2), step(resumed, q, 2)];
          expect(q.dataSync()).to.eql(p.dataSync());
          for (const [key, t] of Object.entries(optimizer.state().tensors)) {
            expect(resumed.state().tensors[key].dataSync(), key).to.eql(t.dataSync());
          }
        }
      });

      it(`${name}: a scale of NaN changes nothing`, () => {
        const p = leaf();
        const optimizer = make([['p', p]]);
        step(optimizer, p, 1);
        const picture = (): unknown => [p, ...Object.values(optimizer.state().tensors)].map((t) => t.tolist());
        const before = picture();
        step(optimizer, p, 2, fw.full([1], NaN, { device }));
        expect(picture()).to.eql(before);
        step(optimizer, p, 3, fw.ones([1], { device }));
        expect(picture()).not.to.eql(before);
      });
    }

    it('settings that make no sense are refused, and what is no matrix', () => {
      const p = leaf();
      const wrong: [string, () => unknown][] = [
        ['betas', () => new Lion([p], { betas: [0.9, 1] })],
        ['beta2Decay', () => new Adafactor([p], { beta2Decay: 0.8 })],
        ['eps', () => new Adafactor([p], { eps: 1e-3 as never })],
        ['eps[0]', () => new Adafactor([p], { eps: [-1, 0] })],
        ['eps[1]', () => new Adafactor([p], { eps: [null, NaN] })],
        ['d', () => new Adafactor([p], { d: 0.5 })],
        ['momentum', () => new Muon([p], { momentum: 1.5 })],
        ['nesterov', () => new Muon([p], { nesterov: 1 as never })],
        ['coefficients', () => new Muon([p], { nsCoefficients: [1, 2] as never })],
        ['steps', () => new Muon([p], { nsSteps: 100 })],
        ['adjustLr', () => new Muon([p], { adjustLr: 'adam' as never })],
        ['useMuon', () => new Muon([{ params: [p], useMuon: 'no' as never }])],
        ['steps', () => orthogonalize(p, { steps: -1 })],
        ['eps', () => orthogonalize(p, { eps: NaN })],
      ];
      for (const [argument, make] of wrong) {
        expect(expectError('INVALID_ARGUMENT', /must be/, make).argument).to.equal(argument);
      }
      const vector = fw.nn.parameter(fw.zeros([3], { device }));
      expectError('SHAPE', /Muon: parameter v must be a matrix, or in a group with useMuon: false/, () => {
        new Muon([['v', vector]]);
      });
      const optimizer = new Muon([{ params: [vector], useMuon: false }]);
      optimizer.paramGroups[0].useMuon = true;
      vector.grad = fw.ones([3], { device });
      expectError('SHAPE', /Muon.step: parameter 0 must be a matrix/, () => optimizer.step());
      expectError('SHAPE', /orthogonalize: x must be matrices/, () => orthogonalize(vector));
      expectError('DTYPE', /orthogonalize: x/, () => orthogonalize(fw.zeros([2, 2], { device, dtype: 'int32' })));
    });

    it('muonGroups: matrices inside the model for Muon, everything else for AdamW', () => {
      using model = fw.createModel('deltanet', { vocabSize: 7, hiddenSize: 8, numLayers: 1, numHeads: 1, device });
      const [hidden, rest] = muonGroups(model.namedParameters(), { weightDecay: 0 });
      const names = ({ params }: { params: Iterable<fw.optim.Parameter> }): string[] =>
        [...params].map((pair) => (pair as [string, fw.Tensor])[0]);
      expect(names(rest)).to.include.members(['model.embeddings.weight', 'lm_head.weight', 'model.norm.weight']);
      expect(names(hidden)).to.include('model.layers.0.attn.q_proj.weight');
      expect(names(hidden).filter((n) => /norm|conv|bias|embed|lm_head/.test(n))).to.eql([]);
      expect([...names(hidden), ...names(rest)]).to.have.members(model.namedParameters().map(([n]) => n));
      expect(new Muon([hidden, rest]).paramGroups.map((g) => [g.useMuon, g.weightDecay])).to.eql([
        [true, 0.1],
        [false, 0],
      ]);
    });
  });
}
