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

  it('looks at what the parts of a composition return', () => {
    const parts = {
      slow: { inputs: { x: 'B T I' }, program: ({ x }: { x: fw.Tensor }) => ({ x }) },
      updateRule: { write: ({ s }: { s: fw.Tensor }, token: { x: fw.Tensor }) => ({ s: s.add(token.x) }) },
      fastNet: { weights: { s: 'B I' }, read: ({ s }: { s: fw.Tensor }) => s },
    };
    type Change = { [Part in keyof typeof parts]?: object };
    const run = (change: Change, inputs: object = { x }): unknown => {
      const composed = Object.fromEntries(
        Object.entries(parts).map(([part, own]) => [part, { ...own, ...change[part as keyof Change] }]),
      );
      return fw.composeFastWeights(composed as never)(inputs as never);
    };
    run({});
    const cases: [string, Change][] = [
      ['slow.inputs', { slow: { inputs: {} } }],
      ['slow.inputs', { slow: { inputs: 'B T I' } }],
      ['slow.inputs.x', { slow: { inputs: { x: 'foo' } } }],
      ['slow.inputs.x', { slow: { inputs: { x: 3 } } }],
      ['slow.inputs.x', { slow: { inputs: { x: 'B I' } } }],
      ['slow.inputs.x', { slow: { inputs: { x: 'B T I ' } } }],
      ['fastNet.weights', { fastNet: { weights: {} } }],
      ['fastNet.weights.s', { fastNet: { weights: { s: '3 I' } } }],
      ['fastNet.weights.s', { fastNet: { weights: { s: 'B I+' } } }],
      // Nothing says what Q is.
      ['initialS', { fastNet: { weights: { s: 'B Q' } } }],
      // `state` is not there to be read.
      ['fastNet.weights', { fastNet: { readout: (output: fw.Tensor) => output } }],
      ['fastNet.readout', { fastNet: { weights: { state: 'B 1 I I' }, readout: 3 } }],
      ...[undefined, {}, 3, Promise.resolve({ x }), x, { x: 3 }, { x: z(1, 3) }, { x: z(3) }].map(
        (program): [string, Change] => ['slow.program', { slow: { program: () => program } }],
      ),
      ...[undefined, {}, 3, z(1, 3), { other: z(1, 3) }, { s: 3 }, { s: z(1, 1, 3) }, { s: z(1, 3), t: z(1) }].map(
        (after): [string, Change] => ['updateRule.write', { updateRule: { write: () => after } }],
      ),
      ['fastNet.read', { fastNet: { read: () => undefined } }],
    ];
    for (const [argument, change] of cases) {
      const error = expectError('INVALID_ARGUMENT', /composeFastWeights: .* must be /, () => run(change));
      expect(error.argument, error.message).to.equal(argument);
    }
  });

  it('misses what an update rule or a fast net reads from a program', () => {
    const sizes = { keyDim: 2, valueDim: 3 };
    const slow = fw.linearSlowNet({ ...sizes, split: ['q', 'k', 'v'] });
    const fastNet = fw.linearFastNet(sizes);
    const missing = (part: string, name: string, rule: (inputs: never) => unknown): void => {
      const pattern = new RegExp(`${part}: program.${name} must be a Tensor`);
      expectError('INVALID_ARGUMENT', pattern, () => rule({ x, Ws: z(7, 3) } as never));
    };
    // @ts-expect-error: the program has no beta.
    missing('deltaUpdate', 'beta', fw.composeFastWeights({ slow, updateRule: fw.deltaUpdate(), fastNet }));
    const { write } = fw.deltaUpdate();
    // @ts-expect-error: nor has it here.
    missing('deltaUpdate', 'beta', fw.composeFastWeights({ slow, updateRule: { write }, fastNet }));
    const keys = { ...slow, program: (inputs: never) => ({ k: slow.program(inputs).k }) };
    missing('sumUpdate', 'q', fw.composeFastWeights({ slow: keys, updateRule: fw.sumUpdate(), fastNet } as never));
    const squashed = fw.sumUpdate({ activation: 'tanh' });
    missing('sumUpdate', 'v', fw.composeFastWeights({ slow: keys, updateRule: squashed, fastNet } as never));
    const still = { write: (weights: { state: fw.Tensor }) => weights };
    missing('linearFastNet', 'q', fw.composeFastWeights({ slow: keys, updateRule: still, fastNet } as never));
  });
});

