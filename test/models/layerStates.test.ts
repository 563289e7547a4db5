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

  it('all layers of all families of models: a wrong x, state or options are refused by name', () => {
    const seen = new Set<unknown>();
    const missed: string[] = [];
    const wrong = [undefined, null, 3, {}, fw.zeros([2], where)];
    for (const { name } of models.modelFamilies) {
      const sizes = { vocabSize: 11, hiddenSize: 16, numLayers: 2, numHeads: 2, ...where };
      using model = fw.createModel(name, sizes);
      for (const [path, module] of model.namedModules()) {
        const isLayer = module instanceof models.Recurrent || module instanceof models.CausalLM;
        if (!isLayer || seen.has(module.constructor)) continue;
        seen.add(module.constructor);
        const layer = module as unknown as Layer;
        const takesIds = module instanceof models.CausalLM || module instanceof models.Backbone;
        const make = (...shape: number[]): fw.Tensor =>
          takesIds ? fw.zeros(shape, { dtype: 'int32', ...where }) : fw.randn([...shape, 16], where);
        const [x, token] = [make(2, 3), make(2)];
        const state = layer.initialState(2);
        /** Calls what must refuse one of these arguments. */
        const refuses = (argument: RegExp, given: unknown, call: () => unknown): void => {
          const at = `${name}.${path} ${module.constructor.name}, ${argument.source} ${String(given)}`;
          try {
            fw.noGrad(call);
            missed.push(`${at}: nothing`);
          } catch (error) {
            const named = error instanceof fw.FastWeightsError && argument.test(`${error.argument}`);
            if (!named) missed.push(`${at}: ${String(error)}`);
          }
        };
        const isEmpty = (value: unknown): boolean => value?.constructor === Object && Object.keys(value).length === 0;
        for (const given of wrong) {
          refuses(/^(x|ids|indices)$/, given, () => layer.step(given as never, state as never));
          refuses(/^(x|ids|indices)$/, given, () => layer.forward(given as never));
          if (isEmpty(given) && isEmpty(state)) continue;
          refuses(/^state\b/, given, () => layer.step(token, given as never));
          const isNone = given === undefined || given === null;
          if (!isNone) refuses(/^(state|before)\b/, given, () => layer.forward(x, { state: given }));
          const isObject = isEmpty(given) || given instanceof fw.Tensor;
          if (given !== undefined && !isObject) refuses(/^options$/, given, () => layer.forward(x, given as never));
        }
        fw.noGrad(() => layer.forward(x, { state }));
        fw.noGrad(() => layer.step(token, state as never));
      }
    }
    expect(missed.join('\n')).to.equal('');
    expect(seen.size).to.be.above(60);
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
