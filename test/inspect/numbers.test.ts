// The numbers of an inspection against what the rules themselves compute.
import { expect } from 'chai';
import * as fw from '../../lib';
import { dualForm, inputsOf, outputOf, rankOf, singularValues, statesOf } from '../../lib/inspect';
import { type MemoryCall, observeMemories } from '../../lib/rules';
import { headsOf } from '../../lib/inspect/memory';
import { expectClose } from '../support/tolerance';

const where = { device: 'js', dtype: 'float64' } as const;
const [T, H, D] = [7, 2, 4];
const random = (...shape: number[]): fw.Tensor => fw.randn(shape, where);
const uniform = (...shape: number[]): fw.Tensor => fw.rand(shape, where);
const decays = (...shape: number[]): fw.Tensor => uniform(...shape).neg();
const vectors = (heads = H, width = D): fw.Tensor => random(1, T, heads, width);
const keys = { qkL2Norm: true };

/** Every rule with a matrix: its output and final states, [name of the matrix, state]; of all the matrices where they are summed. */
const CASES: [string, () => { output: fw.Tensor; [state: string]: unknown }, (string | null)[]?][] = [
  ['linearAttention', () => fw.linearAttention(vectors(), vectors(), vectors(), { outputFinalState: true })],
  [
    'linearAttention, normalised',
    () =>
      fw.linearAttention(vectors(), vectors(), vectors(), {
        featureMap: 'elu1',
        normalize: true,
        outputScale: 2,
        initialState: uniform(1, H, D, D),
        initialNormalizer: uniform(1, H, D),
        outputFinalState: true,
      }),
  ],
  ['retention', () => fw.retention(vectors(), vectors(), vectors(), { outputFinalState: true })],
  [
    'gatedLinearAttention',
    () =>
      fw.gatedLinearAttention(vectors(), vectors(), vectors(), { gate: decays(1, T, H, D), outputFinalState: true }),
  ],
  [
    'deltaRule, key heads shared, an initial state',
    () =>
      fw.deltaRule(vectors(1), vectors(1), vectors(H, 3), {
        ...keys,
        beta: uniform(1, T, H),
        gate: decays(1, T, H, D),
        initialState: random(1, H, D, 3),
        outputFinalState: true,
      }),
  ],
  [
    'deltaRule, a strength for each value',
    () =>
      fw.deltaRule(vectors(), vectors(), vectors(), {
        ...keys,
        beta: uniform(1, T, H, D),
        initialState: random(1, H, D, D),
        outputFinalState: true,
      }),
  ],
  [
    'deltaRule, normalised',
    () =>
      fw.deltaRule(vectors(), vectors(), vectors(), {
        featureMap: 'elu1',
        normalize: true,
        beta: uniform(1, T, H),
        outputFinalState: true,
      }),
  ],
  [
    'comba',
    () =>
      fw.comba(vectors(), vectors(), vectors(), {
        ...keys,
        p: vectors(),
        beta: uniform(1, T, H),
        gate: decays(1, T, H),
        outputFinalState: true,
      }),
  ],
  [
    'generalizedDeltaRule',
    () =>
      fw.generalizedDeltaRule(vectors(), vectors(), vectors(), {
        a: vectors(),
        b: vectors(),
        gate: decays(1, T, H, D),
        outputFinalState: true,
      }),
  ],
  [
    'gatedDeltaRule2',
    () =>
      fw.gatedDeltaRule2(vectors(), vectors(), vectors(), {
        ...keys,
        eraseGate: uniform(1, T, H, D),
        writeGate: uniform(1, T, H, D),
        gate: decays(1, T, H, D),
        outputFinalState: true,
      }),
  ],
  [
    'ojaRule',
    () =>
      fw.ojaRule(vectors(), vectors(), vectors(), {
        ...keys,
        beta: uniform(1, T, H),
        gate: decays(1, T, H, D),
        initialState: random(1, H, D, D),
        outputFinalState: true,
      }),
  ],
  [
    'rwkv6',
    () =>
      fw.rwkv6(vectors(), vectors(), vectors(), {
        gate: decays(1, T, H, D),
        bonus: random(H, D),
        outputFinalState: true,
      }),
  ],
  [
    'recurrentDelta',
    () =>
      fw.recurrentDelta(vectors(), vectors(), vectors(), {
        beta: random(1, T, H),
        recurrentQ: random(H, D, D),
        recurrentK: random(H, D, D),
        recurrentV: random(H, D, D),
        recurrentBeta: random(H, D),
        initialOutput: random(1, H, D),
        outputFinalState: true,
      }),
  ],
  [
    'selfReferential',
    () =>
      fw.selfReferential({
        x: vectors(),
        wY: random(H, D, D),
        wQ: random(H, D, D),
        wK: random(H, D, D),
        wB: random(H, D, 4),
      }),
  ],
  [
    'selfReferential, y read with an input of its own',
    () =>
      fw.selfReferential(
        {
          x: vectors(),
          inputY: vectors(),
          wY: random(H, D, D),
          wQ: random(H, D, D),
          wK: random(H, D, D),
          wB: random(H, D, 4),
        },
        { variant: 'separateY' },
      ),
  ],
];

