// The short convolution against itself on `js` in float64: every number of taps, channels that fill 16 bytes and that do
// not, rows that lie apart, sequences that end everywhere, states before and after.
import { expect } from 'chai';
import * as fw from '../../lib';
import { type Target, targets } from '../support/golden';
import { Draw, type HostInputs, rounded } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

interface Case {
  channels: number;
  taps: number;
  /** Tokens of each sequence; packed where there are several of them. */
  lengths: number[];
  batch?: number;
  activation?: 'silu';
  bias?: boolean;
  states?: boolean;
  /** Columns before and after, of a wider tensor that x is a slice of. */
  apart?: [number, number];
}

const PACKED = [0, 1, 2, 3, 4, 31, 0, 1, 60, 5, 64, 40, 0];

const CASES: Case[] = [
  ...[1, 2, 3, 4, 5].flatMap((taps): Case[] => [
    { channels: 16, taps, lengths: [150], batch: 2, activation: 'silu', bias: true, states: true },
    { channels: 16, taps, lengths: PACKED, activation: 'silu', bias: true, states: true },
    { channels: 7, taps, lengths: PACKED, states: true },
  ]),
  ...[1, 2, 3, 31, 32, 33, 63, 64, 65, 66, 67, 68].map((T): Case => ({
    channels: 8,
    taps: 4,
    lengths: [T],
    batch: 3,
    activation: 'silu',
    states: true,
  })),
  { channels: 300, taps: 4, lengths: [40], activation: 'silu', bias: true },
  { channels: 264, taps: 4, lengths: [70], batch: 2 },
  { channels: 4, taps: 4, lengths: [1300], bias: true, activation: 'silu' },
  { channels: 16, taps: 4, lengths: [70], apart: [8, 16], activation: 'silu' },
  { channels: 16, taps: 4, lengths: [70], apart: [3, 2], activation: 'silu' },
];

const titleOf = ({ channels, taps, lengths, batch = 1, activation, bias, states, apart }: Case): string =>
  [
    `${batch} x ${lengths.join('+')} tokens of ${channels}, ${taps} taps`,
    ...[activation, bias && 'bias', states && 'states', apart && `a slice after ${apart.join(' before ')}`],
  ]
    .filter(Boolean)
    .join(', ');

function inputsOf({
  channels: D,
  taps: W,
  lengths,
  batch = 1,
  bias,
  states,
  apart: [left, right] = [0, 0],
}: Case): HostInputs {
  const draw = new Draw(W + D);
  const T = lengths.reduce((a, b) => a + b);
  const N = lengths.length > 1 ? lengths.length : batch;
  return {
    x: draw.uniform([batch, T, left + D + right], -2, 2),
    weight: draw.uniform([D, W], -1, 1),
    ...(bias && { bias: draw.uniform([D], -1, 1) }),
    ...(states && { initialState: draw.uniform([N, D, W - 1], -2, 2) }),
  };
}

/** Output, final state, and the gradients of all that was given. */
function evaluate(given: Case, host: HostInputs, where: Target): Record<string, ArrayLike<number>> {
  const { channels, lengths, activation, states, apart: [left] = [0] } = given;
  let at = 0;
  const cuSeqlens = lengths.length > 1 ? [0, ...lengths.map((n) => (at += n))] : undefined;
  return fw.scope(() => {
    const leaves = Object.fromEntries(
      Object.entries(host).map(([name, { shape, data }]) => [
        name,
        fw.tensor(data, { shape, ...where, requiresGrad: true }),
      ]),
    );
    const { x, weight, bias, initialState } = leaves;
    const rows = x.slice(2, left, left + channels);
    const options = { bias, activation, initialState, cuSeqlens, outputFinalState: true };
    const { output, finalState } = fw.shortConvolution(rows, weight, options);
    const weighed = (t: fw.Tensor, seed: number): fw.Tensor => {
      const { g } = rounded({ g: new Draw(seed).uniform([...t.shape], -1, 1) });
      return t
        .mul(fw.tensor(g.data, { shape: t.shape, device: t.device, dtype: t.dtype }))
        .sum()
        .to(output.dtype);
    };
    const sum = weighed(output, 5);
    (states ? sum.add(weighed(finalState!, 6)) : sum).backward();
    const gradients = Object.entries(leaves).map(([name, t]) => [`gradient of ${name}`, t.grad!.dataSync()]);
    Object.values(leaves).forEach((t) => t.grad!.dispose());
    return {
      output: output.dataSync(),
      finalState: finalState!.dataSync(),
      ...Object.fromEntries(gradients),
    } as Record<string, ArrayLike<number>>;
  });
}

