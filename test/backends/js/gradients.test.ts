// Every backward kernel against central differences in float64, at odd sizes.
import type { KernelArguments } from '../../../lib/backends/table';
import { NORM_KINDS, UNARY_OPS } from '../../../lib/backends/table';
import type { Tensor } from '../../../lib/core';
import { array, CASES, checkGradients, int32, kernels, make, recurrenceArguments, source, type Case } from './helpers';

const like = (t: Tensor) => make(t.shape);
const maybeLike = (t: Tensor | null) => t && like(t);

function checkRecurrence(c: Case): void {
  const args = recurrenceArguments({ checkpointEvery: 4, heads: 2, K: 3, V: 5, ...c });
  const { heads, keyDim: K, valueDim: V, tokens, sequences } = args;
  const random = source(2);
  const doutput = random(args.output.shape);
  const dfinalState = random(args.finalState!.shape);
  const out = (t: Tensor | null, width: number) => t && make([1, tokens, heads, width]);
  const gradients = {
    dq: make([1, tokens, heads, c.exchanged ? V : K]),
    dk: make([1, tokens, heads, K]),
    dv: make([1, tokens, heads, V]),
    dgate: out(args.gate, args.gateWidth),
    dbeta: out(args.beta, args.betaWidth),
    deraseKey: out(args.eraseKey, K),
    dwriteKey: out(args.writeKey, K),
    dbonus: args.bonus && make([sequences, heads, K]),
    dmax: null,
    dinitialState: maybeLike(args.initialState),
  };
  kernels.recurrence(args);
  kernels.recurrenceBackward({
    ...args,
    states: args.states!,
    written: args.written!,
    doutput,
    dfinalState,
    ...gradients,
  });
  const checks: Record<string, readonly [Tensor, Tensor]> = {};
  const inputs = ['q', 'k', 'v', 'gate', 'beta', 'eraseKey', 'writeKey', 'bonus', 'initialState'] as const;
  for (const name of inputs) {
    const gradient = gradients[`d${name}`];
    if (args[name] && gradient)
      checks[name] = [args[name], name === 'bonus' ? summed(gradient) : grouped(gradient, args[name], heads)];
  }
  checkGradients(() => {
    kernels.recurrence(args);
    return [
      [args.output, doutput],
      [args.finalState!, dfinalState],
    ];
  }, checks);
}

/** Sums gradients per head of the state over the heads that share one of the operand's. */
function grouped(gradient: Tensor, input: Tensor, heads: number): Tensor {
  const sum = like(input);
  const share = heads / input.shape[2];
  if (gradient.size === input.size) return gradient;
  const width = input.shape[3] ?? 1;
  array(gradient).forEach((value, i) => {
    const row = Math.floor(i / width);
    array(sum)[Math.floor(row / share) * width + (i % width)] += value;
  });
  return sum;
}

function summed(gradient: Tensor): Tensor {
  const sum = make(gradient.shape.slice(1));
  array(gradient).forEach((value, i) => (array(sum)[i % sum.size] += value));
  return sum;
}

