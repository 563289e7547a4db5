// What the tests of the walks in bfloat16 share: whether a call has taken one, how close what comes of it is to float64,
// and that neither the order of warps nor company changes a bit of it.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Draw, type HostInputs, type HostTensor, rounded, type RuleCase, RULES } from '../support/ruleInputs';
import { expectCloseRuns, heldBy, type RuleSetting, runRule } from '../support/ruleRuns';
import { expectClose, toleranceOf } from '../support/tolerance';
import { describeFindings, emulation } from './device';
import { inputsOf, type Results, results, type Setting, tensors, visitsOf } from './walks';

export const here: Target = { device: 'cuda-emulation', dtype: 'bfloat16' };

export interface Watch {
  /** A call's value, and whether it came to the sources that are watched. */
  watched: <T>(call: () => T) => [value: T, walks: boolean];
  /** The value of a call that must come to them, with nothing found. */
  walked: <T>(call: () => T) => T;
}

/** Watches kernels in files whose paths have `source` in them. */
export function watch(source: string): Watch {
  const card = emulation();
  const watched = <T>(call: () => T): [T, boolean] => {
    const visits = (): number => visitsOf(card.sites(), source);
    const before = visits();
    const value = fw.scope(call);
    return [value, visits() > before];
  };
  const walked = <T>(call: () => T): T => {
    const [value, walks] = watched(call);
    expect(walks).to.equal(true);
    expect(describeFindings(card.findings())).to.equal('');
    return value;
  };
  return { watched, walked };
}

/** With sums of tensor cores that are cut off, not rounded. */
export function withSumsCut(call: () => void): void {
  const card = emulation();
  card.setTruncatedSums(true);
  try {
    call();
  } finally {
    card.setTruncatedSums(false);
  }
}

/** A call against float64, without gradients. */
export function expectForward({ walked }: Watch, setting: Setting, host = inputsOf(setting)): void {
  const { cuSeqlens } = setting;
  const exact = results(tensors(host, { device: 'js', dtype: 'float64' }), { cuSeqlens, mode: 'recurrent' });
  const run = walked(() => results(tensors(host, here), { cuSeqlens }));
  const limit = toleranceOf('bfloat16').forward;
  ['output', 'final state'].forEach((name, i) => expectClose(name, run[i], exact[i], limit));
}

/** The rule of a setting, among those of the conformance tests. */
export function ruleOf({ beta, gate, keyGates }: Setting): RuleCase {
  const kind = beta ? 'deltaRule' : gate ? 'gatedLinearAttention' : 'linearAttention';
  const name = gate ? `${kind}, ${keyGates ? 'vector' : 'scalar'} gate` : kind;
  return RULES.find((rule) => rule.name === name)!;
}
/** All that comes of it against float64, gradients too. */
export function expectBackward(
  { walked }: Watch,
  setting: Setting,
  host = inputsOf(setting),
  options: RuleSetting = {},
): void {
  const rule = ruleOf(setting);
  const how = { cuSeqlens: setting.cuSeqlens, ...options };
  const held = heldBy(host, how, 'bfloat16');
  const exact = runRule(rule, how, held, { device: 'js', dtype: 'float64' }, 'recurrent');
  expectCloseRuns(
    walked(() => runRule(rule, how, held, here, 'chunk')),
    exact,
    'bfloat16',
  );
}

/** Float32 gates, strengths and states, and rows that are slices of wider tensors, K = V: the results of plain ones. */
export function expectSameOfSlices({ walked }: Watch, host: HostInputs): void {
  const { beta, gate, initialState, ...rows } = host;
  const width = host.q.shape[3];
  const run = walked(() => {
    const { q, k, v } = tensors(rows, here);
    const wide = fw.cat([q, k, v], 3);
    const slice = (i: number): fw.Tensor => wide.slice(3, width * i, width * (i + 1));
    const exact = tensors({ beta, gate, initialState }, { ...here, dtype: 'float32' });
    return results({ q: slice(0), k: slice(1), v: slice(2), ...exact });
  });
  expect(run).to.deep.equal(walked(() => results(tensors(host, here))));
}

function inOtherOrders(call: () => void): void {
  const card = emulation();
  for (const seed of [0, 1, 2]) {
    card.setSeed(seed);
    call();
  }
  card.setSeed(0);
}

const isOfSequence = (name: string): boolean => /State$/.test(name);
/** The part of a packed tensor that sequence n has, of N with T tokens. */
function partOf(x: ArrayLike<number>, name: string, cuSeqlens: readonly number[], n: number): number[] {
  const rows = isOfSequence(name) ? cuSeqlens.length - 1 : cuSeqlens[cuSeqlens.length - 1];
  const [from, to] = isOfSequence(name) ? [n, n + 1] : [cuSeqlens[n], cuSeqlens[n + 1]];
  return Array.from(x).slice((x.length / rows) * from, (x.length / rows) * to);
}
/** Those of all inputs. */
function inputsOfSequence(all: HostInputs, cuSeqlens: readonly number[], n: number): HostInputs {
  const tokens = cuSeqlens[n + 1] - cuSeqlens[n];
  const part = ([name, { shape, data }]: [string, HostTensor]): [string, HostTensor] => {
    const [first, second, ...rest] = shape;
    const own = isOfSequence(name) ? [1, second, ...rest] : [first, tokens, ...rest];
    return [name, { shape: own, data: Float64Array.from(partOf(data, name, cuSeqlens, n)) }];
  };
  return Object.fromEntries(Object.entries(all).map(part));
}
const withTokens = (cuSeqlens: readonly number[]): number[] =>
  [...cuSeqlens.keys()].filter((n) => cuSeqlens[n + 1] > cuSeqlens[n]);

