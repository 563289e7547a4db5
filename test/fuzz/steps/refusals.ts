// Calls that must be refused: sizes that do not fit, views that leave their memory, states and outputs that are none.
import * as fw from '../../../lib';
import type { Builder } from '../builder';

type Call = [text: string, run: (x: fw.Tensor) => fw.Tensor[]];

/** For an x [n, m] with both at least 2. */
const calls = (n: number, m: number): Call[] => [
  ['split(x, [-1, n + 1], 0)', (x) => fw.split(x, [-1, n + 1], 0)],
  ['split(x, [0.5, n - 0.5], 0)', (x) => fw.split(x, [0.5, n - 0.5], 0)],
  ['split(x, [n + 1], 0)', (x) => fw.split(x, [n + 1], 0)],
  ['split(x, [NaN, n], 0)', (x) => fw.split(x, [NaN, n], 0)],
  ['x.slice(0, 0, 1).expand(-5, m)', (x) => [x.slice(0, 0, 1).expand(-5, m)]],
  ['x.slice(0, 0, 1).expand(2.5, m)', (x) => [x.slice(0, 0, 1).expand(2.5, m)]],
  ['x.slice(0, 0, 1).expand(NaN, m)', (x) => [x.slice(0, 0, 1).expand(NaN, m)]],
  ['x.expand(-1, n, m)', (x) => [x.expand(-1, n, m)]],
  ['x.expand(n + 1, m)', (x) => [x.expand(n + 1, m)]],
  ['x.reshape(n, m + 1)', (x) => [x.reshape(n, m + 1)]],
  ['x.reshape(-1, -1)', (x) => [x.reshape(-1, -1)]],
  ['x.reshape(-n, -m)', (x) => [x.reshape(-n, -m)]],
  ['x.permute(0, 0)', (x) => [x.permute(0, 0)]],
  ['x.permute(0)', (x) => [x.permute(0)]],
  ['x.permute(0, 2)', (x) => [x.permute(0, 2)]],
  ['x.transpose(0, 2)', (x) => [x.transpose(0, 2)]],
  ['x.slice(0, 0.5, 1)', (x) => [x.slice(0, 0.5, 1)]],
  ['x.slice(2, 0, 1)', (x) => [x.slice(2, 0, 1)]],
  ['x.sum(2)', (x) => [x.sum(2)]],
  ['x.sum([0, -3])', (x) => [x.sum([0, -3])]],
  ['x.cumsum(-3)', (x) => [x.cumsum(-3)]],
  ['x.softmax(2)', (x) => [x.softmax(2)]],
  ['x.argmax(0.5)', (x) => [x.argmax(0.5)]],
  ['x.add(x of another shape)', (x) => [x.add(fw.zeros([n, m + 1], { device: x.device, dtype: x.dtype }))]],
  ['x.matmul(x of another depth)', (x) => [x.matmul(fw.zeros([m + 1, 2], { device: x.device, dtype: x.dtype }))]],
  ['x.matmul(int32)', (x) => [x.matmul(fw.zeros([m, 2], { device: x.device, dtype: 'int32' }))]],
  ['x.add(int32)', (x) => [x.add(fw.zeros([n, m], { device: x.device, dtype: 'int32' }))]],
  ['cat of other sizes', (x) => [fw.cat([x, fw.zeros([n, m + 1], { device: x.device, dtype: x.dtype })], 0)]],
  ['embedding(x, float)', (x) => [fw.embedding(x, x)]],
  ['layerNorm with a weight of another width', (x) => [fw.layerNorm(x, x.slice(0, 0, 1).reshape(m).slice(0, 1))]],
  ['expanded x in place', (x) => [fw.noGrad(() => x.detach().slice(0, 0, 1).expand(n, m).add_(1))]],
  ['dropout(x, 1.5)', (x) => [fw.dropout(x, 1.5)]],
  ['groupNorm(x, m + 1)', (x) => [fw.groupNorm(x, m + 1)]],
  ['rope of two dimensions', (x) => [fw.rope(x)]],
];

export function refusal(b: Builder): void {
  const { random } = b;
  const [n, m] = [random.int(2, 9), random.int(2, 9)];
  const [text, run] = random.pick(calls(n, m));
  const x = b.leaf([n, m]);
  b.emit('refusal', `x = t${x} [${n}, ${m}]: ${text}`, [x], ([t]) => run(t), { refused: true });
}

/** Packed sequences whose offsets fall, end elsewhere, or are no whole numbers. */
export function badPacking(b: Builder): void {
  const { random } = b;
  const T = random.int(2, 9);
  const cuSeqlens = random.pick([
    [0, T + 1],
    [0, T - 1],
    [1, T],
    [0, T, 1, T],
    [0, 0.5, T],
    [],
    [0, -1, T],
    [0, NaN, T],
  ]);
  const [q, k, v] = [0, 1, 2].map(() => b.leaf([1, T, 1, 3]));
  const text = `linearAttention(t${q}, t${k}, t${v}, { cuSeqlens: [${cuSeqlens.join(', ')}] })`;
  const run = (inputs: fw.Tensor[]): fw.Tensor[] => [
    fw.linearAttention(inputs[0], inputs[1], inputs[2], { cuSeqlens }).output,
  ];
  b.emit('refusal', text, [q, k, v], run, { refused: true });
}
