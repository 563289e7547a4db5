// What became of writes, against loops over whole matrices and against the rules themselves, which are linear in what is written.
import { expect } from 'chai';
import * as fw from '../../lib';
import { fatesOf, inputsOf, measureMemory, type MemoryInputs } from '../../lib/inspect';
import { observeMemories } from '../../lib/rules';
import { expectClose } from '../support/tolerance';

const where = { device: 'js', dtype: 'float64' } as const;
const [T, K, V] = [9, 4, 3];
const random = (...shape: number[]): fw.Tensor => fw.randn(shape, where);
const uniform = (...shape: number[]): fw.Tensor => fw.rand(shape, where);
const decays = (width?: number): fw.Tensor => uniform(1, T, 1, ...(width ? [width] : [])).neg();
const unit = (width = K): fw.Tensor => {
  const x = random(1, T, 1, width);
  return x.div(x.square().sum(3, true).sqrt());
};

/** What the head of a rule was given. */
function inputsIn(run: () => unknown): MemoryInputs {
  let found: MemoryInputs | undefined;
  observeMemories((call) => void (found ??= inputsOf(call, 0)), run);
  return found!;
}

type Numbers = number[];
const rowsOf = (t: fw.Tensor): Numbers[] => t.squeeze(2).squeeze(0).tolist() as Numbers[];
const numbersOf = (t: fw.Tensor): Numbers => [...t.dataSync()];

/**
 * The plain loop: of every write its matrix [K][V], which decays and is erased in all later steps, and is read with its key.
 * kept and taken by write and step.
 */
function loop(k: Numbers[], v: Numbers[], beta: Numbers | null, gate: (t: number, i: number) => number) {
  const kept: Numbers[] = [];
  const taken: Numbers[] = [];
  const read = (S: Numbers[], x: Numbers): Numbers =>
    v[0].map((_, c) => x.reduce((sum, xi, i) => sum + xi * S[i][c], 0));
  const along = (a: Numbers, b: Numbers): number =>
    a.reduce((sum, x, i) => sum + x * b[i], 0) / b.reduce((s, x) => s + x * x, 0);
  for (let j = 0; j < T; j++) {
    let S = k[j].map((x) => v[j].map((y) => x * (beta ? beta[j] : 1) * y));
    const first = read(S, k[j]);
    kept.push([1]);
    taken.push([0]);
    for (let s = j + 1; s < T; s++) {
      S = S.map((row, i) => row.map((x) => Math.exp(gate(s, i)) * x));
      const faded = read(S, k[j]);
      if (beta) {
        const known = read(S, k[s]);
        S = S.map((row, i) => row.map((x, c) => x - beta[s] * k[s][i] * known[c]));
      }
      const left = read(S, k[j]);
      kept[j].push(along(left, first));
      taken[j].push(along(faded, first) - along(left, first));
    }
  }
  return { kept, taken };
}

const CASES: { name: string; beta: boolean; gate: 0 | 1 | 'K' }[] = [
  { name: 'linear attention', beta: false, gate: 0 },
  { name: 'gated linear attention', beta: false, gate: 'K' },
  { name: 'retention, a gate for each head', beta: false, gate: 1 },
  { name: 'the delta rule', beta: true, gate: 0 },
  { name: 'the gated delta rule', beta: true, gate: 1 },
  { name: 'Kimi delta attention', beta: true, gate: 'K' },
];

