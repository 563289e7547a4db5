// Attention to slots: the authors' vectors, what its definitions say of single slots, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

describeFolders('gsa', 'abc');

const on = { device: 'js', dtype: 'float64' } as const;

describe('attention to slots', () => {
  it('abc: every slot holds means weighted by exp(slots), whatever its scores add up to', () => {
    const [T, K, V, M] = [6, 3, 2, 2];
    const [q, k, v] = [K, K, V].map((d) => fw.rand([1, T, 1, d], { ...on, low: -1 }));
    for (const offset of [0, 800, -800]) {
      const slots = fw.rand([1, T, 1, M], { ...on, low: -2, high: 2 }).add(offset);
      const { output, finalKeyState } = fw.abc(q, k, v, { slots, outputFinalState: true });
      const weights = slots.softmax(1).reshape(T, M);
      const mean = k.reshape(T, K).t().matmul(weights);
      expectClose('keys', finalKeyState.dataSync(), mean.dataSync(), 1e-12);
      const attention = q
        .reshape(T, K)
        .slice(0, -1)
        .mul(K ** -0.5)
        .matmul(mean)
        .softmax(-1);
      const read = attention.matmul(weights.t().matmul(v.reshape(T, V)));
      expectClose('output', output.slice(1, -1).dataSync(), read.dataSync(), 1e-12);
    }
  });

  it('abc: what stood in the slots before keeps its weight where no sum of scores is given', () => {
    const at = { q: fw.ones([1, 1, 1, 1], on), slots: fw.full([1, 1, 1, 1], -5, on) };
    const initialKeyState = fw.full([1, 1, 1, 1], 2, on);
    const before = { initialKeyState, outputFinalState: true } as const;
    const { finalKeyState, finalLogSum } = fw.abc(at.q, at.q, at.q, { slots: at.slots, ...before });
    expect(finalKeyState.item()).to.be.closeTo(3, 1e-12);
    expect(finalLogSum.item()).to.be.closeTo(-5, 1e-12);
  });

  it('refuses what does not fit', () => {
    const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, on);
    const [q, k, v, slots] = [z(1, 3, 4, 5), z(1, 3, 2, 5), z(1, 3, 2, 6), z(1, 3, 2, 7)];
    const gate = slots;
    expectError('SHAPE', /gsa: q must be a multiple of the 2 heads of k, got 3 heads/, () =>
      fw.gsa(z(1, 3, 3, 5), k, v, { slots, gate }),
    );
    expectError('SHAPE', /gsa: gate must be \[1, 3, 2, 7\]/, () => fw.gsa(q, k, v, { slots, gate: z(1, 3, 4, 7) }));
    expectError('INVALID_ARGUMENT', /gsa: gate must be a Tensor/, () => fw.gsa(q, k, v, { slots } as never));
    expectError('INVALID_ARGUMENT', /gsa: gate must be <= 0/, () => fw.gsa(q, k, v, { slots, gate: gate.add(0.1) }));
    expectError('INVALID_ARGUMENT', /gsa: scale must be a finite number/, () =>
      fw.gsa(q, k, v, { slots, gate, scale: NaN }),
    );
    expectError('INVALID_ARGUMENT', /abc: unknown option gate/, () => fw.abc(q, k, v, { slots, gate } as never));
    expectError('SHAPE', /abc: initialLogSum must be \[1, 2, 7\]/, () =>
      fw.abc(q, k, v, { slots, initialLogSum: z(1, 4, 7) }),
    );
    fw.noGrad(() => {
      const state = { keyState: z(1, 2, 5, 7), valueState: z(1, 2, 6, 7) };
      const token = (t: fw.Tensor): fw.Tensor => t.slice(1, 0, 1).squeeze(1);
      expectError('SHAPE', /gsa.step: valueState must be \[1, 2, 7, 6\]/, () =>
        fw.gsa.step(token(q), token(k), token(v), { slots: token(slots), gate: token(gate), state }),
      );
    });
  });
});
