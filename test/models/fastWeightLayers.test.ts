// Layers of this line's programs: in pieces, token by token, packed, and what they do not take.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { DeltaDeltaLayer, DeltaMlpLayer, DeltaNetLayer, SelfModifyingTitansLayer, SelfReferentialLayer, SlowLstmLayer } =
  fw.models;
const post = { arrangement: 'post', scale: 0.5 } as const;

const LAYERS: [string, (where: Target) => fw.models.Recurrent][] = [
  ['DeltaNetLayer', (where) => new DeltaNetLayer(6, 2, where)],
  [
    'DeltaNetLayer, favor',
    (where) => new DeltaNetLayer(6, 2, { ...post, featureMap: 'favor', directions: 4, ...where }),
  ],
  ['DeltaNetLayer, normalised', (where) => new DeltaNetLayer(6, 1, { ...post, normalize: true, ...where })],
  [
    'DeltaNetLayer, output normalised',
    (where) =>
      new DeltaNetLayer(6, 2, { featureMap: 'dpfp', nu: 5, normalize: true, normalizeRetrieval: false, ...where }),
  ],
  ['DeltaNetLayer, sum', (where) => new DeltaNetLayer(6, 2, { updateRule: 'sum', normalize: true, ...where })],
  ['DeltaDeltaLayer', (where) => new DeltaDeltaLayer(6, 2, { baseWeights: true, ...where })],
  ['DeltaMlpLayer', (where) => new DeltaMlpLayer(6, 2, { arrangement: 'post', depth: 2, ...where })],
  ['SelfReferentialLayer', (where) => new SelfReferentialLayer(6, 2, where)],
  ['SelfReferentialLayer, separate y', (where) => new SelfReferentialLayer(6, 2, { separateY: true, ...where })],
  ['SelfModifyingTitansLayer', (where) => new SelfModifyingTitansLayer(6, 2, where)],
  ['SlowLstmLayer', (where) => new SlowLstmLayer(6, 2, { ...post, ...where })],
];

for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
  const { forward } = toleranceOf(where.dtype);
  describe(`layers of fast weights on ${where.device}, ${where.dtype}`, () => {
    for (const [name, make] of LAYERS) {
      it(`${name}: in pieces, token by token and packed`, () => {
        fw.manualSeed(4);
        const layer = make(where);
        fw.scope(() => {
          const x = fw.randn([2, 7, 6], where);
          const whole = fw.noGrad(() => layer.forward(x).output);
          for (const cut of [0, 3, 7]) {
            const parts = fw.noGrad(() => {
              const begin = layer.forward(x.slice(1, 0, cut), { outputState: true });
              const state = cut === 0 ? layer.initialState(2) : begin.state!;
              const tokens = Array.from({ length: 7 - cut }, (_, t) =>
                layer.step(x.slice(1, cut + t, cut + t + 1).squeeze(1), state).unsqueeze(1),
              );
              return fw.cat([begin.output, ...tokens], 1);
            });
            // The sum of keys is 0 without a state, and at the first token erases with denominator 1 then.
            if (cut === 0 && name.endsWith('normalised') && !name.includes('output')) continue;
            expectClose(`cut at ${cut}`, parts.dataSync(), whole.dataSync(), forward);
          }
          const row = x.reshape(1, 14, 6);
          const packed = layer.forward(row, { cuSeqlens: [0, 7, 7, 14] }).output;
          expectClose('packed', packed.dataSync(), whole.dataSync(), forward);
        });
        layer.dispose();
      });
    }
  });
}

describe('layers of the delta rule', () => {
  it('draw directions anew, save none, and refuse what they do not have', () => {
    const layer = new DeltaNetLayer(6, 2, { featureMap: 'favor', device: 'js' });
    const before = layer.omega!.dataSync().slice();
    layer.redraw();
    expect(layer.omega!.dataSync()).to.not.deep.equal(before);
    expect(Object.keys(layer.stateDict())).to.not.include('omega');
    expectError('INVALID_ARGUMENT', /featureMap/, () => new DeltaNetLayer(6, 2, { featureMap: 'taylor' as never }));
    expectError('INVALID_ARGUMENT', /updateRule/, () => new DeltaNetLayer(6, 2, { updateRule: 'oja' as never }));
    expectError('INVALID_ARGUMENT', /depth/, () => new DeltaMlpLayer(6, 2, { depth: 0 }));
    layer.dispose();
  });
});