const deltaRnnInputs = (): Parameters<typeof fw.deltaRnn>[3] => ({
  beta: random(1, T, H),
  recurrentK: vectors(),
  recurrentV: vectors(),
  recurrentBeta: random(1, T, H),
  initialOutput: random(1, H, D),
  initialRecurrentState: random(1, H, D, D),
});

/** The calls with their numbers, per head; taken while the tensors are there. */
function callsOf(run: () => object): {
  result: object;
  memories: { call: MemoryCall; heads: ReturnType<typeof inputsOf>[] }[];
} {
  const memories: { call: MemoryCall; heads: ReturnType<typeof inputsOf>[] }[] = [];
  const result = observeMemories((call) => {
    memories.push({ call, heads: Array.from({ length: headsOf(call) }, (_, h) => inputsOf(call, h)) });
  }, run);
  return { result, memories };
}

/** What the first head reads at each step, by its states and by the dual form, which must agree; and its last state. */
function follow(head: ReturnType<typeof inputsOf>): { reads: number[][]; state: Float64Array } {
  let state = head.initialState;
  const reads: number[][] = [];
  for (const { t, step, before, after } of statesOf(head)) {
    reads.push([...outputOf(head, t, before, after)]);
    state = Float64Array.from(after);
    const changed = before.map((x, at) => {
      const [i, j] = [Math.floor(at / head.valueDim), at % head.valueDim];
      const decay = step.decay ? step.decay[step.decay.length === 1 ? 0 : i] : 1;
      return step.writes.reduce((s, w) => s + w.column[i] * w.row[j], decay * (step.valueDecay?.[j] ?? 1) * x);
    });
    expectClose('the change', changed, state, 1e-12);
  }
  [...dualForm(head)].forEach(({ output, weights, initial }, t) => {
    expect(weights).to.have.lengthOf(t + 1);
    expectClose(`the sum over writes at ${t}`, output, reads[t], 1e-10);
    const wide = head.beta && head.beta.width > 1;
    if (wide || head.kind.exchanged) return;
    const sum = Array.from(initial, (x, c) =>
      weights.reduce((s, w, j) => s + w * head.v.data[j * head.valueDim + c], x),
    );
    expectClose(`values by their weights at ${t}`, sum, reads[t], 1e-10);
  });
  return { reads, state };
}

