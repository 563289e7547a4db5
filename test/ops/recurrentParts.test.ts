// Token shift, the parts of RWKV-7 and the gates of Gated DeltaNet and Kimi Delta Attention.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';

describeFolders('gates', 'rwkv7Parts');

const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });

for (const where of targets()) {
  describe(`tokenShift on ${where.device}, ${where.dtype}`, () => {
    const x = (...rows: number[][][]): fw.Tensor => fw.tensor(rows, where);
    const tokens = [
      [1, 2],
      [4, 8],
      [16, 32],
    ];

    it('goes on from a state, in pieces, token by token and packed', () => {
      const initialState = fw.tensor([[100, 200]], where);
      const whole = fw.tokenShift(x(tokens), { initialState, outputFinalState: true });
      const expected = [
        [99, 198],
        [-3, -6],
        [-12, -24],
      ];
      expect(whole.output.tolist()).to.deep.equal([expected]);
      expect(whole.finalState.tolist()).to.deep.equal([[16, 32]]);
      const state = initialState.clone();
      for (const [t, token] of tokens.entries()) {
        const delta = fw.noGrad(() => fw.tokenShiftStep(fw.tensor([token], where), { state }));
        expect(delta.tolist()).to.deep.equal([expected[t]]);
        expect(state.tolist()).to.deep.equal([token]);
      }
      const packed = fw.tokenShift(x(tokens), {
        cuSeqlens: [0, 1, 1, 3],
        initialState: fw.tensor(
          [
            [0, 0],
            [7, 7],
            [5, 5],
          ],
          where,
        ),
        outputFinalState: true,
      });
      expect(packed.output.tolist()).to.deep.equal([
        [
          [-1, -2],
          [1, -3],
          [-12, -24],
        ],
      ]);
      expect(packed.finalState.tolist()).to.deep.equal([
        [1, 2],
        [7, 7],
        [16, 32],
      ]);
      const none = fw.tokenShift(fw.zeros([1, 0, 2], where), { initialState, outputFinalState: true });
      expect(none.output.shape).to.deep.equal([1, 0, 2]);
      expect(none.finalState.tolist()).to.deep.equal([[100, 200]]);
    });
  });
}

describe('decay gates', () => {
  it('are float32 beside a bfloat16 input, and are not rounded', () => {
    const x = fw.tensor([[[0.1, -3]]], { device: 'js', dtype: 'bfloat16' });
    const [aLog, dtBias] = [fw.tensor([0.3, 1.7], { device: 'js' }), fw.tensor([-4, 2], { device: 'js' })];
    const gate = fw.gatedDeltaNetGate(x, aLog, dtBias);
    expect(gate.dtype).to.equal('float32');
    expect(gate.tolist()).to.deep.equal(fw.gatedDeltaNetGate(x.to('float32'), aLog, dtBias).tolist());
    const kda = fw.kdaGate(x, fw.tensor([0.3], { device: 'js' }), dtBias, { lowerBound: -5 });
    expect(kda.dtype).to.equal('float32');
    expect(kda.dataSync().every((g) => g < 0 && g > -5)).to.equal(true);
  });
});

describe('inputs that do not fit', () => {
  const cases: [string, fw.ErrorCode, string, () => unknown][] = [
    ['tokenShift without time', 'SHAPE', 'x', () => fw.tokenShift(z(2, 3))],
    ['its state', 'SHAPE', 'initialState', () => fw.tokenShift(z(2, 3, 4), { initialState: z(1, 4) })],
    ['its offsets', 'INVALID_ARGUMENT', 'cuSeqlens', () => fw.tokenShift(z(1, 3, 4), { cuSeqlens: [0, 2] })],
    ['its options', 'INVALID_ARGUMENT', 'state', () => fw.tokenShift(z(1, 3, 4), { state: z(1, 4) } as never)],
    ['a step with its gradient', 'GRAPH', '', () => fw.tokenShiftStep(z(1, 4), { state: z(1, 4) })],
    ['the state of a step', 'SHAPE', 'state', () => fw.noGrad(() => fw.tokenShiftStep(z(1, 4), { state: z(4) }))],
    ['the key update', 'SHAPE', 'a', () => fw.rwkv7KeyUpdate(z(2, 4), z(2, 3), z(4))],
    ['its share', 'SHAPE', 'kA', () => fw.rwkv7KeyUpdate(z(2, 4), z(2, 4), z(1))],
    [
      'the output correction',
      'SHAPE',
      'x',
      () => fw.rwkv7OutputCorrection(z(2, 8), z(2, 2, 3), z(2, 2, 3), z(2, 2, 3), z(2, 3), z(2, 8)),
    ],
    [
      'its bonus',
      'SHAPE',
      'bonus',
      () => fw.rwkv7OutputCorrection(z(2, 6), z(2, 2, 3), z(2, 2, 3), z(2, 2, 3), z(3), z(2, 6)),
    ],
    ['rates per head', 'SHAPE', 'aLog', () => fw.gatedDeltaNetGate(z(1, 2, 3), z(2), z(3))],
    ['biases per channel', 'SHAPE', 'dtBias', () => fw.kdaGate(z(1, 2, 3, 4), z(3), z(3))],
    ['a gate above 0', 'INVALID_ARGUMENT', 'lowerBound', () => fw.kdaGate(z(3, 4), z(3), z(12), { lowerBound: 1 })],
    ['integers', 'DTYPE', 'x', () => fw.gatedDeltaNetGate(fw.zeros([3], { dtype: 'int32', device: 'js' }), z(3), z(3))],
  ];
  for (const [title, code, argument, run] of cases) {
    it(title, () => {
      const error = expectError(code, /./, run);
      if (argument !== '') expect(error.argument).to.equal(argument);
    });
  }
});
