// What constructors and forward passes of this line's layers and models refuse, by name and where it is said.
import { expect } from 'chai';
import * as fw from '../../lib';

const { models } = fw;
const where = { device: 'js' } as const;
const none = undefined as never;

/** Calls `fn`, which must refuse the argument with a typed error. */
function refuses(argument: string, fn: () => unknown): void {
  let caught: unknown;
  try {
    fn();
  } catch (error) {
    caught = error;
  }
  expect(caught, `${argument}: ${fn}`).to.be.instanceOf(fw.FastWeightsError);
  expect((caught as fw.FastWeightsError).argument, (caught as Error).message).to.equal(argument);
}

const SUBLAYERS = {
  DeltaNetLayer: models.DeltaNetLayer,
  DeltaDeltaLayer: models.DeltaDeltaLayer,
  DeltaMlpLayer: models.DeltaMlpLayer,
  DeltaRnnLayer: models.DeltaRnnLayer,
  DeltaLstmLayer: models.DeltaLstmLayer,
  RecurrentDeltaLayer: models.RecurrentDeltaLayer,
  SelfReferentialLayer: models.SelfReferentialLayer,
  FakeSelfReferentialLayer: models.FakeSelfReferentialLayer,
  SelfModifyingTitansLayer: models.SelfModifyingTitansLayer,
  SlowLstmLayer: models.SlowLstmLayer,
};

describe('arguments of layers', () => {
  for (const [name, Layer] of Object.entries(SUBLAYERS)) {
    it(name, () => {
      refuses('arrangement', () => new Layer(12, 3, { arrangement: 'postt', ...where } as never));
      refuses('numHeads', () => new Layer(12, 5, where));
      refuses('numHeads', () => new Layer(12, none, where));
      refuses('hiddenSize', () => new Layer(none, 3, where));
      refuses('options', () => new Layer(12, 3, null as never));
      const layer = new Layer(12, 3, where);
      const x = fw.randn([2, 12], where);
      for (const wrong of [null, undefined, 3, [1]]) refuses('x', () => layer.forward(wrong as never));
      refuses('x', () => layer.forward(x));
      refuses('x', () => layer.step(null as never, layer.initialState(2)));
      refuses('state', () => layer.step(x, none));
    });
  }

  it('models of continuous time look at the options of their solver at once', () => {
    const sizes = { inputChannels: 2, hiddenSize: 4, outputSize: 3, heads: 2 };
    const solvers = [{ method: 'x' }, { rtol: -1 }, { atol: 0 }, { stepSize: -1 }, { maxSteps: 0 }, { minStep: NaN }];
    for (const solver of solvers as object[]) {
      const [argument] = Object.keys(solver);
      refuses(argument, () => new models.OdeModel({ ...sizes, ...solver }, where));
      refuses(argument, () => new models.NrdeModel({ ...sizes, initialSize: 2, ...solver }, where));
      const { heads: _, ...direct } = sizes;
      refuses(argument, () => new models.BigMapModel({ ...direct, ...solver }, where));
      const recurrent = { inputChannels: 2, hiddenSize: 4, heads: 2, ...solver };
      refuses(argument, () => new models.OdeRecurrentFastWeights(recurrent, where));
    }
    // A tolerance that no dtype can tell from rounding counts as the least that it can.
    expect(new models.OdeModel({ ...sizes, rtol: 1e-300 }, where).config.rtol).to.equal(1e-300);
  });
});