describe('fast weights, inspected', () => {
  for (const [name, run] of CASES) {
    it(`${name}: states and the dual form give what the rule gives`, () => {
      fw.manualSeed(3);
      const { result, memories } = callsOf(run);
      const { output, finalState } = result as { output: fw.Tensor; finalState?: fw.Tensor };
      const { heads } = memories[0];
      expect(heads).to.have.lengthOf(H);
      heads.forEach((head, h) => {
        const { reads, state } = follow(head);
        expectClose('output', output.slice(2, h, h + 1).dataSync(), reads.flat(), 1e-10);
        if (finalState) expectClose('state', finalState.slice(1, h, h + 1).dataSync(), state, 1e-10);
      });
    });
  }

  it('deltaProduct: a step for each of its writes, the query at the last of a token', () => {
    const n = 2;
    const rows = (width: number): fw.Tensor => random(1, T * n, H, width);
    const { result, memories } = callsOf(() =>
      fw.deltaProduct(vectors(), rows(D), rows(D), {
        ...keys,
        numHouseholder: n,
        beta: uniform(1, T * n, H),
        gate: decays(1, T, H),
      }),
    );
    expect(memories).to.have.lengthOf(1);
    const { reads } = follow(memories[0].heads[1]);
    const { output } = result as { output: fw.Tensor };
    expectClose('output', output.slice(2, 1, 2).dataSync(), reads.filter((_, t) => t % n === n - 1).flat(), 1e-10);
  });

  const twoMatrices: [name: string, matrices: string[], finals: string[], run: () => object][] = [
    [
      'gsa',
      ['H', 'Hv'],
      ['finalKeyState', 'finalValueState'],
      () => {
        const slots = { slots: uniform(1, T, H, D), gate: decays(1, T, H, D), initialKeyState: random(1, H, D, D) };
        return fw.gsa(vectors(), vectors(), vectors(), { ...slots, outputFinalState: true });
      },
    ],
    [
      'mesa',
      ['Hkk', 'Hkv'],
      ['finalKeyState', 'finalState'],
      () => {
        const gates = { gate: decays(1, T, H), beta: uniform(1, T, H), lambda: uniform(H, D).add(0.5) };
        return fw.mesa(vectors(), vectors(), vectors(), { ...gates, scale: 0.5, outputFinalState: true });
      },
    ],
  ];
  for (const [name, matrices, finals, run] of twoMatrices) {
    it(`${name}: two matrices, the second of which is read for the output`, () => {
      const { result, memories } = callsOf(run);
      expect(memories.map(({ call }) => call.matrix)).to.eql(matrices);
      const followed = memories.map(({ heads }) => follow(heads[1]));
      const results = result as Record<string, fw.Tensor>;
      expectClose('output', results.output.slice(2, 1, 2).dataSync(), followed[1].reads.flat(), 1e-10);
      followed.forEach(({ state }, i) => {
        expectClose(finals[i], results[finals[i]].slice(1, 1, 2).dataSync(), state, 1e-10);
      });
    });
  }

  for (const version of [1, 2] as const) {
    it(`deltaRnn, version ${version}: two matrices, whose reads add up`, () => {
      const { result, memories } = callsOf(() =>
        fw.deltaRnn(vectors(), vectors(), vectors(), { ...deltaRnnInputs(), version, scale: 1 }),
      );
      expect(memories.map(({ call }) => call.matrix)).to.eql(['W', 'R']);
      const [W, R] = memories.map(({ heads }) => follow(heads[0]).reads);
      const sums = W.map((row, t) => row.map((x, i) => x + R[t][i]));
      const softmax = (x: number[]): number[] => {
        const e = x.map(Math.exp);
        return e.map((y) => y / e.reduce((a, b) => a + b));
      };
      const { output } = result as { output: fw.Tensor };
      expectClose(
        'y',
        output.slice(2, 0, 1).dataSync(),
        sums.map((x) => (version === 1 ? softmax(x) : x)).flat(),
        1e-10,
      );
    });
  }

  it('deltaLstm: six matrices, whose reads make the gates', () => {
    const gates = ['I', 'U', 'O'];
    const names = ['q', 'k', 'v', 'recurrentK', 'recurrentV'];
    const inputs = Object.fromEntries([
      ...gates.flatMap((gate) => names.map((name) => [name + gate, vectors()])),
      ...gates.flatMap((gate) => ['beta', 'recurrentBeta'].map((name) => [name + gate, random(1, T, H)])),
    ]) as Parameters<typeof fw.deltaLstm>[0];
    const { result, memories } = callsOf(() => fw.deltaLstm(inputs, { scale: 1 }));
    expect(memories.map(({ call }) => call.matrix)).to.eql(['W_i', 'R_i', 'W_u', 'R_u', 'W_o', 'R_o']);
    const reads = memories.map(({ heads }) => follow(heads[1]).reads);
    const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
    let cell = new Array<number>(D).fill(0);
    const expected: number[] = [];
    for (let t = 0; t < T; t++) {
      const p = [0, 2, 4].map((m) => reads[m][t].map((x, i) => x + reads[m + 1][t][i]));
      cell = cell.map((c, i) => sigmoid(p[0][i]) * p[1][i] + (1 - sigmoid(p[0][i])) * c);
      expected.push(...cell.map((c, i) => c * sigmoid(p[2][i])));
    }
    expectClose('h', (result as { output: fw.Tensor }).output.slice(2, 1, 2).dataSync(), expected, 1e-10);
  });

  it('a matrix that rewrites itself: four parts of one strength each, the memory that it programs beside them', () => {
    const W = (columns: number): fw.Tensor => random(H, D, columns);
    const { memories } = callsOf(() =>
      fw.selfReferential(
        { x: vectors(), wY: W(3 * D + 1), wQ: W(D), wK: W(D), wB: W(4) },
        { variant: 'smfwp', deltaMemory: true },
      ),
    );
    expect(memories.map(({ call }) => call.matrix)).to.eql(['W_y', 'W_q', 'W_k', 'w_b', 'S']);
    // What w_b reads are the strengths of all parts at that step.
    const [, , , b] = memories.map(({ heads }) => heads[0]);
    const { reads } = follow(b);
    memories.slice(0, 4).forEach(({ heads }, part) => {
      const strengths = reads.map((row) => 1 / (1 + Math.exp(-row[part])));
      expectClose(`strength ${part}`, heads[0].beta!.data, strengths, 1e-10);
    });
  });

  it('tells nothing outside, of packed sequences, or of what rules compute with others', () => {
    let told = 0;
    const rule = (options = {}): unknown => fw.deltaRule(vectors(), vectors(), vectors(), options);
    observeMemories(
      () => told++,
      () => void rule({ cuSeqlens: [0, 3, T] }),
    );
    rule();
    expect(told).to.equal(0);
    observeMemories(
      () => told++,
      () => void rule({ featureMap: 'elu1', normalize: true }),
    );
    expect(told).to.equal(1);
  });
});

