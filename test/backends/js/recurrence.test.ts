// The recurrence three ways: chunks, token by token over a sequence, and one step at a time.
import { expect } from 'chai';
import type { KernelArguments } from '../../../lib/backends/table';
import { Tensor } from '../../../lib/core';
import { array, CASES, expectClose, kernels, make, recurrenceArguments } from './helpers';

type Arguments = KernelArguments<'recurrence'>;

/** One token of [1, T, H, ...] as [1, H, ...]. */
const tokenOf = (t: Tensor, token: number) =>
  new Tensor(
    t.storage,
    [1, ...t.shape.slice(2)],
    [t.strides[1], ...t.strides.slice(2)],
    t.offset + token * t.strides[1],
  );

/** Runs the arguments through recurrenceStep; returns output and final states. */
function stepped(args: Arguments): { output: Float64Array; state: Float64Array } {
  const { heads, keyDim, valueDim } = args;
  const size = heads * keyDim * valueDim;
  const starts = array(args.offsets!);
  const state = new Float64Array(args.sequences * size);
  const output = new Float64Array(array(args.output).length);
  const width = output.length / args.tokens;
  for (let n = 0; n < args.sequences; n++) {
    const S = make([1, heads, keyDim, valueDim]);
    if (args.initialState) array(S).set(array(args.initialState).subarray(n * size, (n + 1) * size));
    for (let t = starts[n]; t < starts[n + 1]; t++) {
      const y = make([1, width]);
      const at = (x: Tensor | null) => x && tokenOf(x, t);
      kernels.recurrenceStep({
        ...args,
        q: tokenOf(args.q, t),
        k: tokenOf(args.k, t),
        v: tokenOf(args.v, t),
        gate: at(args.gate),
        beta: at(args.beta),
        eraseKey: at(args.eraseKey),
        writeKey: at(args.writeKey),
        state: S,
        output: y,
        sequences: 1,
      });
      output.set(array(y), t * width);
    }
    state.set(array(S), n * size);
  }
  return { output, state };
}

function expectAllEqual(args: Arguments, tolerance: number): void {
  const reference = stepped(args);
  kernels.recurrence(args);
  expectClose(array(args.output), reference.output, tolerance, 'output');
  expectClose(array(args.finalState!), reference.state, tolerance, 'state');
  const written = Float64Array.from(array(args.written!));
  const states = Float64Array.from(array(args.states!));
  for (const keep of [true, false]) {
    const kept = keep ? {} : { states: null, written: null };
    kernels.recurrence({ ...args, ...kept, recurrent: 0 });
    expectClose(array(args.output), reference.output, tolerance, 'chunk output');
    expectClose(array(args.finalState!), reference.state, tolerance, 'chunk state');
  }
  expectClose(array(args.written!), written, tolerance, 'written');
  expectClose(array(args.states!), states, tolerance, 'states');
}

describe('js recurrence', () => {
  // The token loop takes odd and even widths of keys in different ways.
  const cases = Object.entries(CASES).flatMap(([name, c]) =>
    [5, 6].map((K) => [`${name}, K ${K}`, { ...c, K }] as const),
  );
  for (const [name, c] of cases) {
    it(`chunk = recurrent = step: ${name}`, () => {
      for (const length of [0, 1, 15, 16, 17, 33, 65]) {
        expectAllEqual(recurrenceArguments({ ...c, lengths: [3, length, 0] }, length + 1), 1e-12);
      }
      expectAllEqual(recurrenceArguments({ ...c, checkpointEvery: 5 }), 1e-12);
    });

    it(`strong gates stay finite and right: ${name}`, () => {
      expectAllEqual(recurrenceArguments({ ...c, lengths: [40], gateLow: -40 }), 1e-12);
      const args = recurrenceArguments({ ...c, lengths: [40] });
      if (!args.gate) return;
      array(args.gate).fill(-Infinity, 20, 30);
      expectAllEqual(args, 1e-12);
    });

    it(`float32 is within 1e-5 of float64: ${name}`, () => {
      const narrow = recurrenceArguments({ ...c, lengths: [100], dtype: 'float32' });
      const wide = recurrenceArguments({ ...c, lengths: [100] });
      for (const key of ['q', 'k', 'v', 'gate', 'beta', 'eraseKey', 'writeKey', 'bonus', 'initialState'] as const) {
        if (wide[key]) array(wide[key]).set(array(narrow[key]!));
      }
      for (const recurrent of [0, 1]) {
        kernels.recurrence({ ...narrow, recurrent });
        kernels.recurrence({ ...wide, recurrent });
        expectClose(array(narrow.output), array(wide.output), 1e-6, 'output');
      }
    });
  }

  it('reads strided operands', () => {
    const args = recurrenceArguments({ lengths: [20], beta: 'scalar', erase: 1 });
    const { output } = stepped(args);
    const fused = make([1, 20, 2, 10]);
    for (let row = 0; row < 40; row++) {
      for (let i = 0; i < 5; i++) {
        array(fused)[row * 10 + i] = array(args.q)[row * 5 + i];
        array(fused)[row * 10 + 5 + i] = array(args.k)[row * 5 + i];
      }
    }
    const part = (at: number) => new Tensor(fused.storage, [1, 20, 2, 5], fused.strides, at);
    kernels.recurrence({ ...args, q: part(0), k: part(5) });
    expectClose(array(args.output), output, 1e-12);
  });

  it('gives a sequence the same bits whatever else is packed with it', () => {
    const both = recurrenceArguments({ lengths: [21, 40], gate: 'scalar', beta: 'scalar', erase: 1 });
    kernels.recurrence(both);
    const first = array(both.output).slice(0, 21 * 14);
    const alone = recurrenceArguments({ lengths: [21], gate: 'scalar', beta: 'scalar', erase: 1 });
    for (const key of ['q', 'k', 'v', 'gate', 'beta'] as const) {
      array(alone[key]!).set(array(both[key]!).subarray(0, array(alone[key]!).length));
    }
    kernels.recurrence(alone);
    expect([...array(alone.output)]).to.deep.equal([...first]);
  });

  it('leaves nothing of a call to the next', () => {
    const gates = { gate: 'vector', beta: 'scalar', erase: 1 } as const;
    const args = recurrenceArguments({ lengths: [40], K: 6, ...gates });
    kernels.recurrence(args);
    const output = array(args.output).slice();
    const narrow = recurrenceArguments({ lengths: [40], K: 4, ...gates });
    for (const key of ['q', 'k', 'v', 'gate', 'beta'] as const) array(narrow[key]!).fill(NaN);
    kernels.recurrence(narrow);
    kernels.recurrence(args);
    expect([...array(args.output)]).to.deep.equal([...output]);
  });
});
