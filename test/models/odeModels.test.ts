// Models of continuous-time fast weights: the authors' vectors and names, both kinds of gradients, one observation at a
// time, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeLong } from '../golden/table';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

describeLong('odeModels');

const js64: Target = { device: 'js', dtype: 'float64' };
const TIMES = [0, 0.5, 0.8, 1.6];
const mapSizes = { inputChannels: 3, hiddenSize: 8, outputSize: 2, ffDim: 6 };
const sizes = { ...mapSizes, heads: 2 };
const { BigMapModel, NrdeModel, OdeModel, OdeRecurrentFastWeights } = fw.models;
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);
const made = <M>(make: () => M): M => fw.withSeed(5, make);
const sequences = (where: Target = js64): fw.Tensor => fw.withSeed(6, () => fw.randn([2, TIMES.length, 3], where));
const gradientsOf = (model: fw.nn.Module): number[] =>
  model.parameters().flatMap((p) => [...(p.grad?.dataSync() ?? new Float64Array(p.size))]);

describe('models of continuous-time fast weights', () => {
  it(
    'have the names of the published weights',
    unchecked(() => {
      const names = (model: fw.nn.Module): string[] =>
        Object.keys(model.stateDict()).map((name) => name.replace(/\.(weight|bias)$/, ''));
      const own = (model: fw.nn.Module): string[] => [...new Set(names(model))].sort();
      const block = ['ff_block.ff_layers.0', 'ff_block.ff_layers.3', 'ff_block.layer_norm'];
      expect(own(new BigMapModel({ ...mapSizes, layers: 2, mapSize: 4 }))).to.deep.equal(
        [...block, 'initial_network', 'linear', 'update_net.big_net_layers.0', 'update_net.big_net_layers.1'].sort(),
      );
      const model = made(() => new OdeModel(sizes, js64));
      const other = new OdeModel(sizes, js64);
      other.loadStateDict(model.stateDict());
      const x = sequences();
      expect([...other.forward(x, TIMES).dataSync()]).to.deep.equal([...model.forward(x, TIMES).dataSync()]);
    }),
  );

  it(
    'learn by the adjoint equation what they learn through the steps',
    unchecked(() => {
      const gradients = [false, true].map((adjoint) => {
        const model = made(() => new OdeModel({ ...sizes, as: 'paper', stepSize: 0.05, adjoint }, js64));
        model
          .forward(sequences(), TIMES, { finalIndex: [2, 3] })
          .square()
          .sum()
          .backward();
        return gradientsOf(model);
      });
      expectClose('OdeModel', gradients[1], gradients[0], 1e-4);
      const windows = fw.withSeed(8, () => fw.randn([2, 10, 3], js64));
      const nrde = [false, true].map((adjoint) => {
        const options = { ...sizes, initialSize: 3, as: 'paper' as const, stepSize: 0.25, adjoint };
        const model = made(() => new NrdeModel(options, js64));
        model.forward(windows.select(1, 0), windows).square().sum().backward();
        return gradientsOf(model);
      });
      expectClose('NrdeModel', nrde[1], nrde[0], 1e-4);
    }),
  );

  it(
    'read each sequence where it ends',
    unchecked(() => {
      const x = sequences();
      for (const family of ['ode', 'cde1', 'cde2', 'cde3', 'dxOnly'] as const) {
        const model = made(() => new OdeModel({ ...sizes, family, as: 'paper' }, js64));
        const both = model.forward(x, TIMES, { finalIndex: [3, 3] });
        const early = model.forward(x, TIMES, { finalIndex: fw.tensor([1, 3], { dtype: 'int32' }) });
        expect([...early.select(0, 1).dataSync()]).to.deep.equal([...both.select(0, 1).dataSync()]);
        expect([...early.select(0, 0).dataSync()]).to.not.deep.equal([...both.select(0, 0).dataSync()]);
      }
    }),
  );

  it(
    'read the transposed state in the third form',
    unchecked(() => {
      const answers = (['cde2', 'cde3'] as const).map((family) => {
        const model = made(() => new OdeModel({ ...sizes, family }, js64));
        // Keys as they are values: a state that is symmetric reads the same either way.
        const initialState = fw.eye(4, 4, js64).expand(2, 2, 4, 4);
        const still = fw.zeros([2, 2, 3], js64);
        return [sequences(), still].map((x) => {
          const at = x === still ? [0, 1e-9] : TIMES;
          return [...model.forward(x, at, { initialState }).dataSync()];
        });
      });
      expect(answers[0][0]).to.not.deep.equal(answers[1][0]);
      expectClose('symmetric', answers[0][1], answers[1][1], 1e-6);
    }),
  );

  it(
    'fit a few sequences',
    unchecked(() => {
      const x = sequences();
      const target = fw.tensor([0, 1], { device: 'js', dtype: 'int32' });
      const models: [fw.nn.Module, () => fw.Tensor][] = [];
      const ode = made(() => new OdeModel(sizes, js64));
      models.push([ode, () => ode.forward(x, TIMES)]);
      const map = made(() => new BigMapModel({ ...mapSizes, layers: 2, mapSize: 4 }, js64));
      models.push([map, () => map.forward(x, TIMES)]);
      for (const [model, forward] of models) {
        const optimizer = new fw.optim.Adam(model.parameters(), { lr: 0.02 });
        const losses = Array.from({ length: 20 }, () =>
          fw.scope(() => {
            const loss = fw.crossEntropy(forward(), target);
            optimizer.zeroGrad();
            loss.backward();
            optimizer.step();
            return loss.item();
          }),
        );
        expect(losses[19]).to.be.below(0.5 * losses[0]);
      }
    }),
  );

  for (const where of targets()) {
    it(
      `take one observation at a time on ${where.device}, ${where.dtype}`,
      unchecked(() => {
        for (const learningRule of ['hebb', 'oja', 'delta'] as const) {
          for (const as of ['code', 'paper'] as const) {
            const options = { inputChannels: 3, hiddenSize: 8, heads: 2, learningRule, as };
            const model = made(() => new OdeRecurrentFastWeights(options, where));
            const x = fw.withSeed(7, () => fw.randn([2, 5, 3], where));
            const dt = fw.tensor([0.1, 0.4, 0, 0.2, 0.3, 0.2, 0.4, 0, 0.1, 1], { ...where, shape: [2, 5] });
            const whole = model.forward(x, dt);
            const state = model.initialState(2);
            const steps = fw.noGrad(() =>
              Array.from({ length: 5 }, (_, t) => model.step(x.select(1, t), dt.select(1, t), state)),
            );
            expect([...fw.stack(steps, 1).dataSync()]).to.deep.equal([...whole.output.dataSync()]);
            expect([...state.state.dataSync()]).to.deep.equal([...whole.state.state.dataSync()]);
            const rest = model.forward(
              x.slice(1, 3),
              dt.slice(1, 3),
              model.forward(x.slice(1, 0, 3), dt.slice(1, 0, 3)).state,
            );
            expect([...rest.output.dataSync()]).to.deep.equal([...whole.output.slice(1, 3).dataSync()]);
            if (as === 'code') continue;
            const alone = model.forward(x.slice(0, 0, 1), dt.slice(0, 0, 1)).output;
            expect([...alone.dataSync()]).to.deep.equal([...whole.output.slice(0, 0, 1).dataSync()]);
          }
        }
      }),
    );
  }

  it(
    'compute in bfloat16 with states in float32',
    unchecked(() => {
      const bf16 = { device: 'js', dtype: 'bfloat16' } as const;
      const model = made(() => new OdeModel(sizes, bf16));
      const wide = made(() => new OdeModel(sizes, { device: 'js', dtype: 'float32' }));
      wide.loadStateDict(model.stateDict());
      const x = sequences({ device: 'js', dtype: 'float32' });
      const answer = model.forward(x.to('bfloat16'), TIMES);
      expect(answer.dtype).to.equal('bfloat16');
      expectClose('answer', answer.to('float32').dataSync(), wide.forward(x, TIMES).dataSync(), 0.05);
      answer.sum().backward();
      expect(gradientsOf(model).every(Number.isFinite)).to.equal(true);
    }),
  );

  it('refuse what they cannot use, and name it', () => {
    const x = sequences();
    const model = made(() => new OdeModel(sizes, js64));
    const nrde = new NrdeModel({ ...sizes, initialSize: 2 }, js64);
    const recurrent = new OdeRecurrentFastWeights({ inputChannels: 3, hiddenSize: 8 }, js64);
    const cases: [fw.ErrorCode, string, () => unknown][] = [
      ['INVALID_ARGUMENT', 'heads', () => new OdeModel({ ...sizes, heads: 3 })],
      ['INVALID_ARGUMENT', 'family', () => new OdeModel({ ...sizes, family: 'cde4' as never })],
      ['INVALID_ARGUMENT', 'hiddenSize', () => new OdeModel({ ...sizes, hiddenSize: 0 })],
      ['INVALID_ARGUMENT', 'dropout', () => new OdeModel({ ...sizes, dropout: 2 })],
      ['INVALID_ARGUMENT', 'width', () => new OdeModel({ ...sizes, width: 1 } as never)],
      ['INVALID_ARGUMENT', 'finalIndex', () => model.forward(x, TIMES, { finalIndex: [1, 4] })],
      ['INVALID_ARGUMENT', 'finalIndex', () => model.forward(x, TIMES, { finalIndex: [1] })],
      ['INVALID_ARGUMENT', 'times', () => model.forward(x, [0, 1, 1, 2])],
      ['SHAPE', 'x', () => model.forward(x, [0, 1])],
      ['INVALID_ARGUMENT', 'mapSize', () => new BigMapModel({ ...mapSizes, layers: 2 })],
      ['SHAPE', 'initial', () => nrde.forward(x.select(1, 0), x)],
      ['SHAPE', 'logSignatures', () => nrde.forward(fw.zeros([2, 2], js64), x.slice(1, 0, 0))],
      ['SHAPE', 'dt', () => recurrent.forward(x, fw.zeros([2, 3], js64))],
      [
        'INVALID_ARGUMENT',
        'dt[1]',
        () => recurrent.forward(x, fw.tensor([0, 0, 0, 0, -1, 0, 0, 0], { ...js64, shape: [2, 4] })),
      ],
    ];
    for (const [code, argument, fn] of cases) expect(expectError(code, /./, fn).argument).to.equal(argument);
  });
});