describe('singular values and effective rank', () => {
  const matrix = (rows: number, columns: number, data: number[]) => ({ rows, columns, data });
  const rankIn = async (of: ReturnType<typeof matrix>): Promise<number> => rankOf(await singularValues(of));

  it('of matrices whose values are known', async () => {
    expectClose('diagonal', await singularValues(matrix(2, 3, [0, -3, 0, 2, 0, 0])), [3, 2], 1e-12);
    expectClose(
      '[[1, 1], [0, 1]]',
      await singularValues(matrix(2, 2, [1, 1, 0, 1])),
      [(1 + Math.sqrt(5)) / 2, (Math.sqrt(5) - 1) / 2],
      1e-12,
    );
    expect(await rankIn(matrix(2, 2, [1, 2, 2, 4]))).to.be.closeTo(1, 1e-6);
    expect(await rankIn(matrix(3, 3, [0, 2, 0, 0, 0, -2, 2, 0, 0]))).to.be.closeTo(3, 1e-12);
    expect(await rankIn(matrix(2, 2, [0, 0, 0, 0]))).to.equal(0);
    expect(await rankIn(matrix(1, 1, [NaN]))).to.be.NaN;
    expect(await rankIn(matrix(1, 1, [Infinity]))).to.be.NaN;
    // Values 3 and 1: entropy of (3/4, 1/4).
    expect(await rankIn(matrix(2, 2, [3, 0, 0, 1]))).to.be.closeTo(4 / 27 ** 0.25, 1e-12);
  });

  it('keeps the sum of squares of a random matrix, tall, wide and square', async () => {
    for (const [rows, columns] of [
      [5, 5],
      [9, 4],
      [4, 9],
      [1, 3],
    ]) {
      const data = Array.from(fw.randn([rows, columns], where).dataSync());
      const values = await singularValues({ rows, columns, data });
      expect(values).to.have.lengthOf(Math.min(rows, columns));
      expect([...values]).to.eql([...values].sort((a, b) => b - a));
      const squares = (x: ArrayLike<number>): number => Array.from(x).reduce((s, v) => s + v * v, 0);
      expect(squares(values)).to.be.closeTo(squares(data), 1e-9);
    }
  });
});
