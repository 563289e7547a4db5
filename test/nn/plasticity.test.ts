// Layers with plastic synapses: their parameters, whole sequences and single tokens, training, and what they refuse.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { nn } = fw;
const [B, T, I, D] = [2, 5, 3, 6];

type Layer = fw.nn.RuleLayer<fw.Shapes, fw.Shapes>;

/** Each with its parameters in the state dictionary and its states. */
const LAYERS: [title: string, make: (where: fw.TensorOptions) => unknown, parameters: object, states: object][] = [
  [
    'FastRnn',
    (where) => new nn.FastRnn(I, D, where),
    { weight_ih: [D, I], weight_hh: [D, D], bias: [D], 'layer_norm.weight': [D], 'layer_norm.bias': [D] },
    { hidden: [B, D], state: [B, D, D] },
  ],
  [
    'FastRnn without a norm',
    (where) => new nn.FastRnn(I, D, { ...where, norm: false, bias: false, activation: 'tanh', innerSteps: 2 }),
    { weight_ih: [D, I], weight_hh: [D, D] },
    { hidden: [B, D], state: [B, D, D] },
  ],
  [
    'PlasticRnn',
    (where) => new nn.PlasticRnn(I, I, { ...where, project: false, rule: 'oja' }),
    { w: [I, I], alpha: [I, I], eta: [1] },
    { hidden: [B, I], state: [B, I, I] },
  ],
  [
    'PlasticRnn, clipped',
    (where) => new nn.PlasticRnn(I, D, { ...where, rule: 'hebbClipped' }),
    { w: [D, D], alpha: [D, D], eta: [1], 'i2h.weight': [D, I], 'i2h.bias': [D] },
    { hidden: [B, D], state: [B, D, D] },
  ],
  [
    'PlasticRnn, modulated with fan-out',
    (where) => new nn.PlasticRnn(I, D, { ...where, rule: 'modulated', fanout: true }),
    {
      w: [D, D],
      alpha: [D, D],
      'i2h.weight': [D, I],
      'i2h.bias': [D],
      'h2mod.weight': [1, D],
      'h2mod.bias': [1],
      'modfanout.weight': [D, 1],
      'modfanout.bias': [D],
    },
    { hidden: [B, D], state: [B, D, D] },
  ],
  [
    'PlasticRnn, retroactive',
    (where) => new nn.PlasticRnn(I, D, { ...where, rule: 'retroactive', modulator: 'linear' }),
    {
      w: [D, D],
      alpha: [D, D],
      eta: [1],
      'i2h.weight': [D, I],
      'i2h.bias': [D],
      'h2mod.weight': [1, D],
      'h2mod.bias': [1],
    },
    { hidden: [B, D], state: [B, D, D], trace: [B, D, D] },
  ],
  [
    'PlasticLayer',
    (where) => new nn.PlasticLayer(I, D, where),
    { w: [I, D], alpha: [I, D], eta: [1] },
    { state: [B, I, D] },
  ],
  [
    'Stpn',
    (where) => new nn.Stpn(I, D, { ...where, weightNorm: true }),
    { weight: [D, I + D], bias: [D], weight_lambda: [D, I + D], weight_gamma: [D, I + D] },
    { hidden: [B, D], state: [B, D, I + D] },
  ],
  [
    'Stpn, hidden columns',
    (where) => new nn.Stpn(I, D, { ...where, plastic: 'hidden', bias: false }),
    { weight: [D, I + D], weight_lambda: [D, D], weight_gamma: [D, D] },
    { hidden: [B, D], state: [B, D, D] },
  ],
  [
    'Stpn, not recurrent',
    (where) => new nn.Stpn(I, D, { ...where, recurrent: false, scalarRates: true }),
    { weight: [D, I], bias: [D], weight_lambda: [1], weight_gamma: [1] },
    { state: [B, D, I] },
  ],
];

const shapesOf = (tensors: object): object =>
  Object.fromEntries(Object.entries(tensors as Record<string, fw.Tensor>).map(([name, t]) => [name, [...t.shape]]));

