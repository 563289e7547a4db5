// Elementwise operators, whole numbers, casts, dropout.
import * as fw from '../../../lib';
import type { Builder } from '../builder';

const UNARY = [
  'neg',
  'exp',
  'abs',
  'square',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'logSigmoid',
  'silu',
  'gelu',
  'softplus',
  'relu',
  'reciprocal',
  'sqrt',
  'rsqrt',
  'log',
] as const;
const BINARY = [
  'add',
  'sub',
  'mul',
  'div',
  'floorDivide',
  'remainder',
  'maximum',
  'minimum',
  'eq',
  'lt',
  'gt',
] as const;
const WHOLE = ['add', 'sub', 'mul', 'maximum', 'minimum', 'eq', 'lt', 'gt'] as const;
/** Random exponents, those with ways of their own among them. */
const EXPONENTS = [0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.7, 2.5];

export function unary(b: Builder): void {
  const { random } = b;
  const other = random.int(0, 5);
  if (other === 0) {
    const [low, high] = [random.uniform(-2, 0), random.uniform(0, 2)].map(Math.fround);
    const x = b.float();
    b.emit('unary', `t${x}.clamp(${low}, ${high})`, [x], ([t]) => [t.clamp(low, high)]);
  } else if (other === 1) {
    const exponent = random.pick(EXPONENTS);
    const x = b.float(undefined, 8);
    b.emit('unary', `t${x}.pow(${exponent})`, [x], ([t]) => [t.pow(exponent)]);
  } else if (other === 2) {
    const x = b.float();
    if (random.chance(0.5)) b.emit('unary', `elu1(t${x})`, [x], ([t]) => [fw.elu1(t)]);
    else b.emit('unary', `t${x}.gelu('tanh')`, [x], ([t]) => [t.gelu('tanh')]);
  } else {
    const op = random.pick(UNARY);
    const x = b.float(undefined, op === 'exp' ? 20 : undefined);
    b.emit('unary', `t${x}.${op}()`, [x], ([t]) => [t[op]()]);
  }
}

export function binary(b: Builder): void {
  const { random } = b;
  const x = b.float();
  const op = random.pick(BINARY);
  if (random.chance(0.2)) {
    const number = random.pick([0, 1, -1, 2, 0.5, -3, 1e-3]);
    b.emit('binary', `t${x}.${op}(${number})`, [x], ([t]) => [t[op](number)]);
    return;
  }
  const shape = b.tensor(x).shape;
  const y = b.operand(broadcastable(b, shape));
  const [first, second] = random.chance(0.5) ? [x, y] : [y, x];
  b.emit('binary', `t${first}.${op}(t${second})`, [first, second], ([s, t]) => [s[op](t)]);
}

/** A shape that broadcasts to another: some sizes 1, leading ones left out. */
export function broadcastable(b: Builder, shape: readonly number[]): number[] {
  const from = b.random.chance(0.3) ? b.random.int(0, shape.length) : 0;
  return shape.slice(from).map((d) => (b.random.chance(0.25) ? 1 : d));
}

/** int32: wraps in sums and products. */
export function whole(b: Builder): void {
  const { random } = b;
  const draw = (): number => (random.chance(0.1) ? random.int(-(2 ** 31), 2 ** 31 - 1) : random.int(-9, 9));
  const found = b.ids((t) => t.dtype === 'int32');
  const x =
    found.length > 0 && random.chance(0.7) ? random.pick(found) : b.leaf(b.shape(0, 3), { integer: true, draw });
  if (random.chance(0.15)) {
    b.emit('whole', `t${x}.sum()`, [x], ([t]) => [t.sum()]);
    return;
  }
  const op = random.pick(WHOLE);
  if (random.chance(0.2)) {
    const number = random.int(-5, 5);
    b.emit('whole', `t${x}.${op}(${number})`, [x], ([t]) => [t[op](number)]);
  } else {
    const y = b.leaf(broadcastable(b, b.tensor(x).shape), { integer: true, draw });
    b.emit('whole', `t${x}.${op}(t${y})`, [x, y], ([s, t]) => [s[op](t)]);
  }
}

export function quotient(b: Builder): void {
  const { random } = b;
  const shape = b.shape(0, 3);
  const x = b.leaf(shape, { integer: true, draw: (r) => r.int(-20, 20) });
  const y = b.leaf(broadcastable(b, shape), { integer: true, draw: (r) => r.pick([-7, -3, -1, 0, 1, 2, 3, 5]) });
  const op = random.pick(['div', 'pow', 'floorDivide', 'remainder'] as const);
  b.emit('quotient', `t${x}.${op}(t${y})`, [x, y], ([s, t], cx) => [s[op](t).to(cx.dtype)]);
}

export function cast(b: Builder): void {
  const { random } = b;
  const kind = random.pick(['int32', 'bfloat16', 'float']);
  if (kind === 'int32') {
    const x = b.float();
    b.emit('cast', `t${x}.to('int32')`, [x], ([t]) => [t.to('int32')]);
  } else if (kind === 'bfloat16') {
    const x = b.float();
    b.emit('cast', `t${x}.to('bfloat16').to(dtype)`, [x], ([t], cx) => [t.to('bfloat16').to(cx.dtype)]);
  } else {
    const x = b.leaf(b.shape(0, 3), { integer: true, draw: (r) => r.int(-100, 100) });
    b.emit('cast', `t${x}.to(dtype)`, [x], ([t], cx) => [t.to(cx.dtype)]);
  }
}

export function dropout(b: Builder): void {
  const [x, p, seed] = [b.float(), b.random.pick([0, 0.1, 0.5, 0.9]), b.random.int(0, 1000)];
  b.emit('dropout', `manualSeed(${seed}), dropout(t${x}, ${p})`, [x], ([t]) => {
    fw.manualSeed(seed);
    return [fw.dropout(t, p)];
  });
}
