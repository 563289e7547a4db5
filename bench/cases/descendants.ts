// Rules that grew out of the general recurrence, each beside a call of its base with the same sizes and kind of gate.
import type { Contender, Prepared } from '../contender';
import { fw } from '../library';
import type { Case, DescendantProblem, DescendantRule } from '../problem';
import { type MeasuredRule, prepareRule, type RuleInput } from './rules';

const heads: RuleInput = { shape: 'BTHD', low: -1, high: 1 };
/** Keys that a delta rule can erase with: their squares sum to less than 1. */
const keys = { ...heads, low: -0.15, high: 0.15 };
const decay = (shape: string): RuleInput => ({ shape, low: -0.1, high: 0 });
const rate = (shape: string, high = 0.95): RuleInput => ({ shape, low: 0.05, high });
const qkv = { q: heads, k: keys, v: heads };
const gated = (shape: string): MeasuredRule['inputs'] => ({ ...qkv, gate: decay(shape) });

/** The calls that others are measured by. */
const BASES = {
  'gla-scalar': {
    inputs: gated('BTH'),
    run: ({ q, k, v, gate }) => fw.gatedLinearAttention(q, k, v, { gate }).output,
  },
  gla: {
    inputs: gated('BTHD'),
    run: ({ q, k, v, gate }) => fw.gatedLinearAttention(q, k, v, { gate }).output,
  },
  delta: {
    inputs: { ...qkv, beta: rate('BTH') },
    run: ({ q, k, v, beta }) => fw.deltaRule(q, k, v, { beta }).output,
  },
  'gated-delta': {
    inputs: { ...gated('BTH'), beta: rate('BTH') },
    run: ({ q, k, v, gate, beta }) => fw.deltaRule(q, k, v, { gate, beta }).output,
  },
  kda: {
    inputs: { ...gated('BTHD'), beta: rate('BTH') },
    run: ({ q, k, v, gate, beta }) => fw.deltaRule(q, k, v, { gate, beta }).output,
  },
} satisfies Record<string, MeasuredRule>;

const DESCENDANTS: Record<DescendantRule, MeasuredRule & { base?: keyof typeof BASES }> = {
  mamba2Scan: {
    base: 'gla-scalar',
    inputs: {
      x: heads,
      dt: { shape: 'BTH', low: -3, high: 0 },
      aLog: { shape: 'H', low: -1, high: 1 },
      b: { shape: 'BT1D', low: -1, high: 1 },
      c: { shape: 'BT1D', low: -1, high: 1 },
      d: { shape: 'H', low: -1, high: 1 },
    },
    run: (given) => fw.mamba2Scan(given as never).output,
  },
  mlstm: {
    base: 'gla-scalar',
    inputs: { ...qkv, inputGate: { shape: 'BTH', low: -2, high: 2 }, forgetGate: { shape: 'BTH', low: 1, high: 4 } },
    run: ({ q, k, v, inputGate, forgetGate }) => fw.mlstm(q, k, v, { inputGate, forgetGate }).output,
  },
  gsa: {
    base: 'gla',
    inputs: { ...gated('BTHD'), slots: rate('BTHD', 0.1) },
    run: ({ q, k, v, slots, gate }) => fw.gsa(q, k, v, { slots, gate }).output,
  },
  rwkv6: {
    base: 'gla',
    inputs: { ...gated('BTHD'), bonus: { shape: 'HD', low: -1, high: 1 } },
    run: ({ q, k, v, gate, bonus }) => fw.rwkv6(q, k, v, { gate, bonus }).output,
  },
  rwkv7: {
    base: 'kda',
    inputs: { ...gated('BTHD'), a: keys, b: keys },
    run: ({ q, k, v, gate, a, b }) => fw.generalizedDeltaRule(q, k, v, { gate, a, b }).output,
  },
  comba: {
    base: 'gated-delta',
    inputs: { ...gated('BTH'), beta: rate('BTH'), p: keys },
    run: ({ q, k, v, gate, beta, p }) => fw.comba(q, k, v, { gate, beta, p }).output,
  },
  mesa: {
    base: 'delta',
    inputs: { ...gated('BTH'), beta: rate('BTH'), lambda: { shape: 'HD', low: 0.5, high: 1 } },
    run: ({ q, k, v, gate, beta, lambda }) => fw.mesa(q, k, v, { gate, beta, lambda }).output,
  },
  logLinearAttention: {
    base: 'gla-scalar',
    inputs: { ...gated('BTH'), levelScales: rate('BTHL', 1) },
    run: ({ q, k, v, gate, levelScales }) => fw.logLinearAttention(q, k, v, { gate, levelScales }).output,
  },
  tttLinear: {
    inputs: {
      ...qkv,
      learningRate: rate('BTH', 0.3),
      tokenScale: { shape: 'M', low: 0.05, high: 1 },
      normWeight: { shape: 'HD', low: 0.5, high: 1 },
      normBias: { shape: 'HD', low: -0.5, high: 0.5 },
    },
    run: ({ q, k, v, ...rest }) => fw.tttLinear(q, k, v, rest as never).output,
  },
  titans: {
    inputs: { ...qkv, theta: rate('BTH', 0.2), alpha: rate('BTH', 0.2), eta: rate('BTH') },
    run: ({ q, k, v, ...rest }) => fw.titans(q, k, v, rest as never).output,
  },
};

const NAMES = Object.keys(DESCENDANTS) as DescendantRule[];

export const descendantCases: Case[] = NAMES.flatMap((rule) =>
  (['forward', 'training'] as const).map((pass): Case => {
    const sizes = { B: 2, T: 512, H: 8, D: 64 };
    const problem: DescendantProblem = {
      kind: 'descendant',
      rule,
      pass,
      device: 'cpu',
      dtype: 'float32',
      ...sizes,
    };
    return {
      name: `descendant-${pass}/${[rule, DESCENDANTS[rule].base ?? []].flat().join('/')}`,
      shape: 'B2 T512 H8 d64',
      problem,
    };
  }),
);

export const prepareDescendant = (problem: DescendantProblem): Prepared =>
  prepareRule(DESCENDANTS[problem.rule], problem);

/** The base of a descendant in its place, as if it were a peer: its time over that of the rule. */
export const base: Contender = {
  name: 'base',
  supports: (problem) => problem.kind === 'descendant' && DESCENDANTS[problem.rule].base !== undefined,
  async prepare(problem, threads) {
    const name = problem.kind === 'descendant' ? DESCENDANTS[problem.rule].base : undefined;
    if (name === undefined) throw new Error('it has no base');
    fw.setNumThreads(threads);
    return prepareRule(BASES[name], problem as DescendantProblem);
  },
};