for (const where of targets({ bfloat16: true })) {
  describe(`layers with plastic synapses on ${where.device}, ${where.dtype}`, () => {
    const { forward } = toleranceOf(where.dtype);

    for (const [title, make, parameters, states] of LAYERS) {
      it(`${title}: a sequence at once is its tokens one by one, and every parameter learns`, () => {
        fw.withSeed(4, () =>
          fw.scope(() => {
            const layer = make(where) as Layer;
            expect(shapesOf(layer.stateDict())).to.eql(parameters);
            const x = fw.randn([B, T, I], where);
            const whole = layer.forward(x, { outputFinalState: true } as never) as Record<string, fw.Tensor>;
            const state = layer.initialState(B);
            expect(shapesOf(state)).to.eql(states);
            fw.noGrad(() => {
              for (let t = 0; t < T; t++) {
                const output = layer.step(x.select(1, t), state);
                expectClose(
                  `token ${t}`,
                  output.dataSync(),
                  whole.output.select(1, t).contiguous().dataSync(),
                  forward,
                );
              }
            });
            for (const [name, t] of Object.entries(state)) {
              const last = whole[`final${name[0].toUpperCase()}${name.slice(1)}`];
              expectClose(name, t.dataSync(), last.dataSync(), forward, 1e-3);
            }
            const again = layer.forward(x.slice(1, 2, T), {
              ...Object.fromEntries(
                Object.entries(layer.forward(x.slice(1, 0, 2), { outputFinalState: true } as never))
                  .filter(([name]) => name !== 'output')
                  .map(([name, t]) => [name.replace('final', 'initial'), t]),
              ),
            });
            expectClose(
              'second part',
              again.output.dataSync(),
              whole.output.slice(1, 2, T).contiguous().dataSync(),
              forward,
            );
            whole.output.square().sum().backward();
            for (const [name, t] of layer.namedParameters()) {
              expect(t.grad, name).to.not.equal(null);
              expect(
                t.grad!.dataSync().some((g) => g !== 0),
                name,
              ).to.equal(true);
            }
          }),
        );
      });
    }

    it('HebbianNetwork: an episode from given weights, token by token, and one for each member of a population', () => {
      fw.withSeed(6, () =>
        fw.scope(() => {
          const net = new nn.HebbianNetwork([I, D, 2], { ...where, rule: 'ABCD_lr_D_out', normalise: true });
          expect(shapesOf(net.stateDict())).to.eql({ 'coefficients.0': [I, D, 5], 'coefficients.1': [D, 2, 5] });
          const x = fw.randn([T, I], where);
          const weights = net.initialState();
          expect(shapesOf(weights)).to.eql({ weight1: [I, D], weight2: [D, 2] });
          expect(weights.weight1.abs().max().item()).to.be.within(0.05, 0.1);
          const whole = net.forward(x, { weights, outputFinalState: true });
          const state = Object.fromEntries(Object.entries(weights).map(([name, t]) => [name, t.clone()]));
          fw.noGrad(() => {
            const tokens = Array.from({ length: T }, (_, t) => net.step(x.select(0, t), state));
            expectClose('steps', fw.stack(tokens, 0).dataSync(), whole.output.dataSync(), forward);
          });
          expectClose('weights', state.weight1.dataSync(), whole.finalWeight1.dataSync(), forward);
          const population = net.coefficients.map((t) =>
            t
              .detach()
              .unsqueeze(0)
              .expand(B, ...t.shape),
          );
          const batch = x.unsqueeze(0).expand(B, T, I);
          const lead = Object.fromEntries(
            Object.entries(weights).map(([name, t]) => [name, t.unsqueeze(0).expand(B, ...t.shape)]),
          );
          const all = net.forward(batch, { weights: lead, coefficients: population });
          expectClose('member', all.output.select(0, 1).contiguous().dataSync(), whole.output.dataSync(), forward);
          whole.output.square().sum().backward();
          for (const t of net.coefficients) expect(t.grad!.dataSync().some((g) => g !== 0)).to.equal(true);
        }),
      );
    });

    it('Hopfield: the patterns that its states choose, and patterns that learn', () => {
      fw.withSeed(7, () =>
        fw.scope(() => {
          const layer = new nn.Hopfield(4, D, { ...where, beta: 40, steps: 3 });
          fw.noGrad(() => layer.patterns.copy_(fw.eye(4, D, where)));
          const stored = layer.patterns.detach();
          const near = stored.add(fw.randn([4, D], { ...where, std: 0.05 }));
          const output = layer.forward(near.reshape(2, 2, D));
          expect(output.shape).to.eql([2, 2, D]);
          expectClose('retrieved', output.dataSync(), stored.dataSync(), Math.max(forward, 1e-3));
          output.sum().backward();
          expect(layer.patterns.grad!.shape).to.eql([4, D]);
        }),
      );
    });
  });
}

