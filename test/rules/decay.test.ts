// States that decay with nothing written to them: they end at 0, in every mode and on every device, and do not stay among
// the subnormal numbers, where 0.9 times the smallest is rounded to it again.
import { expect } from 'chai';
import * as fw from '../../lib';
import { kernelsOf } from '../../lib/ops';
import { targets } from '../support/golden';

const [H, K, V] = [2, 4, 3];

for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
  describe(`decaying states on ${where.device}`, () => {
    const state = (value: number): fw.Tensor => fw.full([1, H, K, V], value, where);
    const inputs = (...lead: number[]): [fw.Tensor, fw.Tensor, fw.Tensor] => [
      fw.ones([...lead, H, K], where),
      fw.zeros([...lead, H, K], where),
      fw.zeros([...lead, H, V], where),
    ];
    const expectZero = (t: fw.Tensor): void => {
      expect([...t.dataSync()].some(Boolean)).to.equal(false);
    };

    for (const width of [1, K]) {
      const gate = (...lead: number[]): fw.Tensor =>
        fw.full(width === 1 ? [...lead, H] : [...lead, H, K], Math.log(0.9), where);

      it(`step by step, ${width === 1 ? 'one gate per head' : 'gates per key'}`, () => {
        fw.noGrad(() => {
          const [q, k, v] = inputs(1);
          const S = state(1e-37);
          for (let t = 0; t < 40; t++) fw.deltaRule.step(q, k, v, { state: S, gate: gate(1) });
          expectZero(S);
          // The mode of the processor is the kernel's alone.
          expect(2 ** -1074 * Number(q.shape[0]), 'the numbers of JavaScript').to.be.above(0);
        });
      });

      for (const mode of ['chunk', 'recurrent'] as const) {
        it(`in whole sequences, ${mode}, ${width === 1 ? 'one gate per head' : 'gates per key'}`, () => {
          const T = 100;
          const options = { mode, gate: gate(1, T), initialState: state(1e-36), outputFinalState: true } as const;
          for (const rule of [fw.deltaRule, fw.gatedLinearAttention]) {
            const { finalState } = rule(...inputs(1, T), options);
            expectZero(finalState);
          }
        });
      }
    }

    it('the cell of an LSTM', () => {
      const gates = fw.tensor([-100, 2, 0, 0], { shape: [1, 4], ...where });
      let cell = fw.full([1, 1], 1e-37, where);
      for (let t = 0; t < 200; t++) {
        const [newCell, hidden] = [fw.zeros([1, 1], where), fw.zeros([1, 1], where)];
        kernelsOf(cell).lstmCell({ gates, cell, newCell, hidden, rows: 1, d: 1 });
        cell = newCell;
      }
      expectZero(cell);
    });
  });
}