describe('a self-referential layer with an input of its own for y', () => {
  const where = { device: 'js', dtype: 'float64' } as const;

  it('reads y with x as it is, all else with its softmax, and norms what each head reads', () => {
    fw.manualSeed(5);
    const layer = new SelfReferentialLayer(6, 2, { separateY: true, arrangement: 'none', queryInit: 1, ...where });
    fw.noGrad(() => layer.y_lnorm!.weight.copy_(fw.tensor([0.5, 1, 2], where)));
    const x = fw.randn([2, 5, 6], where);
    const [xs, W] = [x.dataSync(), [layer.W_y, layer.W_q, layer.W_k, layer.w_b].map((w) => w.dataSync())];
    const D = 3;
    const soft = (v: number[]): number[] => {
      const e = v.map(Math.exp);
      return e.map((a) => a / e.reduce((p, q) => p + q));
    };
    const read: number[] = [];
    for (let b = 0; b < 2; b++) {
      const heads = [0, 1].map((h) => W.map((w) => Array.from(w.slice((h * w.length) / 2, ((h + 1) * w.length) / 2))));
      for (let t = 0; t < 5; t++) {
        for (let h = 0; h < 2; h++) {
          const raw = Array.from(xs.slice((b * 5 + t) * 6 + h * D, (b * 5 + t) * 6 + h * D + D));
          const answer = (i: number, v: number[]): number[] => {
            const width = heads[h][i].length / D;
            return Array.from({ length: width }, (_, c) =>
              v.reduce((sum, a, r) => sum + a * heads[h][i][r * width + c], 0),
            );
          };
          const [y, q, k, beta] = [raw, soft(raw), soft(raw), soft(raw)].map((v, i) => answer(i, v));
          const [query, key] = [soft(q), soft(k)];
          const mean = (y[0] + y[1] + y[2]) / D;
          const variance = y.reduce((sum, a) => sum + (a - mean) ** 2, 0) / D;
          read.push(...y.map((a, c) => ((a - mean) / Math.sqrt(variance + 1e-5)) * [0.5, 1, 2][c]));
          const changes = [0, 1, 2, 3].map((i) => {
            const [want, have] = [answer(i, query), answer(i, key)];
            return want.map((a, c) => (a - have[c]) / (1 + Math.exp(-beta[i])));
          });
          changes.forEach((change, i) => {
            const w = heads[h][i];
            key.forEach((a, r) => change.forEach((d, c) => (w[r * change.length + c] += a * d)));
          });
        }
      }
    }
    const output = layer.forward(x).output;
    const expected = layer.out_linear.forward(fw.tensor(read, { shape: [2, 5, 6], ...where })).add(x);
    expectClose('output', output.dataSync(), expected.dataSync(), 1e-12);
    output.square().sum().backward();
    for (const [name, weight] of layer.namedParameters()) expect(weight.grad!.norm().item(), name).to.be.greaterThan(0);
  });

  it('is refused where its read-out is no y, or has nothing to be apart from', () => {
    const refused = (options: object): void =>
      void expectError(
        'INVALID_ARGUMENT',
        /separateY/,
        () => new SelfReferentialLayer(6, 2, { separateY: true, ...options }),
      );
    refused({ deltaMemory: true });
    refused({ inputSoftmax: false });
    using model = fw.createModel('srwm', { vocabSize: 5, hiddenSize: 8, numHeads: 2, numLayers: 1, separateY: true });
    expect(model.namedParameters().some(([name]) => name.includes('y_lnorm'))).to.equal(true);
  });
});