describe('js gradients', () => {
  for (const [name, c] of Object.entries(CASES)) {
    it(`recurrence: ${name}`, () => checkRecurrence({ ...c, lengths: [5, 0, 1, 9] }));
  }

  it('recurrence: strengths and decays of exactly 0', () => {
    const args = recurrenceArguments({ lengths: [6], gate: 'scalar', beta: 'scalar', erase: 1 });
    array(args.beta!).fill(0);
    array(args.gate!).fill(-Infinity, 4, 6);
    const shapes = {
      dq: like(args.q),
      dk: like(args.k),
      dv: like(args.v),
      dgate: like(args.gate!),
      dbeta: like(args.beta!),
    };
    const doutput = source(3)(args.output.shape);
    const none = {
      deraseKey: null,
      dwriteKey: null,
      dbonus: null,
      dmax: null,
      dinitialState: null,
      dfinalState: null,
    };
    kernels.recurrence(args);
    kernels.recurrenceBackward({ ...args, ...shapes, ...none, states: args.states!, written: args.written!, doutput });
    const run = () => (kernels.recurrence(args), [[args.output, doutput]] as const);
    checkGradients(run, { q: [args.q, shapes.dq], v: [args.v, shapes.dv], beta: [args.beta!, shapes.dbeta] });
  });

  it('unary', () => {
    UNARY_OPS.forEach((name, op) => {
      const positive = ['log', 'log1p', 'sqrt', 'rsqrt', 'pow'].includes(name);
      const x = source(op + 1)([23], positive ? 0.2 : -3, 3);
      const [a, b] = name === 'clamp' ? [-1, 1] : [1.7, 0.3];
      const [y, dx] = [like(x), like(x)];
      const dy = source(99)([23]);
      kernels.unary({ x, y, n: 23, op, a, b });
      kernels.unaryBackward({ x, y, dy, dx, n: 23, op, a, b });
      checkGradients(() => (kernels.unary({ x, y, n: 23, op, a, b }), [[y, dy]]), { [name]: [x, dx] });
    });
  });

  it('swiglu', () => {
    const random = source(4);
    const [gate, up, dy] = [random([13], -3, 3), random([13]), random([13])];
    const [y, dgate, dup] = [like(gate), like(gate), like(up)];
    kernels.swigluBackward({ gate, up, dy, dgate, dup, n: 13 });
    checkGradients(() => (kernels.swiglu({ gate, up, y, n: 13 }), [[y, dy]]), { gate: [gate, dgate], up: [up, dup] });
  });

  it('softmax', () => {
    for (const log of [0, 1]) {
      const x = source(5)([3, 7], -3, 3);
      const dy = source(6)([3, 7]);
      const [y, dx] = [like(x), like(x)];
      const shape = { rows: 3, n: 7, log };
      kernels.softmax({ x, y, ...shape });
      kernels.softmaxBackward({ y, dy, dx, ...shape });
      checkGradients(() => (kernels.softmax({ x, y, ...shape }), [[y, dy]]), { x: [x, dx] });
    }
  });

  it('norm', () => {
    NORM_KINDS.forEach((name, kind) => {
      const random = source(7);
      const shape = { rows: 6, n: 5, groups: 3, kind };
      const [x, weight, bias, dy] = [random([6, 5]), random([3, 5]), random([3, 5]), random([6, 5])];
      const [y, stats, dx, dweight, dbias] = [like(x), make([6, 2]), like(x), like(weight), like(bias)];
      const run = () => (kernels.norm({ x, weight, bias, y, stats, ...shape, eps: 1e-3 }), [[y, dy]] as const);
      run();
      kernels.normBackward({ x, weight, stats, dy, dx, dweight, dbias, ...shape, accumulate: 0 });
      checkGradients(run, { [name]: [x, dx], weight: [weight, dweight], bias: [bias, dbias] });
    });
  });

  it('embedding', () => {
    const weight = source(8)([4, 3]);
    const dy = source(9)([5, 3]);
    const indices = int32([1, 3, 1, 0, 1]);
    const [y, dweight] = [like(dy), like(weight)];
    kernels.embeddingBackward({ indices, dy, dweight, rows: 5, d: 3, vocabulary: 4 });
    checkGradients(() => (kernels.embedding({ weight, indices, y, rows: 5, d: 3, vocabulary: 4 }), [[y, dy]]), {
      weight: [weight, dweight],
    });
  });

  it('shortConv', () => {
    for (const activation of [0, 1]) {
      const random = source(10);
      const shape = { sequences: 4, tokens: 9, d: 3, width: 4, activation };
      const offsets = int32([0, 5, 5, 6, 9]);
      const [x, weight, bias, initialState] = [random([1, 9, 3]), random([3, 4]), random([3]), random([4, 3, 3])];
      const [dy, dfinalState] = [random([1, 9, 3]), random([4, 3, 3])];
      const [y, finalState] = [like(x), like(initialState)];
      const [dx, dweight, dbias, dinitialState] = [like(x), like(weight), like(bias), like(initialState)];
      const inputs = { x, weight, bias, initialState, offsets, ...shape };
      kernels.shortConvBackward({ ...inputs, dy, dfinalState, dx, dweight, dbias, dinitialState });
      checkGradients(
        () => (
          kernels.shortConv({ ...inputs, y, finalState }),
          [
            [y, dy],
            [finalState, dfinalState],
          ]
        ),
        { x: [x, dx], weight: [weight, dweight], bias: [bias, dbias], state: [initialState, dinitialState] },
      );
    }
  });

  it('cross entropy', () => {
    for (const softcap of [0, 2]) {
      const shape = { rows: 4, n: 7, ignoreIndex: -100, smoothing: 0.1, zLoss: 0.05, softcap };
      const logits = source(11)([4, 7], -3, 3);
      const target = int32([3, -100, 0, 6]);
      const dloss = source(12)([4]);
      const [loss, lse, dlogits] = [make([4]), make([4]), like(logits)];
      const run = () => (kernels.crossEntropy({ logits, target, loss, lse, ...shape }), [[loss, dloss]] as const);
      run();
      kernels.crossEntropyBackward({ logits, target, lse, dloss, dlogits, ...shape });
      checkGradients(run, { logits: [logits, dlogits] });
    }
  });

  it('attention', () => {
    const random = source(13);
    const check = (
      shape: Omit<KernelArguments<'attention'>, 'q' | 'k' | 'v' | 'y' | 'lse'>,
      Tq: number,
      Tk: number,
    ) => {
      const [q, k, v] = [random([Tq, 4, 3]), random([Tk, 2, 3]), random([Tk, 2, 5])];
      const dy = random([Tq, 4, 5]);
      const [y, lse, dq, dk, dv] = [like(dy), make([Tq, 4]), like(q), like(k), like(v)];
      const run = () => (kernels.attention({ q, k, v, y, lse, ...shape }), [[y, dy]] as const);
      run();
      kernels.attentionBackward({ q, k, v, y, lse, dy, dq, dk, dv, ...shape });
      checkGradients(run, { q: [q, dq], k: [k, dk], v: [v, dv] });
    };
    const shape = { heads: 4, keyHeads: 2, keyDim: 3, valueDim: 5, scale: 0.6 };
    check({ ...shape, offsets: null, sequences: 2, tokens: 3, keys: 5, window: 0 }, 6, 10);
    check({ ...shape, offsets: null, sequences: 1, tokens: 4, keys: 2, window: 0 }, 4, 2);
    check({ ...shape, offsets: int32([0, 4, 4, 5, 9]), sequences: 4, tokens: 9, keys: 9, window: 2 }, 9, 9);
  });

  it('LSTM cell', () => {
    const random = source(14);
    const [gates, cell, dhidden, dnewCell] = [random([3, 20]), random([3, 5]), random([3, 5]), random([3, 5])];
    const [newCell, hidden, dgates, dcell] = [like(cell), like(cell), like(gates), like(cell)];
    const shape = { rows: 3, d: 5 };
    kernels.lstmCell({ gates, cell, newCell, hidden, ...shape });
    kernels.lstmCellBackward({ gates, cell, newCell, dhidden, dnewCell, dgates, dcell, ...shape });
    checkGradients(
      () => (
        kernels.lstmCell({ gates, cell, newCell, hidden, ...shape }),
        [
          [hidden, dhidden],
          [newCell, dnewCell],
        ]
      ),
      { gates: [gates, dgates], cell: [cell, dcell] },
    );
  });
});