describe('values that are not finite', () => {
  const where = { device: 'js' } as const;
  const with4 = (t: number, x: number): fw.Tensor =>
    fw.tensor(
      Array.from({ length: 18 }, (_, i) => (Math.floor(i / 3) === t ? x : 1)),
      { shape: [1, 6, 3], ...where },
    );

  it('are said by the token, and by the packed sequence, that led to them', () => {
    const one = with4(-1, 0);
    const cases: [RegExp, () => unknown][] = [
      [/output .* after token 4 \[/, () => fw.fromTo1992({ x: with4(4, NaN), from: one, to: one })],
      [/finalState .* after token 4 \[/, () => fw.fromTo1992({ x: one, from: one, to: with4(4, Infinity) })],
      [
        /finalState .* after token 1 of sequence 1 \[/,
        () => fw.fromTo1992({ x: one, from: one, to: with4(4, NaN) }, { cuSeqlens: [0, 3, 6] }),
      ],
      [
        /output .* after token 1 of sequence 1 \[/,
        () => fw.fromTo1992({ x: with4(4, NaN), from: one, to: one }, { cuSeqlens: [0, 3, 6] }),
      ],
      [/state must be free of NaN/, () => fw.hopfield({ patterns: one, state: with4(4, NaN) })],
    ];
    for (const [pattern, fn] of cases) expectError('INVALID_ARGUMENT', pattern, fn);
    const [from, to] = [one, one].map((t) => t.select(1, 0));
    const state = fw.zeros([1, 1, 3, 3], where);
    const x = with4(0, NaN).select(1, 0);
    fw.noGrad(() => {
      expectError('INVALID_ARGUMENT', /output must be finite/, () =>
        fw.fromTo1992.step({ x, from, to }, { state: { state } }),
      );
      const lost = fw.full([1, 1, 3, 3], NaN, where);
      expectError('INVALID_ARGUMENT', /step: state must be finite/, () =>
        fw.fromTo1992.step({ x: from, from, to }, { state: { state: lost } }),
      );
    });
  });
});

describe('bad input to what rules are made with', () => {
  const x = fw.zeros([1, 2, 3], { device: 'js' });
  const loop = { tokens: { x }, states: { s: x }, weights: {} };
  const none = undefined as never;
  const definition = {
    name: 'own',
    inputs: { x: 'B T I' },
    states: { s: 'B I' },
    options: {},
    settings: () => ({}),
    run: none,
  };
  const cases: [string, () => unknown][] = [
    ['definition', () => fw.defineSequential(none)],
    ['name', () => fw.defineSequential({} as never)],
    ['inputs', () => fw.defineSequential({ ...definition, inputs: [] } as never)],
    ['states.s', () => fw.defineSequential({ ...definition, states: { s: 'I' } })],
    ['options', () => fw.defineSequential({ ...definition, options: 3 } as never)],
    ['settings', () => fw.defineSequential({ ...definition, settings: {} } as never)],
    ['run', () => fw.defineSequential(definition)],
    ['loop', () => fw.overTime(none, none)],
    ['tokens', () => fw.overTime({} as never, none)],
    ['tokens', () => fw.overTime({ ...loop, tokens: {} }, none)],
    ['tokens', () => fw.inSegments({ ...loop, tokens: { x: fw.zeros([1, 0]) } }, 1, none)],
    ['states', () => fw.inSegments({ tokens: { x } } as never, 1, none)],
    ['states.s', () => fw.overTime({ ...loop, states: { s: 3 as never } }, none)],
    ['weights', () => fw.overTime({ ...loop, weights: none }, none)],
    ['step', () => fw.overTime(loop, none)],
    ['step', () => fw.overTime(loop, () => none)],
    ['step', () => fw.overTime(loop, () => ({ output: x, states: {} }) as never)],
    ['run', () => fw.inSegments(loop, 1, none)],
    ['run', () => fw.inSegments(loop, 1, () => ({ output: 3, states: loop.states }) as never)],
    ['length', () => fw.inSegments(loop, 0, () => none)],
  ];
  it('names the argument', () => {
    for (const [argument, fn] of cases) {
      const error = expectError('INVALID_ARGUMENT', /must be /, fn);
      expect(error.argument, error.message).to.equal(argument);
    }
  });
});
