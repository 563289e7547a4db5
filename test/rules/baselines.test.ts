// Recurrent baselines as rules and as layers.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Layer = fw.nn.RecurrentLayer<'hidden' | 'cell'>;
type State = fw.nn.RecurrentState<'hidden' | 'cell'>;

const LAYERS: [title: string, make: (where: fw.nn.BiasOptions) => fw.nn.Module][] = [
  ['RNN', (where) => new fw.nn.RNN(3, 5, where)],
  [
    'RNN of two layers, relu, without biases',
    (where) => new fw.nn.RNN(3, 5, { numLayers: 2, nonlinearity: 'relu', bias: false, ...where }),
  ],
  ['LSTM of two layers', (where) => new fw.nn.LSTM(3, 5, { numLayers: 2, ...where })],
  ['ELSTM', (where) => new fw.nn.ELSTM(3, 5, where)],
];

for (const where of targets()) {
  describe(`recurrent layers on ${where.device}, ${where.dtype}`, () => {
    const { forward } = toleranceOf(where.dtype);
    for (const [title, make] of LAYERS) {
      it(`${title}: packed, in pieces and token by token as each sequence alone`, () => {
        fw.manualSeed(2);
        fw.scope(() => {
          const layer = make(where) as Layer;
          const cuSeqlens = [0, 4, 4, 5, 13];
          const x = fw.randn([1, 13, 3], where);
          const packed = fw.noGrad(() => layer.forward(x, { cuSeqlens, outputState: true }));
          for (let n = 0; n + 1 < cuSeqlens.length; n++) {
            const [from, to] = [cuSeqlens[n], cuSeqlens[n + 1]];
            const middle = from + ((to - from) >> 1);
            const begin = fw.noGrad(() => layer.forward(x.slice(1, from, middle), { outputState: true }));
            const state = begin.state as State;
            const given = Object.values(state)[0].dataSync().slice();
            const rest = fw.noGrad(() => layer.forward(x.slice(1, middle, to), { state, outputState: true }));
            expect(Object.values(state)[0].dataSync()).to.deep.equal(given);
            const steps = fw.noGrad(() =>
              Array.from({ length: to - middle }, (_, t) =>
                layer.step(x.slice(1, middle + t, middle + t + 1).squeeze(1), state).unsqueeze(1),
              ),
            );
            const expected = packed.output.slice(1, from, to).dataSync();
            const pieces = fw.cat([begin.output, rest.output], 1);
            expectClose(`pieces ${n}`, pieces.dataSync(), expected, forward);
            expectClose(`steps ${n}`, fw.cat([begin.output, ...steps], 1).dataSync(), expected, forward);
            for (const [name, t] of Object.entries(packed.state!)) {
              const own = t.slice(1, n, n + 1).dataSync();
              expectClose(`${name} ${n}`, (rest.state as State)[name as 'cell'].dataSync(), own, forward);
              expectClose(`${name} ${n} in steps`, state[name as 'cell'].dataSync(), own, forward);
            }
          }
        });
      });
    }

    it('trains every weight, and has the names of PyTorch and of the authors', () => {
      const names = (layer: fw.nn.Module): string[] => Object.keys(layer.stateDict());
      const numbered = (l: number): string[] =>
        ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'].map((name) => `${name}_l${l}`);
      expect(names(LAYERS[0][1](where))).to.deep.equal(numbered(0));
      expect(names(LAYERS[2][1](where))).to.deep.equal([...numbered(0), ...numbered(1)]);
      expect(names(LAYERS[3][1](where))).to.deep.equal([
        ...['wm_z', 'wm_f', 'wv_z', 'wv_f', 'bias_z', 'bias_f'],
        ...['out_gate_linear.weight', 'out_gate_linear.bias'],
      ]);
      for (const [title, make] of LAYERS) {
        const layer = make(where) as Layer;
        layer
          .forward(fw.randn([2, 6, 3], where))
          .output.square()
          .sum()
          .backward();
        for (const [name, t] of layer.namedParameters())
          expect(t.grad!.abs().max().item(), `${title} ${name}`).to.be.above(0);
        layer.dispose();
      }
    });
  });
}

describe('recurrent baselines as rules', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });
  const layer = { weightIh0: z(8, 3), weightHh0: z(8, 2) };

  it('lstm is the same function of named inputs and of layers', () => {
    fw.manualSeed(3);
    const draw = (...shape: number[]): fw.Tensor => fw.randn(shape, { device: 'js', dtype: 'float64' });
    const [x, weightIh, weightHh, biasIh] = [draw(2, 7, 3), draw(8, 3), draw(8, 2), draw(8)];
    const [hidden, cell] = [draw(1, 2, 2), draw(1, 2, 2)];
    const named = {
      x,
      weightIh0: weightIh,
      weightHh0: weightHh,
      biasIh0: biasIh,
      initialHidden: hidden,
      initialCell: cell,
    };
    const a = fw.lstm(named, { outputFinalState: true });
    const b = fw.lstm(x, [{ weightIh, weightHh, biasIh }], { hidden, cell });
    expect(a.output.dataSync()).to.deep.equal(b.output.dataSync());
    expect(a.finalCell.dataSync()).to.deep.equal(b.finalState.cell.dataSync());
    expect(fw.getRule('lstm')).to.equal(fw.lstm);
  });

  it('name what does not fit', () => {
    const x = z(1, 4, 3);
    expectError('SHAPE', /lstm: weightHh0 must be \[4D, D\]/, () =>
      fw.lstm({ x, weightIh0: z(8, 3), weightHh0: z(8, 3) }),
    );
    expectError('INVALID_ARGUMENT', /lstm: weightHh1 must be a Tensor/, () => fw.lstm({ x, ...layer }, { layers: 2 }));
    expectError('INVALID_ARGUMENT', /lstm: unknown option weightIh1/, () =>
      fw.lstm({ x, ...layer, weightIh1: z(8, 2) }, { layers: 1 }),
    );
    expectError('SHAPE', /lstm: initialCell must be \[1, B, D\]/, () => fw.lstm({ x, ...layer, initialCell: z(1, 2) }));
    expectError('INVALID_ARGUMENT', /rnn: activation must be/, () =>
      fw.rnn({ x, weightIh0: z(2, 3), weightHh0: z(2, 2) }, { activation: 'gelu' as never }),
    );
    expectError('SHAPE', /elstm: gateWeight must be \[2, 5\]/, () =>
      fw.elstm({ x, weightZ: z(2, 3), weightF: z(2, 3), peepholeZ: z(2), peepholeF: z(2), gateWeight: z(2, 4) }),
    );
    fw.noGrad(() => {
      expectError('INVALID_ARGUMENT', /lstm.step: state must be { hidden, cell }/, () =>
        fw.lstm.step({ x: z(1, 3), ...layer }, {} as never),
      );
      expectError('SHAPE', /lstm.step: hidden must be \[1, B, D\]/, () =>
        fw.lstm.step({ x: z(1, 3), ...layer }, { state: { hidden: z(1, 2), cell: z(1, 1, 2) } }),
      );
    });
    expectError('INVALID_ARGUMENT', /RNN: hiddenSize must be/, () => new fw.nn.RNN(3, 0));
    expectError('INVALID_ARGUMENT', /LSTM: unknown option layers/, () => new fw.nn.LSTM(3, 2, { layers: 2 } as never));
  });
});
