// Tensors on the js device for tests of its kernels, and central differences.
import { expect } from 'chai';
import { createJsBackend } from '../../../lib/backends/js';
import type { KernelArguments } from '../../../lib/backends/table';
import { HostRandom, sizeOf, Storage, Tensor, type DType, type TypedArray } from '../../../lib/core';

export const backend = createJsBackend();
export const { kernels } = backend;

export function make(shape: readonly number[], values?: ArrayLike<number>, dtype: DType = 'float64'): Tensor {
  const t = new Tensor(new Storage(backend, dtype, sizeOf(shape)), shape);
  if (values) array(t).set(Array.from(values));
  return t;
}

export function array(t: Tensor): TypedArray {
  return t.storage.handle as TypedArray;
}

/** A source of tensors with elements in [low, high). */
export function source(seed: number, dtype: DType = 'float64') {
  const random = new HostRandom(seed);
  return (shape: readonly number[], low = -1, high = 1): Tensor =>
    make(
      shape,
      Array.from({ length: sizeOf(shape) }, () => low + (high - low) * random.next()),
      dtype,
    );
}

export function int32(values: readonly number[]): Tensor {
  return make([values.length], values, 'int32');
}

export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = '',
): void {
  expect(actual.length, what).to.equal(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const scale = Math.max(1, Math.abs(expected[i]));
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance * scale)) {
      expect.fail(`${what}[${i}]: ${actual[i]} is not ${expected[i]}`);
    }
  }
}

/** Checks d(sum of outputs . weights) / d(input) against central differences, for every input that has a gradient. */
export function checkGradients(
  forward: () => readonly (readonly [output: Tensor, weights: Tensor])[],
  gradients: Record<string, readonly [input: Tensor, gradient: Tensor]>,
  step = 1e-5,
): void {
  const loss = () => {
    let sum = 0;
    for (const [output, weights] of forward()) {
      const y = array(output);
      const w = array(weights);
      for (let i = 0; i < y.length; i++) sum += y[i] * w[i];
    }
    return sum;
  };
  for (const [name, [input, gradient]] of Object.entries(gradients)) {
    const x = array(input);
    const numeric = Array.from(x, (value, i) => {
      x[i] = value + step;
      const above = loss();
      x[i] = value - step;
      const below = loss();
      x[i] = value;
      return (above - below) / (2 * step);
    });
    expectClose(array(gradient), numeric, 1e-7, name);
  }
}

/** A setting of the recurrence. */
export interface Case {
  lengths: readonly number[];
  heads?: number;
  keyHeads?: number;
  K?: number;
  V?: number;
  gate?: 'scalar' | 'vector';
  beta?: 'scalar' | 'vector';
  erase?: 0 | 1 | 2;
  ownKeys?: boolean;
  secondWrite?: boolean;
  readBefore?: boolean;
  bonus?: boolean;
  exchanged?: boolean;
  initial?: boolean;
  gateLow?: number;
  checkpointEvery?: number;
  dtype?: DType;
}

/** Random arguments of a case, packed into one batch row. */
export function recurrenceArguments(c: Case, seed = 1): KernelArguments<'recurrence'> {
  const { heads = 2, keyHeads = heads, K = 5, V = 7, erase = 0, checkpointEvery = 16, dtype = 'float64' } = c;
  const random = source(seed, dtype);
  const T = c.lengths.reduce((a, b) => a + b, 0);
  const N = c.lengths.length;
  const gateWidth = c.gate === 'vector' ? K : c.gate ? 1 : 0;
  const betaWidth = c.beta === 'vector' ? V : c.beta ? 1 : 0;
  const size = 1 / Math.sqrt(K);
  const key = () => random([1, T, keyHeads, K], -size, size);
  const offsets = [0];
  for (const length of c.lengths) offsets.push(offsets[offsets.length - 1] + length);
  const checkpoints = c.lengths.reduce((sum, length) => sum + Math.ceil(length / checkpointEvery), 0);
  return {
    q: random([1, T, keyHeads, c.exchanged ? V : K]),
    k: key(),
    v: random([1, T, heads, V]),
    gate: gateWidth ? random(gateWidth > 1 ? [1, T, heads, K] : [1, T, heads], c.gateLow ?? -1, 0) : null,
    beta: betaWidth ? random(betaWidth > 1 ? [1, T, heads, V] : [1, T, heads], 0.1, 1) : null,
    eraseKey: c.ownKeys && erase ? key() : null,
    writeKey: c.ownKeys ? key() : null,
    bonus: c.bonus ? random([heads, K]) : null,
    max: null,
    initialState: c.initial ? random([N, heads, K, V]) : null,
    offsets: int32(offsets),
    output: make([1, T, heads, c.exchanged ? K : V], undefined, dtype),
    sums: null,
    finalState: make([N, heads, K, V], undefined, dtype),
    states: make([checkpoints, heads, K, V], undefined, dtype),
    written: make([1, T, heads, V], undefined, dtype),
    sequences: N,
    tokens: T,
    heads,
    keyDim: K,
    valueDim: V,
    scale: 0.7,
    eps: 0,
    gateWidth,
    betaWidth,
    eraseFrom: erase,
    secondWrite: c.secondWrite ? 1 : 0,
    readBefore: c.readBefore ? 1 : 0,
    exchanged: c.exchanged ? 1 : 0,
    recurrent: 1,
    checkpointEvery,
  };
}

const lengths = [5, 0, 1, 18];

/** Every form of the recurrence, over packed sequences with empty and one-token members. */
export const CASES: Record<string, Case> = {
  'linear attention': { lengths },
  retention: { lengths, gate: 'scalar', initial: true },
  'gated linear attention': { lengths, gate: 'vector', initial: true },
  'delta rule': { lengths, beta: 'scalar', erase: 1, initial: true, keyHeads: 1 },
  'gated delta rule': { lengths, gate: 'scalar', beta: 'scalar', erase: 1, initial: true, heads: 4, keyHeads: 2 },
  'vector gate, vector strength': { lengths, gate: 'vector', beta: 'vector', erase: 1 },
  'keys of its own': { lengths, gate: 'vector', erase: 1, ownKeys: true, initial: true },
  'undecayed erase': { lengths, gate: 'scalar', beta: 'scalar', erase: 2, ownKeys: true },
  'undecayed erase, vector gate': { lengths, gate: 'vector', beta: 'vector', erase: 2, initial: true },
  'second write': { lengths, gate: 'vector', erase: 2, ownKeys: true, secondWrite: true, initial: true },
  'second write, decayed, strength': {
    lengths,
    gate: 'scalar',
    beta: 'scalar',
    erase: 1,
    ownKeys: true,
    secondWrite: true,
  },
  'read before, bonus': { lengths, gate: 'vector', readBefore: true, bonus: true, initial: true },
  'read before, delta rule': { lengths, gate: 'scalar', beta: 'scalar', erase: 1, readBefore: true, bonus: true },
  exchanged: { lengths, gate: 'vector', beta: 'scalar', erase: 1, exchanged: true, initial: true },
};
