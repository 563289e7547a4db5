// Layers take carried states of their own kind and sizes, and no others; what is no input is refused by name.
import { expect } from 'chai';
import * as fw from '../../lib';

const { models, nn } = fw;
const where = { device: 'js' } as const;

type Layer = {
  forward(x: fw.Tensor, options?: object): { state?: unknown };
  step(x: fw.Tensor, state: never): unknown;
  initialState(batch: number): unknown;
};

/** Layers of width 12 by what their states hold. */
const LAYERS = {
  delta: () => new models.DeltaNetLayer(12, 3, where),
  features: () => new models.DeltaNetLayer(12, 3, { featureMap: 'dpfp', ...where }),
  normalized: () => new models.DeltaNetLayer(12, 3, { normalize: true, ...where }),
  srwm: () => new models.SelfReferentialLayer(12, 3, where),
  fake: () => new models.FakeSelfReferentialLayer(12, 3, where),
  titans: () => new models.SelfModifyingTitansLayer(12, 3, where),
  twoDeltas: () => new models.DeltaDeltaLayer(12, 3, where),
  shallow: () => new models.DeltaMlpLayer(12, 3, where),
  deep: () => new models.DeltaMlpLayer(12, 3, { depth: 2, ...where }),
  slowLstm: () => new models.SlowLstmLayer(12, 3, where),
  recurrentDelta: () => new models.RecurrentDeltaLayer(12, 3, where),
  deltaRnn: () => new models.DeltaRnnLayer(12, 3, where),
  deltaLstm: () => new models.DeltaLstmLayer(12, 3, where),
  dct: () => new models.DctFastRnn(12, 12, where),
  memory: () => new models.FastWeightMemoryCell(12, 12, where),
  longhorn: () => new models.LonghornLayer(12, where),
  rnn: () => new nn.RNN(12, 12, where),
  lstm: () => new nn.LSTM(12, 12, where),
  elstm: () => new nn.ELSTM(12, 12, where),
  slstm: () => new models.SlstmLayer(12, 3, where),
} satisfies Record<string, () => Layer>;
const names = Object.keys(LAYERS) as (keyof typeof LAYERS)[];

/** Runs `fn`, which must refuse an argument of this name, or a part of it. */
function refused(argument: string, fn: () => unknown): void {
  let caught: unknown;
  try {
    fn();
  } catch (error) {
    caught = error;
  }
  expect(caught, `${fn}`).to.be.instanceOf(fw.FastWeightsError);
  expect(`${(caught as fw.FastWeightsError).argument}.`, (caught as Error).message).to.match(
    new RegExp(`^${argument}\\b`),
  );
}

describe('layers with a state', () => {
  /** The state of two texts by layer. */
  const states = {} as Record<keyof typeof LAYERS, unknown>;
  before(() => {
    for (const name of names) states[name] = LAYERS[name]().initialState(2);
  });

  for (const name of names) {
    it(`${name}: take their own state, and refuse that of every other layer and of another batch`, () => {
      fw.noGrad(() => {
        const layer: Layer = LAYERS[name]();
        const [x, token] = [fw.randn([2, 3, 12], where), fw.randn([2, 12], where)];
        const own = layer.initialState(2);
        refused('state', () => layer.forward(x, { state: 5 }));
        refused('state', () => layer.step(token, 5 as never));
        layer.forward(x, { state: own });
        layer.step(token, own as never);
        for (const other of names) {
          if (other === name) continue;
          const state = states[other];
          refused('state', () => layer.forward(x, { state }));
          refused('state', () => layer.step(token, state as never));
        }
        const three = layer.initialState(3);
        if (Object.keys(three as object).length === 0) return;
        refused('state', () => layer.forward(x, { state: three }));
        refused('state', () => layer.step(token, three as never));
      });
    });
  }

  it('SlstmLayer: one token without a state is refused, too', () => {
    const layer = LAYERS.slstm();
    refused('state', () => fw.noGrad(() => layer.step(fw.randn([2, 12], where), null as never)));
  });

  it('OdeRecurrentFastWeights: no state of other heads, or without one of its parts', () => {
    const make = (heads: number): fw.models.OdeRecurrentFastWeights =>
      new models.OdeRecurrentFastWeights({ inputChannels: 2, hiddenSize: 4, heads }, where);
    const [layer, other] = [make(2), make(1)];
    const [x, dt] = [fw.randn([2, 3, 2], where), fw.rand([2, 3], where)];
    const { latent } = layer.initialState(2);
    for (const state of [other.initialState(2), layer.initialState(1), { latent }, 3, [latent]]) {
      refused('before', () => layer.forward(x, dt, state as never));
      refused('state', () => layer.step(x.select(1, 0), dt.select(1, 0), state as never));
    }
    expect(layer.forward(x, dt, layer.initialState(2)).output.shape).to.eql([2, 3, 4]);
  });
});
