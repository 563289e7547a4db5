// Bits of a sequence do not depend on what else is in the batch, nor on when it runs: alone, and packed between
// neighbours that are all NaN.
import { expect } from 'chai';
import * as fw from '../../lib';
import { Draw, type HostInputs, type HostTensor, hostInputs, RULES, toDevice } from '../support/ruleInputs';
import { onEmulation } from './device';

const where = { device: 'cuda-emulation', dtype: 'float32' } as const;
const [L, K, V] = [20, 20, 24];

/** Tokens before and after the sequence of L, and whether offsets say so. */
interface Packing {
  before: number;
  after: number;
  packed: boolean;
}

/** Values along a dimension that `before` and `after` prolong, all NaN there. */
function among({ shape, data }: HostTensor, dim: number, before: number, after: number): HostTensor {
  const row = data.length / shape[dim];
  const wide = new Float64Array(row * (before + shape[dim] + after)).fill(NaN);
  wide.set(data, row * before);
  return { shape: shape.map((n, i) => (i === dim ? before + n + after : n)), data: wide };
}

type Call = (inputs: Record<string, fw.Tensor>, options: object) => { output: fw.Tensor; finalState?: fw.Tensor };

/** Output, final state and gradients of the sequence's own part. Inputs of three dimensions and more have tokens. */
function evaluate(call: Call, host: HostInputs, stateShape: number[] | null, at: Packing): Record<string, number[]> {
  const { before, after, packed } = at;
  // Beside the neighbours an empty sequence.
  const cuSeqlens = packed ? [0, before, before, before + L, before + L + after] : undefined;
  const place = (t: HostTensor): HostTensor => among(t, 1, before, after);
  const placeState = (t: HostTensor): HostTensor => among(t, 0, packed ? 2 : 0, packed ? 1 : 0);
  const draw = new Draw(6);
  const state = stateShape && draw.uniform([1, ...stateShape], -1, 1);
  return fw.scope(() => {
    const wide = Object.entries(host).map(([name, t]) => [name, t.shape.length < 3 ? t : place(t)] as const);
    const given = { ...Object.fromEntries(wide), ...(state && { initialState: placeState(state) }) };
    const inputs = toDevice(given, where, { requiresGrad: true });
    const { output, finalState } = call(inputs, { cuSeqlens, outputFinalState: state !== null });
    const row = output.shape.slice(2);
    const cotangent = place(draw.uniform([1, L, ...row], -1, 1));
    let loss = output.mul(fw.tensor(cotangent.data, { shape: cotangent.shape, ...where })).sum();
    if (finalState) {
      const { data, shape } = placeState(draw.uniform([1, ...stateShape!], -1, 1));
      loss = loss.add(finalState.mul(fw.tensor(data, { shape, ...where })).sum());
    }
    loss.backward();
    const own = (t: fw.Tensor, dim: 0 | 1): number[] => {
      const begin = dim === 1 ? before : packed ? 2 : 0;
      return Array.from(t.slice(dim, begin, begin + (dim === 1 ? L : 1)).dataSync());
    };
    const results: Record<string, number[]> = { output: own(output.detach(), 1) };
    if (finalState) results.finalState = own(finalState.detach(), 0);
    for (const [name, t] of Object.entries(inputs)) {
      if (t.ndim >= 3) results[`gradient of ${name}`] = own(t.grad!, name === 'initialState' ? 0 : 1);
      t.grad!.dispose();
    }
    return results;
  });
}

function check(call: Call, host: HostInputs, stateShape: number[] | null): void {
  const alone = evaluate(call, host, stateShape, { before: 0, after: 0, packed: false });
  for (const [name, values] of Object.entries(alone)) {
    expect(values.every(Number.isFinite), `${name} is finite`).to.equal(true);
  }
  for (const [before, after] of [
    [0, 0],
    [1, 3],
    [16, 17],
  ])
    expect(evaluate(call, host, stateShape, { before, after, packed: true })).to.deep.equal(alone);
}

if (onEmulation) {
  describe('a sequence between others on the emulated card', function () {
    this.timeout(120_000);
    before(() => fw.setChecks(false));
    after(() => fw.setChecks('values'));

    for (const rule of RULES.filter(({ perToken }) => !perToken)) {
      it(`${rule.name}: its own bits`, () => {
        const sizes = { B: 1, T: L, H: 1, HV: 1, K, V };
        check((inputs, options) => rule.call(inputs, { ...rule.options, ...options }), hostInputs(rule, sizes, 3), [
          1,
          K,
          V,
        ]);
      });
    }

    it('attention: its own bits', () => {
      const draw = new Draw(2);
      const [q, k, v] = [2, 1, 1].map((heads, i) => draw.uniform([1, L, heads, i === 2 ? V : K], -1, 1));
      check(
        (x, { cuSeqlens }: { cuSeqlens?: number[] }) => ({ output: fw.softmaxAttention(x.q, x.k, x.v, { cuSeqlens }) }),
        { q, k, v },
        null,
      );
    });

    it('short convolution: its own bits', () => {
      const draw = new Draw(2);
      const host = { x: draw.uniform([1, L, 40], -1, 1), w: draw.uniform([40, 4], -1, 1) };
      check(
        ({ x, w, ...state }, options) => fw.shortConvolution(x, w, { ...state, ...options, activation: 'silu' }),
        host,
        [40, 3],
      );
    });

    it('products: a row has its own bits, however many there are', () => {
      for (const k of [40, 700, 2100]) {
        const [x, w] = [fw.randn([200, k]), fw.randn([70, k])];
        const whole = fw.linear(x, w).dataSync();
        for (const [begin, end] of [
          [0, 1],
          [5, 22],
          [100, 200],
        ])
          expect(
            fw.linear(x.slice(0, begin, end).contiguous(), w).dataSync(),
            `rows ${begin} to ${end} of ${k}`,
          ).to.deep.equal(whole.slice(70 * begin, 70 * end));
      }
    });
  });
}
