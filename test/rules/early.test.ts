// The first fast weight programmers, and compositions of a slow net, an update rule and a fast net.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

/** A slow net of two layers, a decaying delta rule and a fast net with a hidden layer: two fast matrices. */
const deep = fw.composeFastWeights({
  slow: {
    inputs: { x: 'B T I', W1: '6 I', W2: '23 6' },
    program({ x, W1, W2 }) {
      const [q, k, v, u, beta] = fw.split(fw.linear(fw.linear(x, W1).tanh(), W2), [4, 4, 6, 8, 1], 2);
      return { q, k: fw.softmax(k, 2), v, u, beta: beta.sigmoid() };
    },
  },
  updateRule: {
    write({ first, second }, { k, v, u, beta }) {
      const read = k.unsqueeze(1).matmul(first).squeeze(1);
      const error = v.sub(read).mul(beta);
      const hidden = u.slice(1, 0, 6).sigmoid();
      return {
        first: first.mul(0.9).add(k.unsqueeze(2).mul(error.unsqueeze(1))),
        second: second.add(hidden.unsqueeze(2).mul(u.slice(1, 6).unsqueeze(1))),
      };
    },
  },
  fastNet: {
    weights: { first: 'B 4 6', second: 'B 6 2' },
    read: ({ first, second }, { q }) => q.unsqueeze(1).matmul(first).relu().matmul(second).squeeze(1),
  },
  read: 'before',
});

for (const where of targets()) {
  describe(`compositions on ${where.device}, ${where.dtype}`, () => {
    const sizes = { keyDim: 4, valueDim: 3, heads: 2 };
    const slowNet = fw.linearSlowNet({ ...sizes, featureMap: 'softmax' });
    const fastNet = fw.linearFastNet(sizes);
    const draw = (shape: number[]): fw.Tensor => fw.randn(shape, { ...where, requiresGrad: true });
    const weights = (): { x: fw.Tensor; Ws: fw.Tensor } => ({ x: draw([2, 9, 5]), Ws: draw([24, 5]) });

    it('the general recurrence gives what token after token gives, with every gradient', () => {
      fw.manualSeed(3);
      const inputs = { ...weights(), initialState: draw([2, 2, 4, 3]) };
      for (const read of ['after', 'before'] as const) {
        for (const updateRule of [fw.deltaUpdate(), { ...fw.sumUpdate() }]) {
          const results = [updateRule, { write: updateRule.write.bind(updateRule) }].map((rule) => {
            const composed = fw.composeFastWeights({ slow: slowNet, updateRule: rule, fastNet, read });
            const { output, finalState } = composed(inputs, { outputFinalState: true });
            const loss = output.square().sum().add(finalState.sum());
            const grads = fw.gradients([loss], Object.values(inputs));
            return [output, finalState, ...grads].map((t) => t.dataSync());
          });
          const { forward, gradient } = toleranceOf(where.dtype);
          results[0].forEach((one, i) => expectClose(`${read}, ${i}`, one, results[1][i], i < 2 ? forward : gradient));
        }
      }
    });

    it('two fast matrices of a deep fast net: in pieces, packed and token by token as at once', () => {
      fw.manualSeed(5);
      const cuSeqlens = [0, 4, 4, 11];
      const x = fw.randn([1, 11, 3], where);
      const own = { W1: fw.randn([6, 3], where), W2: fw.randn([23, 6], where) };
      const { forward } = toleranceOf(where.dtype);
      const packed = deep({ x, ...own }, { cuSeqlens, outputFinalState: true });
      for (let n = 0; n + 1 < cuSeqlens.length; n++) {
        const [from, to] = [cuSeqlens[n], cuSeqlens[n + 1]];
        const [first, second] = [fw.zeros([1, 4, 6], where), fw.zeros([1, 6, 2], where)];
        const step = (t: number): fw.Tensor =>
          deep.step({ x: x.slice(1, t, t + 1).squeeze(1), ...own }, { state: { first, second } });
        const steps = fw.noGrad(() => Array.from({ length: to - from }, (_, t) => step(from + t).unsqueeze(1)));
        const found = steps.length > 0 ? fw.cat(steps, 1) : fw.zeros([1, 0, 2], where);
        expectClose(`output ${n}`, found.dataSync(), packed.output.slice(1, from, to).dataSync(), forward);
        expectClose(`first ${n}`, first.dataSync(), packed.finalFirst.slice(0, n, n + 1).dataSync(), forward);
        expectClose(`second ${n}`, second.dataSync(), packed.finalSecond.slice(0, n, n + 1).dataSync(), forward);
      }
    });

    it('is the delta rule on the projections', () => {
      fw.manualSeed(4);
      const { x, Ws } = weights();
      const composed = fw.composeFastWeights({ slow: slowNet, updateRule: fw.deltaUpdate(), fastNet });
      const rows = fw.linear(x, Ws).reshape([2, 9, 2, 12]);
      const [q, k, v, beta] = fw.split(rows, [4, 4, 3, 1], 3);
      const options = { beta: beta.squeeze(3).sigmoid(), featureMap: 'softmax', scale: 1 } as const;
      const expected = fw.deltaRule(q, k, v, options).output.dataSync();
      const { forward } = toleranceOf(where.dtype);
      expectClose('output', composed({ x, Ws }).output.dataSync(), expected, forward);
    });
  });
}

describe('bad input to early fast weight programmers', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });
  const x = z(1, 2, 3);

  it('names the argument', () => {
    expectError('SHAPE', /outerProduct1991: Wb must be \[3, 3\]/, () =>
      fw.outerProduct1991({ x, Wa: z(5, 3), Wb: z(3, 4) }),
    );
    expectError('INVALID_ARGUMENT', /outerProduct1991: activation must be/, () =>
      fw.outerProduct1991({ x, Wa: z(5, 3), Wb: z(3, 3) }, { activation: 'gelu' as never }),
    );
    expectError('INVALID_ARGUMENT', /fromTo1992: delta must be left out with the interface 'fromTo'/, () =>
      fw.fromTo1992({ x, from: x, to: x, delta: z(1, 2, 3, 3) }),
    );
    expectError('INVALID_ARGUMENT', /fromTo1992: to must be a Tensor with the interface 'fromTo'/, () =>
      fw.fromTo1992({ x, from: x }),
    );
    expectError('SHAPE', /slowFastComposition: Ws must be/, () => fw.slowFastComposition({ x, Ws: z(5, 3) }));
    expectError('INVALID_ARGUMENT', /slowFastComposition: split must be .*beta/, () =>
      fw.slowFastComposition({ x, Ws: z(9, 3) }, { split: ['q', 'k', 'v'] }),
    );
    expectError('INVALID_ARGUMENT', /composeFastWeights: fastNet must be/, () =>
      fw.composeFastWeights({ slow: {}, updateRule: {} } as never),
    );
    expectError('INVALID_ARGUMENT', /linearFastNet: keyDim must be/, () =>
      fw.linearFastNet({ keyDim: 0, valueDim: 2 }),
    );
    expect(() => fw.linearSlowNet({ keyDim: 2, valueDim: 2, split: ['q', 'q'] as never })).to.throw(/split must be/);
  });
});
