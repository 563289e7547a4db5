// The walk in bfloat16 where every key has a gate of its own (native/cuda/recurrence/walk/walk_faded.cu): which calls take it,
// how close it and the gradients after it come to float64, and that neither company nor the card changes a bit.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { RULES } from '../support/ruleInputs';
import { expectCloseRuns, heldBy, type RuleSetting, runRule } from '../support/ruleRuns';
import { expectClose, toleranceOf } from '../support/tolerance';
import { describeFindings, emulation, onEmulation } from './device';
import { onCard } from './support';
import { erasing, inputsOf, many, type Results, results, type Setting, tensors, visitsOf } from './walks';

const LIMIT = toleranceOf('bfloat16').forward;

const fading = { gate: [-0.3, 0] as [number, number], keyGates: true };
const kda = { ...erasing, ...fading };
const CASES: Record<string, Setting> = {
  'one token': { ...kda, T: 1, K: 64, V: 64, initial: true },
  'a token less than half a chunk': { ...kda, T: 31, K: 64, V: 64 },
  'half a chunk': { ...kda, T: 32, K: 64, V: 64, initial: true },
  'a token more': { ...kda, T: 33, K: 128, V: 64, initial: true },
  'a token less than a chunk': { ...kda, T: 63, K: 64, V: 128 },
  'a token more than a chunk': { ...kda, T: 65, K: 64, V: 72, initial: true },
  'four chunks, three blocks of values': { ...kda, T: 201, K: 64, V: 136, initial: true },
  'wide keys and values': { ...kda, T: 135, K: 128, V: 128, initial: true },
  'few values': { ...kda, T: 70, H: 2, K: 128, V: 8 },
  'linear attention': { ...fading, T: 135, K: 64, V: 72, initial: true },
  'linear attention, wide': { ...fading, T: 135, K: 128, V: 136 },
  'linear attention, many': { ...fading, T: 200, K: 128, V: 72, cuSeqlens: many(40, 200) },
  'batch, fewer heads of keys': { ...kda, B: 2, T: 70, H: 2, HV: 4, K: 64, V: 64, initial: true },
  packed: { ...kda, T: 200, H: 2, K: 64, V: 128, cuSeqlens: [0, 0, 1, 66, 66, 199, 200, 200], initial: true },
  'packed, many, wide': { ...kda, T: 200, K: 128, V: 136, cuSeqlens: many(63, 200), initial: true },
  'strengths near 2': { ...fading, T: 321, K: 64, V: 64, beta: [1.8, 2], gate: [-0.001, 0] },
  'strengths near 2, keys alike': { ...fading, T: 321, K: 128, V: 64, beta: [1.8, 2], gate: [-0.001, 0], alike: 0.9 },
  'strengths near 2, keys alike that fade': { ...fading, T: 321, K: 64, V: 64, beta: [1.8, 2], alike: 0.9 },
  'keys alike': { ...kda, T: 321, K: 128, V: 64, gate: [-0.02, 0], alike: 0.9 },
  'keys almost the same': { ...kda, T: 321, K: 64, V: 64, gate: [-0.001, 0], alike: 0.99 },
  'strong gates': { ...kda, T: 135, K: 64, V: 64, gate: [-100, 0], initial: true },
  'strong gates, linear attention': { ...fading, T: 135, K: 64, V: 64, gate: [-100, 0], initial: true },
  'tiny values, large queries': { ...kda, T: 100, K: 64, V: 64, scale: { v: 1e-6, q: 1e5 } },
  'large values, tiny queries': { ...kda, T: 100, K: 64, V: 64, scale: { v: 1e5, q: 1e-6 } },
  'long keys': { ...fading, T: 100, K: 64, V: 64, scale: { q: 1e4, k: 1e5 } },
};

