// Operators over time that are no rules: convolution, attention, rotary positions, LSTM.
import * as fw from '../../../lib';
import type { Builder } from '../builder';
import { describe } from './rows';

export function convolution(b: Builder): void {
  const { random } = b;
  const T = b.tokens();
  const cuSeqlens = b.packing(T);
  const B = cuSeqlens ? 1 : random.int(1, 3);
  const N = cuSeqlens ? cuSeqlens.length - 1 : B;
  const [d, width] = [b.size(), random.int(1, 6)];
  const activation = random.pick(['silu', null] as const);
  const x = b.operand([B, T, d]);
  const tensors: Record<string, number> = { weight: b.operand([d, width]) };
  if (random.chance(0.5)) tensors.bias = b.operand([d]);
  if (random.chance(0.5)) tensors.initialState = b.operand([N, d, width - 1]);
  const names = Object.keys(tensors).slice(1);
  const options = { activation, outputFinalState: random.chance(0.7), cuSeqlens };
  const text = `shortConvolution(t${x}, ${describe(options, tensors)})`;
  b.emit('convolution', text, [x, ...Object.values(tensors)], ([t, w, ...rest]) => {
    const given = Object.fromEntries(names.map((name, i) => [name, rest[i]]));
    const { output, finalState } = fw.shortConvolution(t, w, { ...options, ...given });
    return finalState ? [output, finalState] : [output];
  });
}

export function convolutionStep(b: Builder): void {
  if (b.recorded) return;
  const { random } = b;
  const [B, d, width] = [random.int(1, 4), b.size(), random.int(1, 6)];
  const activation = random.pick(['silu', null] as const);
  const x = b.operand([B, d]);
  const weight = b.operand([d, width]);
  const state = b.leaf([B, d, width - 1], { packed: true });
  const bias = random.chance(0.5) ? b.operand([d]) : null;
  const text = `shortConvolutionStep(t${x}, t${weight}, { state: t${state}, bias: t${bias}, activation: ${activation} })`;
  const inputs = [state, x, weight, ...(bias === null ? [] : [bias])];
  const run = ([s, t, w, c]: fw.Tensor[]): fw.Tensor[] => [
    fw.shortConvolutionStep(t, w, { state: s, bias: c ?? null, activation }),
  ];
  b.emit('convolution', text, inputs, run, { inPlace: true });
}

export function attention(b: Builder): void {
  const { random } = b;
  const T = b.tokens();
  const cuSeqlens = b.packing(T);
  const B = cuSeqlens ? 1 : random.int(1, 2);
  const H = random.pick([1, 2, 4]);
  const heads = random.pick([1, 2, 4].filter((h) => H % h === 0));
  const S = cuSeqlens ? T : T + random.pick([0, 0, 1, 5, 64]);
  const [K, V] = [b.size(20), b.size(20)];
  const window = random.chance(0.3) ? random.int(1, 70) : null;
  const inputs = [b.operand([B, T, H, K]), b.operand([B, S, heads, K]), b.operand([B, S, heads, V])];
  const text = `softmaxAttention(${inputs.map((id) => `t${id}`).join(', ')}, ${describe({ cuSeqlens, window })})`;
  b.emit('attention', text, inputs, ([q, k, v]) => [fw.softmaxAttention(q, k, v, { cuSeqlens, window })]);
}

export function rope(b: Builder): void {
  const { random } = b;
  const T = b.tokens();
  const cuSeqlens = b.packing(T);
  const K = b.size(20);
  const x = b.operand([cuSeqlens ? 1 : random.int(1, 2), T, random.int(1, 3), K]);
  const options = {
    dims: 2 * random.int(0, Math.floor(K / 2)),
    interleaved: random.chance(0.5),
    // Far from the start float32 holds the angles themselves less exactly.
    offset: random.pick([0, 0, 7, 50]),
    modulo: random.pick([0, 0, 5]),
    cuSeqlens,
  };
  b.emit('rope', `rope(t${x}, ${describe(options)})`, [x], ([t]) => [fw.rope(t, options)]);
}

export function lstm(b: Builder): void {
  const { random } = b;
  const [B, T, d] = [random.int(1, 3), random.pick([0, 1, 2, 5]), Math.max(1, b.size(17))];
  const width = b.size(17);
  const layers = random.int(1, 2);
  const draw = (r: { normal(): number }): number => 0.3 * r.normal();
  const x = b.operand([B, T, width]);
  const weights = Array.from({ length: layers }, (_, l) => [
    b.leaf([4 * d, l === 0 ? width : d], { draw }),
    b.leaf([4 * d, d], { draw }),
    b.leaf([4 * d], { draw }),
    b.leaf([4 * d], { draw }),
  ]).flat();
  const state = random.chance(0.5) ? [b.operand([layers, B, d]), b.operand([layers, B, d])] : [];
  const text = `lstm(t${x}, weights t${weights.join(' t')}, states ${state.map((id) => `t${id}`).join(' ')})`;
  b.emit('lstm', text, [x, ...weights, ...state], ([t, ...rest]) => {
    const parts = Array.from({ length: layers }, (_, l) => {
      const [weightIh, weightHh, biasIh, biasHh] = rest.slice(4 * l, 4 * l + 4);
      return { weightIh, weightHh, biasIh, biasHh };
    });
    const [hidden, cell] = rest.slice(4 * layers);
    const { output, finalState } = fw.lstm(t, parts, hidden && { hidden, cell });
    return [output, finalState.hidden, finalState.cell];
  });
}
