// The walk through chunks in bfloat16 (native/cuda/recurrence/walk): which calls take it, how close it comes to float64,
// and that neither company nor the card changes a bit. Its gradients: walkBack.test.ts.
import { expect } from 'chai';
import * as fw from '../../lib';
import { onEmulation } from './device';
import { onCard } from './support';
import { describeForwardBits, expectForward, expectSameOfSlices, here, watch, withSumsCut } from './walked';
import { CASES, gated, inputsOf, many, results, type Setting, tensors } from './walks';

if (onEmulation) {
  const watching = watch('recurrence/walk/');
  const { watched } = watching;

  describe('the walk in bfloat16 on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(CASES)) {
      it(title, () => expectForward(watching, setting));
      it(`${title}, sums cut`, () => withSumsCut(() => expectForward(watching, setting)));
    }

    // Sequences of more than 16384 tokens are walked in segments of 4096. Little is forgotten, so that a segment's end
    // depends on its start.
    const gentle = { beta: [0, 0.01] as [number, number], gate: [-0.0002, 0] as [number, number], initial: true };
    const LONG: Record<string, Setting> = {
      'a long sequence': { ...gentle, T: 16450, K: 64, V: 72 },
      'long, wide keys': { T: 16385, K: 128, V: 64, beta: [0, 0.01], initial: true },
      'long, strong, keys alike': { T: 16450, K: 64, V: 64, beta: [1.9, 2], alike: 0.9, initial: true },
      'long, linear attention, gated': { T: 20500, K: 64, V: 8, gate: [-0.0002, 0], initial: true },
      'long among others, packed': { ...gentle, T: 16700, H: 2, K: 64, V: 64, cuSeqlens: [0, 70, 70, 16500, 16700] },
    };
    for (const [title, setting] of Object.entries(LONG)) {
      it(title, () => expectForward(watching, setting));
    }

    it('a gate of minus infinity forgets all, in the midst of a chunk and at its end', () => {
      const setting = { ...gated, T: 150, K: 64, V: 64, initial: true };
      const host = inputsOf(setting);
      for (const t of [20, 63, 64, 128]) host.gate.data[t] = -Infinity;
      expectForward(watching, setting, host);
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      expectSameOfSlices(watching, inputsOf({ ...gated, T: 70, H: 2, K: 64, V: 64, initial: true }));
    });

    it('other calls go their own way', () => {
      const host = inputsOf({ ...gated, T: 20, K: 64, V: 64 });
      const x = tensors(host, here);
      const wide = fw.cat([x.q, x.q], 3);
      const elsewhere: [string, () => unknown][] = [
        ['float32', () => results(tensors(host, { ...here, dtype: 'float32' }))],
        ['chunks of 32', () => results(x, { chunkSize: 32 })],
        ['rows that are not aligned', () => results({ ...x, q: wide.slice(3, 1, 65) })],
        ['other keys', () => results(tensors(inputsOf({ ...gated, T: 20, K: 48, V: 64 }), here))],
        ['values that are no whole pieces', () => results(tensors(inputsOf({ ...gated, T: 20, K: 64, V: 12 }), here))],
        ['keys of its own to erase', () => fw.comba(x.q, x.k, x.v, { p: x.k, beta: x.beta, gate: x.gate })],
      ];
      for (const [title, call] of elsewhere) expect(watched(call)[1], title).to.equal(false);
      expect(watched(() => results(x))[1]).to.equal(true);
    });

    const cuSeqlens = many(70, 71, 200);
    const packed = inputsOf({ ...gated, T: 200, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
    describeForwardBits(watching, packed, cuSeqlens, () => {
      it('of a long sequence are the same in company, in groups of chunks and with other blocks', async () => {
        const source = `
          const { createHash } = require('node:crypto');
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 });
          fw.manualSeed(1);
          const x = { q: draw(1, 16460, 1, 64), k: draw(1, 16460, 1, 64), v: draw(1, 16460, 1, 72) };
          for (const [name, t] of Object.entries(x)) x[name] = t.to('bfloat16');
          const gates = { beta: draw(1, 16460, 1).abs().mul(0.01), gate: draw(1, 16460, 1).abs().mul(-0.001) };
          const initialState = draw(4, 1, 64, 72);
          const run = (begin, end, options) => {
            const [q, k, v, beta, gate] = [...Object.values(x), ...Object.values(gates)].map((t) => t.slice(1, begin, end));
            return fw.deltaRule(q, k, v, { beta, gate, outputFinalState: true, ...options });
          };
          const print = (...tensors) => {
            const hash = createHash('sha1');
            for (const t of tensors) hash.update(new Uint8Array(t.dataSync().buffer));
            console.log(hash.digest('hex'));
          };
          const alone = run(66, 16452, { initialState: initialState.slice(0, 2, 3) });
          print(alone.output, alone.finalState);
          const [q, k, v, gate] = [x.q, x.k, x.v, gates.gate].map((t) => t.slice(1, 0, 16452));
          const linear = fw.gatedLinearAttention(q, k, v, { gate, outputFinalState: true });
          print(linear.output, linear.finalState);
          if (!process.env.FAST_WEIGHTS_EMULATED_CARD) {
            const all = run(0, 16460, { initialState, cuSeqlens: [0, 66, 66, 16452, 16460] });
            print(all.output.slice(1, 66, 16452), all.finalState.slice(0, 2, 3));
          }`;
        const cards = ['', `memory=${64 << 20},multiprocessors=1`];
        const [large, small] = await Promise.all(cards.map((card) => onCard(source, card)));
        for (const { stderr } of [large, small]) expect(stderr).to.equal('');
        const [alone, linear, packed] = large.stdout.trim().split('\n');
        expect(packed).to.equal(alone);
        expect(small.stdout.trim().split('\n')).to.deep.equal([alone, linear]);
      }).timeout(300_000);

      it('are the same on a card with little shared memory, which has no room for two stages', async () => {
        const source = `
          const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3 }).to('bfloat16');
          fw.manualSeed(1);
          const [q, k, v] = [1, 2, 3].map(() => draw(1, 200, 1, 128));
          const options = { beta: draw(1, 200, 1).abs(), cuSeqlens: [${many(200).join()}] };
          console.log(fw.deltaRule(q, k, v, options).output.dataSync().join());`;
        const runs = await Promise.all(['capability=9.0', 'capability=8.6'].map((kind) => onCard(source, kind)));
        for (const { stderr } of runs) expect(stderr).to.equal('');
        expect(runs[0].stdout).not.to.equal('');
        expect(runs[1].stdout).to.equal(runs[0].stdout);
      });
    });
  });
}
