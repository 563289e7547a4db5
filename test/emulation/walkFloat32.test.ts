// The walk through chunks in float32 (native/cuda/recurrence/float32) and its gradients: which calls take it, that they are
// exact to float32, and that neither company nor the card changes a bit.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Draw, type HostInputs, rounded, type RuleCase, RULES } from '../support/ruleInputs';
import { expectCloseRuns, type RuleRun, type RuleSetting, runRule } from '../support/ruleRuns';
import { expectClose } from '../support/tolerance';
import { describeFindings, emulation, onEmulation } from './device';
import { onCard } from './support';
import { CASES, erasing, gated, inputsOf, results, type Setting, tensors, visitsOf } from './walks';

const SETTINGS: Record<string, Setting> = {
  ...CASES,
  'half a chunk of the state that is kept': { ...gated, T: 32, K: 64, V: 64, initial: true },
  'a token more than that': { ...gated, T: 33, K: 64, V: 36, initial: true },
  'three halves': { ...gated, T: 96, K: 64, V: 4, initial: true },
};

/** A few keys that return, with strengths of 2 and nothing that forgets: no error is forgotten, either. */
function returning(period: number, alike: number): HostInputs {
  const [T, K] = [256, 64];
  const host = inputsOf({ T, K, V: 16, beta: [2, 2], alike });
  const { data } = host.k;
  for (let i = period * K; i < data.length; i++) data[i] = data[i - period * K];
  return host;
}
/** The whole walk is within a few units of this, as is that in chunks of sixteen tokens with sums of single products. */
const OF_RETURNING = 4e-6;

function ruleOf({ beta, gate }: Setting): RuleCase {
  const kind = beta ? 'deltaRule' : gate ? 'gatedLinearAttention' : 'linearAttention';
  return RULES.find(({ name }) => name === (gate ? `${kind}, scalar gate` : kind))!;
}