if (onEmulation) {
  const card = emulation();
  const here: Target = { device: 'cuda-emulation', dtype: 'bfloat16' };
  const visits = (): number => visitsOf(card.sites(), 'walk/fade.cu');
  /** A call's value, and whether it took the walk. */
  const watched = <T>(call: () => T): [T, boolean] => {
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
  const expectExact = (setting: Setting, host = inputsOf(setting)): void => {
    const { cuSeqlens } = setting;
    const exact = results(tensors(host, { device: 'js', dtype: 'float64' }), { cuSeqlens, mode: 'recurrent' });
    const [output, finalState] = walked(() => results(tensors(host, here), { cuSeqlens }));
    expectClose('output', output, exact[0], LIMIT);
    expectClose('final state', finalState, exact[1], LIMIT);
  };

  describe('the walk in bfloat16 with a gate for every key, on the emulated card', function () {
    this.timeout(120_000);

    for (const [title, setting] of Object.entries(CASES)) {
      for (const truncated of [false, true]) {
        it(`${title}${truncated ? ', sums cut' : ''}`, () => {
          card.setTruncatedSums(truncated);
          try {
            expectExact(setting);
          } finally {
            card.setTruncatedSums(false);
          }
        });
      }
    }

    it('gates of minus infinity, and gates that forget all between others that forget nothing', () => {
      const [T, K] = [150, 64];
      const setting = { ...kda, T, K, V: 64, initial: true };
      const host = inputsOf(setting);
      const { data } = host.gate;
      for (const t of [0, 3, 20, 63, 64, 128]) for (let i = t % 3; i < K; i += 3) data[t * K + i] = -Infinity;
      for (const t of [5, 17, 40, 100]) for (let i = 0; i < K; i += 2) data[t * K + i] = -1000;
      expectExact(setting, host);
    });

    it('float32 gates, strengths and states, and slices of wider tensors', () => {
      const host = inputsOf({ ...kda, T: 70, H: 2, K: 64, V: 64, initial: true });
      const { beta, gate, initialState, ...rows } = host;
      const [output, finalState] = walked(() => {
        const { q, k, v } = tensors(rows, here);
        const wide = fw.cat([q, k, v], 3);
        const slice = (i: number): fw.Tensor => wide.slice(3, 64 * i, 64 * (i + 1));
        const exact = tensors({ beta, gate, initialState }, { ...here, dtype: 'float32' });
        return results({ q: slice(0), k: slice(1), v: slice(2), ...exact });
      });
      const plain = walked(() => results(tensors(host, here)));
      expect(output).to.deep.equal(plain[0]);
      expect(finalState).to.deep.equal(plain[1]);
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

    for (const [name, setting] of Object.entries({
      'gatedLinearAttention, vector gate': { ...fading, T: 100, K: 64, V: 64, initial: true },
      'deltaRule, vector gate': { ...kda, T: 100, H: 2, K: 64, V: 64, cuSeqlens: [0, 0, 1, 70, 100], initial: true },
    })) {
      it(`gradients after it: ${name}`, () => {
        const rule = RULES.find((each) => each.name === name)!;
        const how: RuleSetting = { cuSeqlens: (setting as Setting).cuSeqlens };
        const held = heldBy(inputsOf(setting), how, 'bfloat16');
        const exact = runRule(rule, how, held, { device: 'js', dtype: 'float64' }, 'recurrent');
        expectCloseRuns(
          walked(() => runRule(rule, how, held, here, 'chunk')),
          exact,
          'bfloat16',
        );
      });
    }

    describe('bits', () => {
      const cuSeqlens = many(70, 71, 200);
      const host = inputsOf({ ...kda, T: 200, H: 2, K: 64, V: 128, cuSeqlens, initial: true });
      let packed: Results;
      before(() => {
        packed = walked(() => results(tensors(host, here), { cuSeqlens }));
      });

      it('are the same in every run and every order of warps', () => {
        for (const seed of [0, 1, 2]) {
          card.setSeed(seed);
          expect(walked(() => results(tensors(host, here), { cuSeqlens }))).to.deep.equal(packed);
        }
        card.setSeed(0);
      });

      it('are those of each sequence by itself', () => {
        const cut = (x: ArrayLike<number>, rows: number, from: number, to: number): number[] =>
          Array.from(x).slice((x.length / rows) * from, (x.length / rows) * to);
        cuSeqlens.slice(1).forEach((end, n) => {
          const begin = cuSeqlens[n];
          if (end === 0) return;
          const [output, finalState] = walked(() => {
            const { initialState, ...rows } = tensors(host, here);
            const own: Record<string, fw.Tensor> = { initialState: initialState.slice(0, n, n + 1) };
            for (const [name, t] of Object.entries(rows)) own[name] = t.slice(1, begin, end);
            return results(own);
          });
          expect(Array.from(output)).to.deep.equal(cut(packed[0], 200, begin, end));
          expect(Array.from(finalState)).to.deep.equal(cut(packed[1], cuSeqlens.length - 1, n, n + 1));
        });
      });

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
