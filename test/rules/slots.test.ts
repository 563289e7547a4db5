// Attention to slots: the authors' vectors, what its definitions say of single slots, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { B, H, K, keyed, perHead, T, V, wide } from '../support/ruleLoops';
import { expectClose } from '../support/tolerance';
import { byToken, describeLoops, dot, heads } from '../support/twoLoops';

describeFolders('gsa', 'abc');

const on = { device: 'js', dtype: 'float64' } as const;

const R = 5;

/** Share of slot 0 in a place x slots away, by the trigonometric polynomial through 1, 0, 0, ... on a circle of R. */
const kernel = (x: number): number => [1, 2].reduce((sum, j) => sum + 2 * Math.cos((2 * Math.PI * j * x) / R), 1) / R;

describeLoops({
  title: 'cyclicFlowAttention',
  draw: (d) => ({
    ...keyed(d),
    gate: perHead(d, -1, 0),
    beta: perHead(d, 0, 1),
    delta: perHead(d, 0, 2),
    readout: d.uniform([H, R, R], -2, 2),
  }),
  // Each query over all tokens so far: no memory, and places instead of waves.
  numbers: ({ readout, ...inputs }) => {
    const of = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, heads<unknown>(x)])) as {
      [name: string]: number[][] & number[][][];
    };
    const outputs = Array.from({ length: B * H }, (_, n) => {
      const [q, k, v] = ['q', 'k', 'v'].map((name) => of[name][n] as unknown as number[][]);
      const [gate, beta, delta] = ['gate', 'beta', 'delta'].map((name) => of[name][n] as unknown as number[]);
      const table = (readout as number[][][])[n % H];
      const between = (x: number[], i: number, t: number): number =>
        x.slice(i + 1, t + 1).reduce((sum, each) => sum + each, 0);
      return q.map((query, t) => {
        const shares = k
          .slice(0, t + 1)
          .map((_, i) =>
            table.map((__, r) => Math.exp(between(gate, i, t)) * beta[i] * kernel(r - between(delta, i, t))),
          );
        const slots = table.map((_, r) =>
          shares.reduce((sum, share, i) => sum + share[r] * dot(k[i], query) * K ** -0.5, 0),
        );
        const scores = table.map((row) => Math.exp(dot(row, slots)));
        const total = scores.reduce((a, b) => a + b, 0);
        const weights = slots.map((_, r) => table.reduce((sum, row, s) => sum + (row[r] * scores[s]) / total, 0));
        return v[0].map((_, j) => shares.reduce((sum, share, i) => sum + dot(share, weights) * v[i][j], 0));
      });
    });
    return { output: byToken(outputs, B, H) };
  },
  // The same of slots that are turned at every token.
  tensors: ({ q, k, v, gate, beta, delta, readout }) => {
    const shifted = (x: fw.Tensor): fw.Tensor => {
      const places = fw.arange(0, R, 1, on);
      const away = places.unsqueeze(1).sub(places).reshape(1, 1, R, R).sub(wide(x, 2));
      return [1, 2]
        .reduce(
          (sum, j) =>
            sum.add(
              away
                .mul((2 * Math.PI * j) / R)
                .cos()
                .mul(2),
            ),
          fw.ones([1], on),
        )
        .div(R);
    };
    let [keys, values] = [fw.zeros([B, H, R, K], on), fw.zeros([B, H, R, V], on)];
    const outputs = Array.from({ length: T }, (_, t) => {
      const [qt, kt, vt, gt, bt, dt] = [q, k, v, gate, beta, delta].map((x) => x.select(1, t));
      const first = fw.cat([fw.ones([1], on), fw.zeros([R - 1], on)]).reshape(1, 1, R, 1);
      const move = (slots: fw.Tensor, x: fw.Tensor): fw.Tensor =>
        fw
          .einsum('bhrs,bhsx->bhrx', shifted(dt), slots)
          .mul(wide(gt.exp(), 2))
          .add(first.mul(x.mul(bt.unsqueeze(-1)).unsqueeze(2)));
      [keys, values] = [move(keys, kt), move(values, vt)];
      const scores = fw.einsum('hsr,bhrk,bhk->bhs', readout, keys, qt).mul(K ** -0.5);
      return fw.einsum('bhs,hsr,bhrv->bhv', scores.softmax(-1), readout, values);
    });
    return { output: fw.stack(outputs, 1) };
  },
  rule: ({ q, k, v, ...more }) => ({ output: fw.cyclicFlowAttention(q, k, v, more as never).output }),
});

describe('attention to slots', () => {
  it('cyclicFlowAttention: whole rounds of the clock change nothing', () => {
    const tensors = ([shape, low, high]: [number[], number, number]): fw.Tensor => fw.rand(shape, { ...on, low, high });
    const [q, k, v] = [tensors([[1, 3, 2, 4], -1, 1]), tensors([[1, 3, 2, 4], -1, 1]), tensors([[1, 3, 2, 3], -1, 1])];
    const [gate, beta, delta] = [-1, 0, 0].map((low) => tensors([[1, 3, 2], low, low + 1]));
    const readout = tensors([[2, R, R], -1, 1]);
    const states = {
      initialKeyState: tensors([[1, 2, 4, R], -1, 1]),
      initialValueState: tensors([[1, 2, R, 3], -1, 1]),
    };
    const at = (clock: number): { output: fw.Tensor; finalClock: fw.Tensor } => {
      const initialClock = fw.full([1, 2], clock, on);
      const before = { ...states, initialClock, outputFinalState: true } as const;
      return fw.cyclicFlowAttention(q, k, v, { gate, beta, delta, readout, ...before });
    };
    const [near, far] = [at(1.5), at(1.5 + 1e6 * R)];
    expectClose('output', far.output.dataSync(), near.output.dataSync(), 1e-8);
    expectClose('clock', far.finalClock.dataSync(), near.finalClock.dataSync(), 1e-8);
    expect([...near.finalClock.dataSync()].every((x) => x >= 0 && x < R)).to.equal(true);
  });

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
    const cyclic = { gate: z(1, 3, 2), beta: z(1, 3, 2), delta: z(1, 3, 2), readout: z(2, 4, 4) };
    expectError('SHAPE', /readout must be \[2, R, R\] for an odd number R of slots, got \[2, 4, 4\]/, () =>
      fw.cyclicFlowAttention(k, k, v, cyclic),
    );
    expectError('SHAPE', /readout must be/, () => fw.cyclicFlowAttention(k, k, v, { ...cyclic, readout: z(2, 3, 5) }));
    expectError('INVALID_ARGUMENT', /gate must be <= 0/, () =>
      fw.cyclicFlowAttention(k, k, v, { ...cyclic, readout: z(2, 3, 3), gate: z(1, 3, 2).add(1) }),
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
