// The walk in bfloat16 where every key has a gate of its own (native/cuda/recurrence/walk/walk_faded.cu): which calls take it,
// how close it comes to float64, and that neither company nor the card changes a bit. Its gradients: walkBackFaded.test.ts.
import { expect } from 'chai';
import * as fw from '../../lib';
import { onEmulation } from './device';
import { onCard } from './support';
import { describeForwardBits, expectForward, expectSameOfSlices, here, watch, withSumsCut } from './walked';
import { FADING_CASES, forgetAmong, inputsOf, kda, many, results, tensors } from './walks';

if (onEmulation) {
  const watching = watch('walk/fade.cu');
  const { watched } = watching;

  describe('the walk in bfloat16 with a gate for every key, on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(FADING_CASES)) {
      it(title, () => expectForward(watching, setting));
      it(`${title}, sums cut`, () => withSumsCut(() => expectForward(watching, setting)));
    }

    it('gates of minus infinity, and gates that forget all between others that forget nothing', () => {
      const setting = { ...kda, T: 150, K: 64, V: 64, initial: true };
      expectForward(watching, setting, forgetAmong(inputsOf(setting)));
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      expectSameOfSlices(watching, inputsOf({ ...kda, T: 70, H: 2, K: 64, V: 64, initial: true }));
    });

    it('other calls go their own way', () => {
      const setting = { ...kda, T: 20, K: 64, V: 64 };
      const host = inputsOf(setting);
      const x = tensors(host, here);
      const wide = fw.cat([x.gate, x.gate], 3);
      const elsewhere: [string, () => unknown][] = [
        ['float32', () => results(tensors(host, { ...here, dtype: 'float32' }))],
        ['chunks of 32', () => results(x, { chunkSize: 32 })],
        ['gates that are not aligned', () => results({ ...x, gate: wide.slice(3, 1, 65) })],
        ['other keys', () => results(tensors(inputsOf({ ...setting, K: 48 }), here))],
        ['a gate per head', () => results({ ...x, gate: x.gate.slice(3, 0, 1).squeeze(3) })],
        ['a strength per value', () => results({ ...x, beta: x.v.abs() })],
        ['keys of its own to erase', () => fw.comba(x.q, x.k, x.v, { p: x.k, beta: x.beta, gate: x.gate })],
      ];
      for (const [title, call] of elsewhere) expect(watched(call)[1], title).to.equal(false);
      expect(watched(() => results(x))[1]).to.equal(true);
    });

    const cuSeqlens = many(70, 71, 200);
    const packed = inputsOf({ ...kda, T: 200, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
    describeForwardBits(watching, packed, cuSeqlens, () => {
      it('are the same on smaller cards: in groups of chunks, and with no room for two stages', async () => {
        const source = `
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 });
          fw.manualSeed(1);
          const [q, k, v] = [1, 2, 3].map(() => draw(1, 2100, 1, 128).to('bfloat16'));
          const options = { beta: draw(1, 2100, 1).abs(), gate: draw(1, 2100, 1, 128).abs().neg() };
          const { output, finalState } = fw.deltaRule(q, k, v, { ...options, outputFinalState: true });
          console.log(require('node:crypto').createHash('sha1')
            .update(output.dataSync()).update(finalState.dataSync()).digest('hex'));`;
        const cards = ['capability=9.0', 'capability=8.6', `memory=${16 << 20},multiprocessors=1`];
        const [large, ...small] = await Promise.all(cards.map((kind) => onCard(source, kind)));
        for (const { stderr } of [large, ...small]) expect(stderr).to.equal('');
        expect(large.stdout).not.to.equal('');
        for (const { stdout } of small) expect(stdout).to.equal(large.stdout);
      }).timeout(300_000);
    });
  });
}
