// The backward pass of a recurrence in bfloat16 (native/cuda/recurrence/walk): which calls take it, how close it comes to
// float64, and that neither company nor the card changes a bit.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { type RuleCase, rounded } from '../support/ruleInputs';
import { runRule } from '../support/ruleRuns';
import { expectClose, gradientTolerance } from '../support/tolerance';
import { onEmulation } from './device';
import { onCard } from './support';
import { describeBackwardBits, expectBackward, here, ruleOf, watch, withSumsCut } from './walked';
import { CASES, erasing, gated, inputsOf, many, type Setting, tensors } from './walks';

if (onEmulation) {
  const watching = watch('recurrence/walk/gradients.cu');
  const { watched, walked } = watching;

  describe('the walk back in bfloat16 on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(CASES)) it(title, () => expectBackward(watching, setting));

    for (const title of [
      'wide keys and values',
      'strengths near 2, keys alike',
      'keys almost the same',
      'strong gates',
    ]) {
      it(`${title}, sums cut`, () => withSumsCut(() => expectBackward(watching, CASES[title])));
    }

    it('strengths of 0 and next to it', () => {
      const setting = { ...gated, T: 150, K: 64, V: 72, initial: true };
      const host = inputsOf(setting);
      host.beta.data.fill(0, 70);
      for (let t = 0; t < 70; t += 3) host.beta.data[t] = t % 2 ? 0 : 1e-30;
      expectBackward(watching, setting, rounded(host));
    });

    it('a gate of minus infinity, in the midst of a chunk and at its end', () => {
      const setting = { ...gated, T: 150, K: 64, V: 64, initial: true };
      const host = inputsOf(setting);
      for (const t of [20, 63, 64, 128]) host.gate.data[t] = -Infinity;
      expectBackward(watching, setting, host);
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      const setting = { ...gated, T: 70, H: 2, K: 64, V: 64, initial: true };
      expectBackward(watching, setting, undefined, { mixed: true, strided: true });
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

    const cuSeqlens = many(70, 71, 200);
    const packed = inputsOf({ ...gated, T: 200, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
    describeBackwardBits(watching, packed, cuSeqlens, cuSeqlens.length - 3, () => {
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