for (const where of targets({ bfloat16: true }).filter((t) => t.dtype !== 'float64')) {
  describe(`short convolution on ${where.device}, ${where.dtype}`, () => {
    for (const given of CASES) {
      it(titleOf(given), () => {
        const drawn = inputsOf(given);
        const host = where.dtype === 'bfloat16' ? rounded(drawn) : drawn;
        const reference = evaluate(given, host, { device: 'js', dtype: 'float64' });
        const actual = evaluate(given, host, where);
        const tolerance = toleranceOf(where.dtype);
        for (const [name, values] of Object.entries(reference)) {
          const isGradient = name.startsWith('gradient');
          const limit = isGradient ? tolerance.gradient : tolerance.forward;
          expectClose(name, actual[name], values, limit, isGradient ? 1e-3 * rms(reference.output) : 0);
        }
      });
    }
  });
}

/** Steps of texts one after the other: outputs, and the state after them. */
function steps(host: HostInputs, where: Target, texts: number, channels: number, taps: number): ArrayLike<number>[] {
  const tensors = Object.entries(host).map(([name, { data, shape }]) => [name, fw.tensor(data, { shape, ...where })]);
  const { x, weight, bias, state } = Object.fromEntries(tensors) as Record<string, fw.Tensor>;
  const outputs = fw.noGrad(() =>
    Array.from({ length: 3 }, (_, t) =>
      fw
        .shortConvolutionStep(x.slice(0, t * texts, (t + 1) * texts), weight, { state, bias, activation: 'silu' })
        .dataSync(),
    ),
  );
  expect(state.shape).to.eql([texts, channels, taps - 1]);
  return [...outputs, state.dataSync()];
}

for (const where of targets().filter((t) => t.dtype === 'float32')) {
  describe(`steps of the short convolution on ${where.device}`, () => {
    for (const [texts, channels, taps] of [2, 3, 4, 5].flatMap((taps) => [
      [1, 64, taps],
      [3, 37, taps],
    ])) {
      it(`${texts} x ${channels} channels, ${taps} taps: those of float64, and the same bits in any place`, () => {
        const draw = new Draw(7);
        const host = {
          x: draw.uniform([3 * texts, channels], -1, 1),
          weight: draw.uniform([channels, taps], -1, 1),
          bias: draw.uniform([channels], -1, 1),
          state: draw.uniform([texts, channels, taps - 1], -1, 1),
        };
        const found = fw.scope(() => steps(host, where, texts, channels, taps));
        const expected = fw.scope(() => steps(host, { device: 'js', dtype: 'float64' }, texts, channels, taps));
        found.forEach((values, i) => expectClose(`part ${i}`, values, expected[i], toleranceOf('float32').forward));
        // Channels that others come before.
        const turn = 5;
        const turned = (values: ArrayLike<number>, width: number, back = false): Float64Array<ArrayBuffer> =>
          Float64Array.from(values, (_, i) => {
            const [row, channel, at] = [Math.floor(i / width / channels), Math.floor(i / width) % channels, i % width];
            return values[(row * channels + ((channel + (back ? channels - turn : turn)) % channels)) * width + at];
          });
        const widths: Record<string, number> = { x: 1, weight: taps, bias: 1, state: taps - 1 };
        const other = Object.fromEntries(
          Object.entries(host).map(([name, { data, shape }]) => [name, { data: turned(data, widths[name]), shape }]),
        );
        const back = fw.scope(() => steps(other, where, texts, channels, taps));
        back.forEach((values, i) =>
          expect(turned(values, i < 3 ? 1 : taps - 1, true)).to.eql(Float64Array.from(found[i])),
        );
      });
    }
  });
}