/** Outputs and final states of packed sequences. */
export function describeForwardBits({ walked }: Watch, host: HostInputs, cuSeqlens: number[], more: () => void): void {
  describe('bits', () => {
    const run = (inputs: HostInputs, options: object): Results => walked(() => results(tensors(inputs, here), options));
    let packed: Results;
    before(() => {
      packed = run(host, { cuSeqlens });
    });

    it('are the same in every run and every order of warps', () => {
      inOtherOrders(() => expect(run(host, { cuSeqlens })).to.deep.equal(packed));
    });

    it('are those of each sequence by itself', () => {
      for (const n of withTokens(cuSeqlens)) {
        const [output, finalState] = run(inputsOfSequence(host, cuSeqlens, n), {});
        expect(Array.from(output)).to.deep.equal(partOf(packed[0], 'output', cuSeqlens, n));
        expect(Array.from(finalState)).to.deep.equal(partOf(packed[1], 'finalState', cuSeqlens, n));
      }
    });

    more();
  });
}

type Gradients = Record<string, ArrayLike<number>>;
function gradientsOf(inputs: HostInputs, { output, finalState }: HostInputs, options: object): Gradients {
  const leaves = tensors(inputs, here);
  for (const leaf of Object.values(leaves)) leaf.requiresGrad = true;
  const { q, k, v, beta, ...rest } = leaves;
  const run = fw.deltaRule(q, k, v, { beta, ...rest, outputFinalState: true, ...options });
  const given = tensors({ output, finalState }, { ...here, dtype: 'float32' });
  const loss = run.output.to('float32').mul(given.output).sum();
  loss.add(run.finalState.mul(given.finalState).sum()).backward();
  const values = Object.entries(leaves).map(([name, leaf]) => [name, leaf.grad!.dataSync()] as const);
  Object.values(leaves).forEach((leaf) => leaf.grad!.dispose());
  return Object.fromEntries(values);
}

/** Gradients of a delta rule over packed sequences, of which sequence `beside` has others next to it. */
export function describeBackwardBits(
  { walked }: Watch,
  host: HostInputs,
  cuSeqlens: number[],
  beside: number,
  more: () => void,
): void {
  describe('bits', () => {
    const draw = new Draw(7);
    const cotangents = rounded({
      output: draw.uniform(host.v.shape, -1, 1),
      finalState: draw.uniform(host.initialState.shape, -1, 1),
    });
    const run = (inputs: HostInputs, given: HostInputs, options: object): Gradients =>
      walked(() => gradientsOf(inputs, given, options));
    let packed: Gradients;
    before(() => {
      packed = run(host, cotangents, { cuSeqlens });
    });

    it('are the same in every run and every order of warps', () => {
      inOtherOrders(() => expect(run(host, cotangents, { cuSeqlens })).to.deep.equal(packed));
    });

    it('are those of each sequence by itself', () => {
      for (const n of withTokens(cuSeqlens)) {
        const own = (all: HostInputs): HostInputs => inputsOfSequence(all, cuSeqlens, n);
        for (const [name, values] of Object.entries(run(own(host), own(cotangents), {}))) {
          expect(Array.from(values), name).to.deep.equal(partOf(packed[name], name, cuSeqlens, n));
        }
      }
    });

    it('are the same beside sequences of NaN', () => {
      const lost = ([name, { shape, data }]: [string, HostTensor]): [string, HostTensor] => {
        if (name === 'gate') return [name, { shape, data }];
        const rows = isOfSequence(name) ? cuSeqlens.length - 1 : cuSeqlens[cuSeqlens.length - 1];
        const first = (data.length / rows) * (isOfSequence(name) ? beside : cuSeqlens[beside]);
        const own = partOf(data, name, cuSeqlens, beside);
        const all = data.map((x, i) => (i < first || i >= first + own.length ? NaN : x));
        return [name, { shape, data: all }];
      };
      const others = Object.fromEntries(Object.entries(host).map(lost));
      const values = fw.withChecks(false, () => run(others, cotangents, { cuSeqlens }));
      for (const name of ['q', 'k', 'v', 'beta', 'gate']) {
        const own = (x: ArrayLike<number>): number[] => partOf(x, name, cuSeqlens, beside);
        expect(own(values[name]), name).to.deep.equal(own(packed[name]));
        expect(values[name][0], name).to.be.NaN;
      }
    });

    more();
  });
}
