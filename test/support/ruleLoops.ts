// Sizes, and loops over tokens and heads, for rules over q, k and v that are tested against two of them.
import * as fw from '../../lib';
import type { Target } from './golden';
import type { Draw, HostInputs } from './ruleInputs';
import { byToken, heads, type Nested, type TwoLoops, zeroRows } from './twoLoops';

export const { B, T, H, K, V } = { B: 2, T: 9, H: 2, K: 3, V: 4 };
export type Named = Record<string, fw.Tensor>;

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const keyed = (d: Draw): HostInputs => ({
  q: d.uniform([B, T, H, K], -1, 1),
  k: d.uniform([B, T, H, K], -1, 1),
  v: d.uniform([B, T, H, V], -1, 1),
});
export const perHead = (d: Draw, low: number, high: number): HostInputs[string] => d.uniform([B, T, H], low, high);

export type Vectors = Record<string, number[]>;
export type Numbers = Record<string, number>;

/** A loop over the heads of all sequences: `token` changes the state's rows and returns what is read. */
export function overHeads(
  inputs: Nested,
  token: (S: number[][], vectors: Vectors, numbers: Numbers) => number[],
): Record<string, number[]> {
  const lists = Object.entries(inputs).map(([name, x]) => [name, heads<number | number[]>(x)] as const);
  const finals: number[] = [];
  const outputs = Array.from({ length: B * H }, (_, n) => {
    const S = zeroRows(K, V);
    const found = Array.from({ length: T }, (_, t) => {
      const x = Object.fromEntries(lists.map(([name, list]) => [name, list[n][t]]));
      return token(S, x as Vectors, x as Numbers);
    });
    finals.push(...S.flat());
    return found.map((o) => o.map((x) => x * K ** -0.5));
  });
  return { output: byToken(outputs, B, H), finalState: finals };
}

/** S += w x^T on rows. */
export function write(S: number[][], w: readonly number[], x: readonly number[]): void {
  S.forEach((row, i) => row.forEach((_, j) => (row[j] += w[i] * x[j])));
}

/** A loop on tensors [B, H, ...]: `token` gives the transposed state [B, H, V, K] after it. */
export function overTokens(inputs: Named, token: (W: fw.Tensor, x: Named) => fw.Tensor): Named {
  let W = fw.zeros([B, H, V, K], { device: 'js', dtype: 'float64' });
  const outputs: fw.Tensor[] = [];
  for (let t = 0; t < T; t++) {
    const x = Object.fromEntries(Object.entries(inputs).map(([name, all]) => [name, all.select(1, t)]));
    W = token(W, x);
    outputs.push(fw.einsum('bhvk,bhk->bhv', W, x.q).mul(K ** -0.5));
  }
  return { output: fw.stack(outputs, 1), finalState: W.transpose(2, 3) };
}

export const outer = (x: fw.Tensor, k: fw.Tensor): fw.Tensor => fw.einsum('bhv,bhk->bhvk', x, k);
export const answers = (W: fw.Tensor, k: fw.Tensor): fw.Tensor => fw.einsum('bhvk,bhk->bhv', W, k);
export const wide = (x: fw.Tensor, dims = 1): fw.Tensor => (dims === 0 ? x : wide(x.unsqueeze(-1), dims - 1));

export type Call = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => Named;
export type Step = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => fw.Tensor;

/** How a rule over q, k and v is called: all results, and a token with the one state that most have. */
export function called(rule: unknown, more: object = {}): Pick<TwoLoops, 'rule' | 'step' | 'empty'> {
  const step = (rule as { step: Step }).step;
  return {
    rule: ({ q, k, v, ...gates }) => (rule as Call)(q, k, v, { ...gates, ...more, outputFinalState: true }),
    step: ({ q, k, v, ...gates }, { finalState: state }) => step(q, k, v, { ...gates, ...more, state }),
    empty: (where: Target) => ({ finalState: fw.zeros([B, H, K, V], where) }),
  };
}

/** The same where states have names. */
export function calledWith(
  rule: unknown,
  states: Record<string, (where: Target) => fw.Tensor>,
  more: object = {},
): Pick<TwoLoops, 'rule' | 'step' | 'empty'> {
  const step = (rule as { step: Step }).step;
  const finalOf = (name: string): string => `final${name[0].toUpperCase()}${name.slice(1)}`;
  return {
    ...called(rule, more),
    step({ q, k, v, ...gates }, results) {
      const state = Object.fromEntries(Object.keys(states).map((name) => [name, results[finalOf(name)]]));
      return step(q, k, v, { ...gates, ...more, state });
    },
    empty: (where) =>
      Object.fromEntries(Object.entries(states).map(([name, make]) => [finalOf(name), make(where)] as const)),
  };
}