describe('what became of writes', () => {
  for (const { name, beta: erases, gate: gated } of CASES) {
    it(`${name}: as in a loop over the matrices of all writes`, () => {
      fw.manualSeed(7);
      const [q, k, v] = [unit(), unit(), random(1, T, 1, V)];
      const beta = erases ? uniform(1, T, 1) : null;
      const gate = gated === 0 ? null : decays(gated === 'K' ? K : undefined);
      const memory = inputsIn(() =>
        beta
          ? fw.deltaRule(q, k, v, { beta, gate })
          : gate
            ? fw.gatedLinearAttention(q, k, v, { gate })
            : fw.linearAttention(q, k, v),
      );
      const g = gate && (gate.ndim === 4 ? rowsOf(gate) : numbersOf(gate).map((x) => Array<number>(K).fill(x)));
      const expected = loop(rowsOf(k), rowsOf(v), beta && numbersOf(beta), (t, i) => g?.[t][i] ?? 0);
      const fates = [...fatesOf(memory)];
      expect(fates).to.have.lengthOf(T);
      fates.forEach(({ kept, taken }, j) => {
        expectClose(`kept of ${j}`, kept, expected.kept[j], 1e-11);
        expectClose(`taken of ${j}`, taken, expected.taken[j], 1e-11, 1e-3);
      });
    });
  }

  /** A rule with what is written at only one step, and its strength left out at another one: final states [K, V] as rows. */
  type Case = (only: number, steps: number, without?: number) => fw.Tensor;
  const masked = (x: fw.Tensor, only: number): fw.Tensor => {
    const mask = Float64Array.from({ length: T }, (_, t) => Number(t === only));
    return x.mul(fw.tensor(mask, { shape: [1, T, 1, 1], ...where }));
  };
  const without = (x: fw.Tensor, step?: number): fw.Tensor => {
    const mask = Float64Array.from({ length: T }, (_, t) => Number(t !== step));
    return x.mul(fw.tensor(mask, { shape: [1, T, ...Array<number>(x.ndim - 2).fill(1)], ...where }));
  };
  const cut = <O extends object>(inputs: O, steps: number): O =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, x]) => [name, x instanceof fw.Tensor ? x.slice(1, 0, steps) : x]),
    ) as O;

  type Drawn = { k: fw.Tensor; v: fw.Tensor; beta: fw.Tensor; gate: fw.Tensor; more: Record<string, fw.Tensor> };
  const RULES: [name: string, draw: () => Drawn, run: (x: Drawn & { q: fw.Tensor }) => unknown, source?: 'k'][] = [
    [
      'a strength for each value',
      () => ({ k: unit(), v: random(1, T, 1, V), beta: uniform(1, T, 1, V), gate: decays(K), more: {} }),
      ({ q, k, v, beta, gate }) => fw.deltaRule(q, k, v, { beta, gate, outputFinalState: true }),
    ],
    [
      'comba, which erases under other keys',
      () => ({ k: unit(), v: random(1, T, 1, V), beta: uniform(1, T, 1), gate: decays(), more: { p: unit() } }),
      ({ q, k, v, beta, gate, more: { p } }) => fw.comba(q, k, v, { p, beta, gate, outputFinalState: true }),
    ],
    [
      'the general recurrence, erased before it decays, written under other keys',
      () => ({ k: unit(), v: random(1, T, 1, V), beta: uniform(1, T, 1), gate: decays(K), more: { writeKey: unit() } }),
      ({ q, k, v, beta, gate, more: { writeKey } }) =>
        fw.recurrence({ q, k, v, beta, gate, writeKey }, { eraseFrom: 'undecayed', outputFinalState: true }),
    ],
    [
      'ojaRule, which erases along values',
      () => ({ k: random(1, T, 1, K), v: unit(V), beta: uniform(1, T, 1, K), gate: decays(V), more: {} }),
      ({ q, k, v, beta, gate }) => fw.ojaRule(q, k, v, { beta, gate, outputFinalState: true }),
      'k',
    ],
  ];
  for (const [name, draw, run, source] of RULES) {
    it(`${name}: as the rule has it with one write alone`, () => {
      fw.manualSeed(8);
      const drawn = draw();
      const q = unit();
      const stateOf: Case = (only, steps, step) => {
        const x = { ...drawn, q, [source ?? 'v']: masked(drawn[source ?? 'v'], only), beta: without(drawn.beta, step) };
        const { finalState } = run({ ...cut(x, steps), more: cut(drawn.more, steps) }) as { finalState: fw.Tensor };
        return finalState.squeeze(0).squeeze(0);
      };
      const memory = inputsIn(() => run({ ...drawn, q }));
      const key = rowsOf(drawn.k);
      const answer = (S: fw.Tensor, j: number): Numbers =>
        numbersOf(fw.tensor(key[j], { shape: [1, K], ...where }).matmul(S));
      [...fatesOf(memory)].forEach(({ kept, taken }, j) => {
        const first = answer(stateOf(j, j + 1), j);
        const share = (S: fw.Tensor): number => {
          const now = answer(S, j);
          return now.reduce((sum, x, c) => sum + x * first[c], 0) / first.reduce((sum, x) => sum + x * x, 0);
        };
        const left = Array.from({ length: T - j }, (_, n) => share(stateOf(j, j + n + 1)));
        expectClose(`kept of ${j}`, kept, left, 1e-10);
        const gone = left.map((x, n) => (n === 0 ? 0 : share(stateOf(j, j + n + 1, j + n)) - x));
        expectClose(`taken of ${j}`, taken, gone, 1e-10, 1e-3);
      });
    });
  }

  it('the second write of generalizedDeltaRule is the one that is followed, rank 1 erasures of any sign take', () => {
    const [q, k, v, a, b] = [unit(), unit(), random(1, T, 1, V), unit(), unit()];
    const gate = decays(K);
    const memory = inputsIn(() => fw.generalizedDeltaRule(q, k, v, { a, b, gate }));
    const [A, B, keys] = [a, b, k].map(rowsOf);
    const g = rowsOf(gate);
    [...fatesOf(memory)].forEach(({ kept }, j) => {
      let x = keys[j];
      const expected = [1];
      for (let s = j + 1; s < T; s++) {
        const known = A[s].reduce((sum, y, i) => sum + y * x[i], 0);
        x = x.map((y, i) => Math.exp(g[s][i]) * y + known * B[s][i]);
        expected.push(x.reduce((sum, y, i) => sum + y * keys[j][i], 0));
      }
      expectClose(`kept of ${j}`, kept, expected, 1e-10);
    });
  });

  it('shows a key written again with strength 1 as taken whole, by that step alone; orthogonal keys leave it', async () => {
    const key = (i: number): Numbers => Array.from({ length: K }, (_, n) => Number(n === i));
    const k = fw.tensor([key(0), key(1), key(0), key(2)].flat(), { shape: [1, 4, 1, K], ...where });
    const v = random(1, 4, 1, V);
    const memory = inputsIn(() => fw.deltaRule(k, k, v, { beta: fw.ones([1, 4, 1], where) }));
    const { fates, knownNow, written } = await measureMemory(memory);
    expect(fates.map(({ kept }) => [...kept])).to.eql([[1, 1, 0, 0], [1, 1, 1], [1, 1], [1]]);
    expect(fates.map(({ taken }) => [...taken])).to.eql([[0, 0, 1, 0], [0, 0, 0], [0, 0], [0]]);
    expectClose('known now', [...knownNow].slice(1), [1, 1, 1], 1e-12);
    const values = rowsOf(v);
    const size = (x: Numbers): number => Math.hypot(...x);
    const sizes = [size(values[0]), size(values[1]), size(values[2].map((x, c) => x - values[0][c])), size(values[3])];
    expectClose('written', written, sizes, 1e-12);
  });

  it('is NaN where nothing was written, and stays between others', async () => {
    const [q, k, v] = [unit(), unit(), random(1, T, 1, V)];
    const beta = without(uniform(1, T, 1), 3);
    const { fates } = await measureMemory(inputsIn(() => fw.deltaRule(q, k, v, { beta })));
    expect(fates.map(({ kept }) => kept.some(Number.isNaN))).to.eql(Array.from({ length: T }, (_, j) => j === 3));
  });

  it('can be of every third write', () => {
    const [q, k, v] = [unit(), unit(), random(1, T, 1, V)];
    const memory = inputsIn(() => fw.deltaRule(q, k, v, { beta: uniform(1, T, 1) }));
    const all = [...fatesOf(memory)];
    expect([...fatesOf(memory, 3)]).to.eql([all[0], all[3], all[6]]);
  });

  it('ends where it is aborted', async () => {
    using model = fw.createModel('deltanet', { vocabSize: 9, hiddenSize: 8, numLayers: 1, numHeads: 1, device: 'js' });
    const ids = Array.from({ length: 300 }, (_, i) => i % 9);
    const controller = new AbortController();
    const found = fw.inspectFastWeights(model, ids, { signal: controller.signal });
    setImmediate(() => controller.abort());
    const error = await found.then(
      () => undefined,
      (reason: fw.FastWeightsError) => reason,
    );
    expect(error?.code).to.equal('ABORTED');
  });
});