if (onEmulation) {
  const card = emulation();
  const here: Target = { device: 'cuda-emulation', dtype: 'float32' };
  const exact: Target = { device: 'js', dtype: 'float64' };
  /** A call's value, and whether it took the walk and, with gradients, the walk back. */
  const watched = <T>(call: () => T): [value: T, walks: boolean, walksBack: boolean] => {
    const visits = (): number[] => ['prepare.cu', 'gradients.cu'].map((s) => visitsOf(card.sites(), `float32/${s}`));
    const before = visits();
    const value = fw.scope(call);
    const [walk, back] = visits().map((now, i) => now > before[i]);
    return [value, walk, back];
  };
  const walked = <T>(call: () => T): T => {
    const [value, walks, back] = watched(call);
    expect([walks, back]).to.deep.equal([true, true]);
    expect(describeFindings(card.findings())).to.equal('');
    return value;
  };
  const expectExact = (setting: Setting, host = inputsOf(setting), options: RuleSetting = {}): void => {
    const rule = ruleOf(setting);
    const how = { cuSeqlens: setting.cuSeqlens, ...options };
    const reference = runRule(rule, how, host, exact, 'recurrent');
    expectCloseRuns(
      walked(() => runRule(rule, how, host, here, 'chunk')),
      reference,
      'float32',
    );
  };
  const cut = (call: () => void): void => {
    card.setTruncatedSums(true);
    try {
      call();
    } finally {
      card.setTruncatedSums(false);
    }
  };

  describe('the walk in float32 on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(SETTINGS)) it(title, () => expectExact(setting));

    for (const title of [
      'wide keys and values',
      'strengths near 2, keys alike',
      'keys almost the same',
      'strong gates',
    ]) {
      it(`${title}, sums cut`, () => cut(() => expectExact(SETTINGS[title])));
    }

    for (const [period, alike] of [
      [1, 0],
      [3, 0.5],
      [7, 0.9],
      [20, 0.99],
    ]) {
      for (const truncated of [false, true]) {
        it(`${period} keys that return, ${alike} alike${truncated ? ', sums cut' : ''}`, () => {
          const host = returning(period, alike);
          const run = (): void => {
            const reference = results(tensors(host, exact), { mode: 'recurrent' });
            const [output, finalState] = fw.noGrad(() => fw.scope(() => results(tensors(host, here))));
            expectClose('output', output, reference[0], OF_RETURNING);
            expectClose('final state', finalState, reference[1], OF_RETURNING);
          };
          if (truncated) cut(run);
          else run();
        });
      }
    }

    it('gates that hardly fade after some that leave nothing', () => {
      const setting = { ...gated, T: 150, K: 64, V: 64, initial: true };
      const host = inputsOf(setting);
      host.gate.data.forEach((_, t) => (host.gate.data[t] = t % 32 < 16 ? -100.3 : -0.003 * (1 + (t % 3))));
      expectExact(setting, rounded(host));
    });

    it('strengths of 0 and next to it', () => {
      const setting = { ...gated, T: 150, K: 64, V: 72, initial: true };
      const host = inputsOf(setting);
      host.beta.data.fill(0, 70);
      for (let t = 0; t < 70; t += 3) host.beta.data[t] = t % 2 ? 0 : 1e-30;
      expectExact(setting, rounded(host));
    });

    it('a gate of minus infinity, in the midst of a chunk and at its end', () => {
      const setting = { ...gated, T: 150, K: 64, V: 64, initial: true };
      const host = inputsOf(setting);
      for (const t of [20, 31, 63, 64, 128]) host.gate.data[t] = -Infinity;
      expectExact(setting, host);
    });

    it('slices of wider tensors', () => {
      expectExact({ ...gated, T: 70, H: 2, K: 64, V: 64, initial: true }, undefined, { strided: true });
    });

    it('other calls go their own way', () => {
      const sizes = { ...gated, T: 20, K: 64, V: 64 };
      const run = (setting: Setting, options: object = {}): boolean[] => {
        const rule = ruleOf(setting);
        const call: RuleCase = { ...rule, options: { ...rule.options, ...options } };
        return watched(() => runRule(call, {}, inputsOf(setting), here, 'chunk')).slice(1) as boolean[];
      };
      const neither = [false, false];
      expect(run(sizes, { chunkSize: 32 }), 'chunks of 32').to.deep.equal(neither);
      expect(run({ ...sizes, K: 48 }), 'other keys').to.deep.equal(neither);
      expect(run({ ...sizes, V: 66 }), 'values that are no whole pieces').to.deep.equal(neither);
      expect(run({ ...sizes, keyGates: true }), 'a gate for every key').to.deep.equal(neither);
      expect(run(sizes)).to.deep.equal([true, true]);
      const x = tensors(inputsOf(sizes), here);
      const wide = fw.cat([x.q, x.q], 3);
      const odd = watched(() => fw.noGrad(() => results({ ...x, q: wide.slice(3, 1, 65) })));
      expect(odd[1], 'rows that are not aligned').to.equal(false);
    });

    describe('bits', () => {
      const T = 150;
      const cuSeqlens = [0, 0, 70, 71, T];
      const setting = { ...gated, T, H: 2, K: 64, V: 72, cuSeqlens, initial: true };
      const host = inputsOf(setting);
      const rule = ruleOf(setting);
      const draw = new Draw(7);
      const cotangents = rounded({
        output: draw.uniform(host.v.shape, -1, 1),
        finalState: draw.uniform(host.initialState.shape, -1, 1),
      });
      const runOf = (inputs: HostInputs, given: HostInputs, options: object): RuleRun => {
        const leaves = tensors(inputs, here);
        for (const leaf of Object.values(leaves)) leaf.requiresGrad = true;
        const run = rule.call(leaves, { ...rule.options, outputFinalState: true, ...options });
        const { output, finalState } = tensors(given, here);
        run.output.mul(output).sum().add(run.finalState!.mul(finalState).sum()).backward();
        const values = (of: Record<string, fw.Tensor>): Record<string, ArrayLike<number>> =>
          Object.fromEntries(Object.entries(of).map(([name, t]) => [name, t.dataSync()]));
        const gradients = Object.fromEntries(Object.entries(leaves).map(([name, { grad }]) => [name, grad!]));
        const found = {
          outputs: values({ output: run.output, finalState: run.finalState! }),
          gradients: values(gradients),
        };
        Object.values(gradients).forEach((grad) => grad.dispose());
        return found;
      };
      let packed: RuleRun;
      before(() => {
        packed = walked(() => runOf(host, cotangents, { cuSeqlens }));
      });

      it('are the same in every run and every order of warps', () => {
        for (const seed of [0, 1, 2]) {
          card.setSeed(seed);
          expect(walked(() => runOf(host, cotangents, { cuSeqlens }))).to.deep.equal(packed);
        }
        card.setSeed(0);
      });

      it('are those of each sequence by itself', () => {
        const N = cuSeqlens.length - 1;
        cuSeqlens.slice(1).forEach((end, n) => {
          const begin = cuSeqlens[n];
          if (end === 0) return;
          const part = (x: ArrayLike<number>, name: string): Float64Array => {
            const [rows, from, to] = /State$/.test(name) ? [N, n, n + 1] : [T, begin, end];
            const each = x.length / rows;
            return Float64Array.from(x).slice(each * from, each * to);
          };
          const own = (all: HostInputs): HostInputs =>
            Object.fromEntries(
              Object.entries(all).map(([name, { shape, data }]) => {
                const length = /State$/.test(name) ? [1, shape[1]] : [1, end - begin];
                return [name, { shape: [...length, ...shape.slice(2)], data: part(data, name) }];
              }),
            );
          const alone = walked(() => runOf(own(host), own(cotangents), {}));
          for (const kind of ['outputs', 'gradients'] as const) {
            for (const [name, values] of Object.entries(alone[kind])) {
              expect(Float64Array.from(values), `${kind} ${name}`).to.deep.equal(part(packed[kind][name], name));
            }
          }
        });
      });

      it('are the same beside sequences of NaN', () => {
        const kept = (x: ArrayLike<number>, i: number): boolean => i >= (x.length / T) * 71;
        const beside = Object.fromEntries(
          Object.entries(host).map(([name, { shape, data }]) => {
            const lost = (i: number): boolean => !/State$/.test(name) && !kept(data, i);
            return [name, { shape, data: data.map((x, i) => (lost(i) ? NaN : x)) }];
          }),
        );
        const run = walked(() => fw.withChecks(false, () => runOf(beside, cotangents, { cuSeqlens })));
        for (const name of ['q', 'k', 'v', 'beta', 'gate']) {
          const own = (x: ArrayLike<number>): number[] => Array.from(x).filter((_, i) => kept(x, i));
          expect(own(run.gradients[name]), name).to.deep.equal(own(packed.gradients[name]));
        }
        expect(run.outputs.output[0]).to.be.NaN;
      });

      it('are the same in groups of chunks, and on a card with little shared memory', async () => {
        const source = `
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 });
          fw.manualSeed(1);
          const leaves = [64, 64, 8].map((width) => draw(1, 300, 8, width));
          for (const leaf of leaves) leaf.requiresGrad = true;
          const options = { beta: draw(1, 300, 8).abs(), gate: draw(1, 300, 8).abs().neg(), cuSeqlens: [0, 33, 300] };
          const { output } = fw.deltaRule(...leaves, options);
          output.square().sum().backward();
          for (const t of [output, ...leaves.map(({ grad }) => grad)]) console.log(t.dataSync().join());`;
        const cards = ['capability=9.0', `capability=8.6,memory=${8 << 20}`];
        const runs = await Promise.all(cards.map((kind) => onCard(source, kind)));
        for (const { stderr } of runs) expect(stderr).to.equal('');
        expect(runs[0].stdout).not.to.equal('');
        expect(runs[1].stdout).to.equal(runs[0].stdout);
      });
    });

    it('a gradient of the output alone, or of the final state', () => {
      for (const which of ['output', 'finalState'] as const) {
        const gradientOf = ({ device, dtype }: Target): ArrayLike<number> =>
          fw.scope(() => {
            const leaves = tensors(inputsOf({ ...erasing, T: 70, K: 64, V: 64 }), { device, dtype });
            leaves.k.requiresGrad = true;
            const { q, k, v, beta } = leaves;
            const run = fw.deltaRule(q, k, v, { beta, outputFinalState: true });
            run[which].square().sum().backward();
            const values = k.grad!.dataSync();
            k.grad!.dispose();
            return values;
          });
        expectClose(
          which,
          walked(() => gradientOf(here)),
          gradientOf(exact),
          1e-4,
        );
      }
    });
  });
}