describe('layers with plastic synapses', () => {
  const where = { device: 'js' } as const;

  it('begin as their authors let them', () => {
    const spread = (t: fw.Tensor): number => Math.sqrt(t.square().mean().item());
    fw.withSeed(1, () => {
      const fast = new nn.FastRnn(4, 32, where);
      expect(fast.weight_hh.tolist()).to.eql(fw.eye(32, where).mul(0.05).tolist());
      const hebb = new nn.PlasticRnn(4, 64, where);
      for (const t of [hebb.w, hebb.alpha]) expect(spread(t)).to.be.within(0.009, 0.011);
      expect(hebb.eta!.item()).to.be.closeTo(0.01, 1e-8);
      const modulated = new nn.PlasticRnn(4, 64, { ...where, rule: 'modulated' });
      for (const t of [modulated.w, modulated.alpha]) {
        expect([t.min().item() >= 0, t.max().item() < 0.001, t.mean().item() > 0.0004]).to.eql([true, true, true]);
      }
      const stpn = new nn.Stpn(4, 64, where);
      expect(stpn.weight.abs().max().item()).to.be.within(0.12, 0.125);
      expect(stpn.weight_gamma.abs().max().item()).to.be.within(0.00012, 0.000125);
      expect([stpn.weight_lambda.min().item() >= 0, stpn.weight_lambda.max().item() > 0.98]).to.eql([true, true]);
      expect(spread(new nn.Hopfield(64, 64, where).patterns)).to.be.within(0.018, 0.022);
      expect(spread(new nn.HebbianNetwork([32, 32], where).coefficients[0])).to.be.within(0.9, 1.1);
    });
  });

  it('take labels, and patterns of a network of their own', () => {
    fw.scope(() => {
      const layer = new nn.PlasticLayer(3, 4, where);
      const x = fw.randn([1, 2, 3], where);
      const label = fw.tensor(
        [
          [
            [0, 1, 0, 0],
            [0, 0, 0, 1],
          ],
        ],
        where,
      );
      const { output } = layer.forward(x, { label });
      expectClose('output', output.dataSync(), label.dataSync(), 1e-6);
      const state = layer.initialState(1);
      const first = fw.noGrad(() => layer.step(x.select(1, 0), state, { label: label.select(1, 0) }));
      expect([...first.dataSync()]).to.eql([...output.select(1, 0).dataSync()]);
      const patterns = fw.randn([2, 21], where).sign();
      const network = new nn.HopfieldNetwork(patterns, { order: 'parallel', sweeps: 2 });
      expect([Object.keys(network.stateDict()), network.parameters()]).to.eql([['patterns'], []]);
      const { output: found, energy } = network.forward(patterns);
      expect([...found.dataSync()]).to.eql([...patterns.dataSync()]);
      expect(energy.shape).to.eql([2, 3]);
    });
  });

  it('refuse sizes, options and states that they do not have', () => {
    const x = fw.zeros([B, T, I], where);
    const refused: [string, () => unknown][] = [
      ['hiddenSize', () => new nn.FastRnn(3, 0)],
      ['inputSize', () => new nn.PlasticRnn(3, 4, { project: false })],
      ['rul', () => new nn.PlasticRnn(3, 4, { rul: 'oja' } as never)],
      ['plastic', () => new nn.Stpn(3, 4, { plastic: 'both' as never })],
      ['sizes', () => new nn.HebbianNetwork([3])],
      ['sizes[1]', () => new nn.HebbianNetwork([3, 0])],
      ['rule', () => new nn.HebbianNetwork([3, 4], { rule: 'B' as never })],
      ['steps', () => new nn.Hopfield(3, 4, { steps: 0 })],
      ['batch', () => new nn.Stpn(3, 4).initialState(-1)],
      ['rule', () => new nn.PlasticRnn(I, D, { ...where, rule: 'hebbb' as never }).forward(x)],
      ['clip', () => new nn.PlasticRnn(I, D, { ...where, clip: 1 }).forward(x)],
      ['nope', () => new nn.Stpn(I, D, where).forward(x, { nope: x } as never)],
      ['initialTrace', () => new nn.PlasticRnn(I, D, where).forward(x, { initialTrace: fw.zeros([B, D, D], where) })],
    ];
    for (const [argument, fn] of refused) {
      expect(expectError('INVALID_ARGUMENT', /./, fn).argument, argument).to.equal(argument);
    }
    expectError('SHAPE', /weight must be/, () => new nn.Stpn(I + 1, D, where).forward(x));
    expectError('SHAPE', /state must be/, () => new nn.Hopfield(2, D, where).forward(x));
    expectError('GRAPH', /noGrad/, () => {
      const layer = new nn.Stpn(I, D, where);
      layer.step(fw.zeros([B, I], where), layer.initialState(B));
    });
  });
});
