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

  it('layers of published models look at their sizes', () => {
    const missed: string[] = [];
    for (const [name, value] of Object.entries(models)) {
      const isLayer = typeof value === 'function' && value.prototype instanceof models.Recurrent;
      if (!isLayer) continue;
      for (const given of [undefined, null, 3]) {
        try {
          new (value as unknown as new (given: unknown) => unknown)(given);
        } catch (error) {
          if (!(error instanceof fw.FastWeightsError)) missed.push(`${name}(${given}): ${(error as Error).message}`);
        }
      }
    }
    expect(missed).to.eql([]);
  });

  it('inspectFastWeights', async () => {
    const sizes = { vocabSize: 5, hiddenSize: 4, numLayers: 1, numHeads: 1, ...where };
    using model = fw.createModel('deltanet', sizes);
    const cases: [string, unknown, unknown][] = [
      ['model', null, [1]],
      ['model', new fw.nn.Linear(2, 2), [1]],
      ['ids', model, none],
      ['ids', model, []],
      ['ids', model, 'hello'],
      ['ids[0]', model, [1.5]],
      ['ids[1]', model, [0, NaN]],
      ['ids[0]', model, [-1]],
      ['ids[0]', model, [5]],
      ['ids[0]', model, ['1']],
    ];
    for (const [argument, one, ids] of cases) {
      const error: unknown = await fw.inspectFastWeights(one as never, ids as never).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error, argument).to.be.instanceOf(fw.FastWeightsError);
      expect((error as fw.FastWeightsError).argument).to.equal(argument);
    }
  });

  it('rules that are not asked by their names, and networks of them', () => {
    const x = fw.zeros([1, 2, 3], where);
    const Ws = fw.zeros([8, 3], where);
    for (const rule of [fw.odeFastWeights, fw.cdeFastWeights, fw.odeRecurrentFastWeights]) {
      for (const inputs of [undefined, null, 3]) refuses('inputs', () => rule(inputs as never));
      refuses('x', () => rule({} as never));
    }
    refuses('initialState', () => fw.slowFastComposition({ x, Ws, initialState: 3 as never }));
    refuses('initialState', () => fw.slowFastComposition({ x, Ws, initialState: x }));
    refuses('x', () => fw.slowFastComposition({ x: x.flatten(), Ws }));
    refuses('Ws', () => fw.slowFastComposition({ x, Ws: Ws.flatten() }));
    refuses('state', () => fw.slowFastComposition.step({ x: x.select(1, 0), Ws }, { state: { state: 3 as never } }));
    refuses('rule', () => fw.abcdTerms('x' as never));
    refuses('x', () => new fw.nn.HebbianNetwork([3, 2], where).forward(null as never));
    // As many layers as one likes: their widths are letters with numbers.
    const sizes = Array.from({ length: 31 }, (_, i) => 1 + (i % 3));
    expect(new fw.nn.HebbianNetwork(sizes, where).forward(fw.zeros([2, 1], where)).output.shape).to.eql([2, 1]);
    const layer = new models.OdeRecurrentFastWeights(
      { inputChannels: 2, hiddenSize: 4, heads: 1, netSizes: new Array<number>(20).fill(3) },
      where,
    );
    const [dt, weights] = [fw.zeros([1], where), Object.fromEntries(layer.namedParameters())];
    const inputs = { ...weights, x: fw.zeros([1, 2], where), ...layer.initialState(1), dt };
    expect(fw.odeRecurrentFastWeights(inputs).output.shape).to.eql([1, 4]);
    const name = 'diffeq_solver.ode_func.net.20.weight';
    refuses(name, () => fw.odeRecurrentFastWeights({ ...inputs, [name]: fw.zeros([3, 4], where) }));
  });
});
