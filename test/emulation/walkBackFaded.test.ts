// The backward pass in bfloat16 where every key has a gate of its own (native/cuda/recurrence/walk/backward_faded.cu): which
// calls take it, how close it comes to float64, and that neither company nor the card changes a bit.
import { expect } from 'chai';
import type { Target } from '../support/golden';
import { type RuleCase, rounded } from '../support/ruleInputs';
import { type RuleSetting, runRule } from '../support/ruleRuns';
import { onEmulation } from './device';
import { onCard } from './support';
import { describeBackwardBits, expectBackward, here, ruleOf, watch, withSumsCut } from './walked';
import { FADING_CASES, fading, forgetAmong, inputsOf, kda, many, type Setting } from './walks';

if (onEmulation) {
  const watching = watch('recurrence/walk/gradients_faded.cu');
  const { watched } = watching;

  describe('the walk back in bfloat16 with a gate for every key, on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(FADING_CASES)) it(title, () => expectBackward(watching, setting));

    for (const title of [
      'wide keys and values',
      'linear attention, wide',
      'strengths near 2, keys alike',
      'keys almost the same',
      'strong gates',
    ]) {
      it(`${title}, sums cut`, () => withSumsCut(() => expectBackward(watching, FADING_CASES[title])));
    }

    it('strengths of 0 and next to it', () => {
      for (const K of [64, 128]) {
        const setting = { ...kda, T: 150, K, V: 72, initial: true };
        const host = inputsOf(setting);
        host.beta.data.fill(0, 70);
        for (let t = 0; t < 70; t += 3) host.beta.data[t] = t % 2 ? 0 : 1e-30;
        expectBackward(watching, setting, rounded(host));
      }
    });

    it('gates of minus infinity, and gates that forget all between others that forget nothing', () => {
      for (const rule of [kda, fading]) {
        const setting = { ...rule, T: 150, K: 64, V: 64, initial: true };
        expectBackward(watching, setting, forgetAmong(inputsOf(setting)));
      }
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      const setting = { ...kda, T: 70, H: 2, K: 64, V: 64, initial: true };
      expectBackward(watching, setting, undefined, { mixed: true, strided: true });
    });

    it('other calls go their own way', () => {
      const sizes = { ...kda, T: 20, K: 64, V: 64 };
      const run = (setting: Setting, options: object = {}, where: Target = here, how: RuleSetting = {}): boolean => {
        const rule = ruleOf(setting);
        const call: RuleCase = { ...rule, options: { ...rule.options, ...options } };
        return watched(() => runRule(call, how, inputsOf(setting), where, 'chunk'))[1];
      };
      expect(run(sizes, {}, { ...here, dtype: 'float32' }), 'float32').to.equal(false);
      expect(run(sizes, { chunkSize: 32 }), 'chunks of 32').to.equal(false);
      expect(run({ ...sizes, K: 48 }), 'other keys').to.equal(false);
      expect(run({ ...sizes, V: 12 }), 'values that are no whole pieces').to.equal(false);
      expect(run({ ...sizes, keyGates: false }), 'a gate per head').to.equal(false);
      expect(run(sizes)).to.equal(true);
    });

    const cuSeqlens = many(70, 71, 200);
    const packed = inputsOf({ ...kda, T: 200, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
    describeBackwardBits(watching, packed, cuSeqlens, cuSeqlens.length - 3, () => {
      it('are the same on smaller cards: in groups of chunks, and with no room for two stages', async () => {
        const source = `
          const { createHash } = require('node:crypto');
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 });
          fw.manualSeed(1);
          const rows = [1, 2, 3].map(() => draw(1, 1500, 1, 128).to('bfloat16'));
          const [beta, gate] = [draw(1, 1500, 1).abs(), draw(1, 1500, 1, 128).abs().neg()];
          const leaves = [...rows, beta, gate];
          for (const leaf of leaves) leaf.requiresGrad = true;
          fw.deltaRule(...rows, { beta, gate }).output.square().sum().backward();
          const hash = createHash('sha1');
          for (const { grad } of leaves) hash.update(grad.dataSync());
          console.log(hash.digest('hex'));`;
        const cards = ['capability=9.0', 'capability=8.6', `memory=${16 << 20},multiprocessors=1`];
        const [large, ...small] = await Promise.all(cards.map((kind) => onCard(source, kind)));
        for (const { stderr } of [large, ...small]) expect(stderr).to.equal('');
        expect(large.stdout).not.to.equal('');
        for (const { stdout } of small) expect(stdout).to.equal(large.stdout);
      }).timeout(300_000);
    });
  });
}
