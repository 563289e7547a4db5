// The backward pass of a recurrence in bfloat16 (native/cuda/recurrence/walk): which calls take it, how close it comes to
// float64, and that neither company nor the card changes a bit.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Draw, type HostInputs, type HostTensor, rounded, type RuleCase, RULES } from '../support/ruleInputs';
import { expectCloseRuns, heldBy, type RuleSetting, runRule } from '../support/ruleRuns';
import { expectClose, gradientTolerance } from '../support/tolerance';
import { describeFindings, emulation, onEmulation } from './device';
import { onCard } from './support';
import { CASES, erasing, gated, inputsOf, many, type Setting, tensors, visitsOf } from './walks';

function ruleOf({ beta, gate }: Setting): RuleCase {
  const kind = beta ? 'deltaRule' : gate ? 'gatedLinearAttention' : 'linearAttention';
  return RULES.find(({ name }) => name === (gate ? `${kind}, scalar gate` : kind))!;
}

if (onEmulation) {
  const card = emulation();
  const here: Target = { device: 'cuda-emulation', dtype: 'bfloat16' };
  /** A call's value, and whether its gradients were those of the walk back. */
  const watched = <T>(call: () => T): [T, boolean] => {
    const visits = (): number => visitsOf(card.sites(), 'recurrence/walk/gradients.cu');
    const before = visits();
    const value = call();
    return [value, visits() > before];
  };
  const walked = <T>(call: () => T): T => {
    const [value, walks] = watched(call);
    expect(walks).to.equal(true);
    expect(describeFindings(card.findings())).to.equal('');
    return value;
  };
  const expectExact = (setting: Setting, host = inputsOf(setting), options: RuleSetting = {}): void => {
    const rule = ruleOf(setting);
    const how = { cuSeqlens: setting.cuSeqlens, ...options };
    const held = heldBy(host, how, 'bfloat16');
    const exact = runRule(rule, how, held, { device: 'js', dtype: 'float64' }, 'recurrent');
    expectCloseRuns(
      walked(() => runRule(rule, how, held, here, 'chunk')),
      exact,
      'bfloat16',
    );
  };

  describe('the walk back in bfloat16 on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(CASES)) it(title, () => expectExact(setting));

    for (const title of [
      'wide keys and values',
      'strengths near 2, keys alike',
      'keys almost the same',
      'strong gates',
    ]) {
      it(`${title}, sums cut`, () => {
        card.setTruncatedSums(true);
        try {
          expectExact(CASES[title]);
        } finally {
          card.setTruncatedSums(false);
        }
      });
    }

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
      for (const t of [20, 63, 64, 128]) host.gate.data[t] = -Infinity;
      expectExact(setting, host);
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      const setting = { ...gated, T: 70, H: 2, K: 64, V: 64, initial: true };
      expectExact(setting, undefined, { mixed: true, strided: true });
    });

    it('other calls go their own way', () => {
      const sizes = { ...gated, T: 20, K: 64, V: 64 };
      const run = (setting: Setting, where: Target = here, options: object = {}): boolean => {
        const rule = ruleOf(setting);
        const call: RuleCase = { ...rule, options: { ...rule.options, ...options } };
        return watched(() => runRule(call, {}, inputsOf(setting), where, 'chunk'))[1];
      };
      expect(run(sizes, { ...here, dtype: 'float32' }), 'float32').to.equal(false);
      expect(run(sizes, here, { chunkSize: 32 }), 'chunks of 32').to.equal(false);
      expect(run({ ...sizes, K: 48 }), 'other keys').to.equal(false);
      expect(run({ ...sizes, V: 12 }), 'values that are no whole pieces').to.equal(false);
      expect(run(sizes)).to.equal(true);
    });

    describe('bits', () => {
      const T = 200;
      const cuSeqlens = many(70, 71, T);
      const host = inputsOf({ ...gated, T, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
      const draw = new Draw(7);
      const cotangents = rounded({
        output: draw.uniform(host.v.shape, -1, 1),
        finalState: draw.uniform(host.initialState.shape, -1, 1),
      });
      type Gradients = Record<string, ArrayLike<number>>;
      const gradientsOf = (inputs: HostInputs, { output, finalState }: HostInputs, options: object): Gradients =>
        fw.scope(() => {
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
        });
      let packed: Gradients;
      before(() => {
        packed = walked(() => gradientsOf(host, cotangents, { cuSeqlens }));
      });

      it('are the same in every run and every order of warps', () => {
        for (const seed of [0, 1, 2]) {
          card.setSeed(seed);
          expect(walked(() => gradientsOf(host, cotangents, { cuSeqlens }))).to.deep.equal(packed);
        }
        card.setSeed(0);
      });

      it('are those of each sequence by itself', () => {
        const N = cuSeqlens.length - 1;
        cuSeqlens.slice(1).forEach((end, n) => {
          const begin = cuSeqlens[n];
          if (end === 0) return;
          const cut = (x: ArrayLike<number>, name: string): number[] => {
            const [rows, from, to] = /State$/.test(name) ? [N, n, n + 1] : [T, begin, end];
            return Array.from(x).slice((x.length / rows) * from, (x.length / rows) * to);
          };
          const own = (all: HostInputs): HostInputs =>
            Object.fromEntries(
              Object.entries(all).map(([name, { shape, data }]): [string, HostTensor] => {
                const [first, second, ...rest] = shape;
                const part = /State$/.test(name) ? [1, second, ...rest] : [first, end - begin, ...rest];
                return [name, { shape: part, data: Float64Array.from(cut(data, name)) }];
              }),
            );
          const alone = walked(() => gradientsOf(own(host), own(cotangents), {}));
          for (const [name, values] of Object.entries(alone)) {
            expect(Array.from(values), name).to.deep.equal(cut(packed[name], name));
          }
        });
      });

      it('are the same beside sequences of NaN', () => {
        const beside = Object.fromEntries(
          Object.entries(host).map(([name, { shape, data }]): [string, HostTensor] => {
            const [rows, from, to] = /State$/.test(name)
              ? [cuSeqlens.length - 1, cuSeqlens.length - 3, cuSeqlens.length - 2]
              : [T, 70, 71];
            const each = data.length / rows;
            const lost = (i: number): boolean => name !== 'gate' && (i < from * each || i >= to * each);
            return [name, { shape, data: data.map((x, i) => (lost(i) ? NaN : x)) }];
          }),
        );
        const run = walked(() => fw.withChecks(false, () => gradientsOf(beside, cotangents, { cuSeqlens })));
        for (const name of ['q', 'k', 'v', 'beta', 'gate']) {
          const each = packed[name].length / T;
          const own = (x: ArrayLike<number>): number[] => Array.from(x).slice(70 * each, 71 * each);
          expect(own(run[name]), name).to.deep.equal(own(packed[name]));
          expect(run[name][0], name).to.be.NaN;
        }
      });

      it('are the same on a card with little shared memory, which has no room for two stages', async () => {
        const source = `
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 }).to('bfloat16');
          fw.manualSeed(1);
          const leaves = [1, 2, 3].map(() => draw(1, 200, 1, 128));
          for (const leaf of leaves) leaf.requiresGrad = true;
          const options = { beta: draw(1, 200, 1).abs(), cuSeqlens: [${many(200).join()}] };
          fw.deltaRule(...leaves, options).output.square().sum().backward();
          for (const { grad } of leaves) console.log(grad.dataSync().join());`;
        const runs = await Promise.all(['capability=9.0', 'capability=8.6'].map((kind) => onCard(source, kind)));
        for (const { stderr } of runs) expect(stderr).to.equal('');
        expect(runs[0].stdout).not.to.equal('');
        expect(runs[1].stdout).to.equal(runs[0].stdout);
      });
    });

    it('a gradient of the output alone, or of the final state', () => {
      const setting = { ...erasing, T: 70, K: 64, V: 64 };
      const gradientOf = (which: 'output' | 'finalState', { device, dtype }: Target): ArrayLike<number> =>
        fw.scope(() => {
          const { q, k, v, beta } = tensors(inputsOf(setting), { device, dtype });
          k.requiresGrad = true;
          fw.deltaRule(q, k, v, { beta, outputFinalState: true })[which].sum().backward();
          const values = k.grad!.dataSync();
          k.grad!.dispose();
          return values;
        });
      for (const which of ['output', 'finalState'] as const) {
        const values = walked(() => gradientOf(which, here));
        expectClose(
          which,
          values,
          gradientOf(which, { device: 'js', dtype: 'float64' }),
          gradientTolerance('bfloat16', 'k'),
        );
      }
    });
  });
}
