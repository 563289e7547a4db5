// States of bfloat16 in decode, on every device: each token is computed in float32, and what it leaves is rounded.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { Draw, hostInputs, rounded, RULES, type Sizes, toDevice } from '../support/ruleInputs';
import { expectClose, TOLERANCE } from '../support/tolerance';

const { forward } = TOLERANCE.bfloat16;
const EXACT = { device: 'js', dtype: 'float64' } as const;

type Tensors = Record<string, fw.Tensor>;

/** The inputs of one token of a sequence. */
function tokenOf(inputs: Tensors, t: number, T: number, perToken = false): Tensors {
  const token = ([name, x]: [string, fw.Tensor]): [string, fw.Tensor] => {
    if (name === 'bonus') return [name, x];
    const rows = x.shape[1] / T;
    const own = x.slice(1, t * rows, (t + 1) * rows);
    return [name, perToken && ['k', 'v', 'beta'].includes(name) ? own : own.squeeze(1)];
  };
  return Object.fromEntries(Object.entries(inputs).map(token));
}

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  const where = { device, dtype: 'bfloat16' } as const;

  describe(`states of bfloat16 on ${device}`, () => {
    for (const rule of RULES) {
      it(`a step of ${rule.name}`, () => {
        const sizes: Sizes = { B: 2, T: 1, H: 2, HV: 2, K: 8, V: 6 };
        fw.noGrad(() =>
          fw.scope(() => {
            const host = rounded(hostInputs(rule, sizes, 5));
            const initial = rounded({ state: new Draw(7).uniform([2, 2, 8, 6], -1, 1) });
            const step = (at: { device: fw.Device; dtype: fw.DType }): fw.Tensor[] => {
              const { state } = toDevice(initial, at);
              const token = tokenOf(toDevice(host, at), 0, 1, rule.perToken !== undefined);
              return [rule.step(token, { ...rule.options, state }), state];
            };
            const [[output, state], exact] = [step(where), step(EXACT)];
            expect([output.dtype, state.dtype]).to.deep.equal(['bfloat16', 'bfloat16']);
            expectClose('output', output.dataSync(), exact[0].dataSync(), forward);
            expectClose('state', state.dataSync(), exact[1].dataSync(), forward);
          }),
        );
      });
    }

    // Heads with values in whole pieces of 16 bytes, and with others.
    for (const [K, V] of [
      [24, 40],
      [136, 72],
      [8, 12],
    ]) {
      it(`has the bits of one of float32 that is rounded after every token, ${K} x ${V}`, () => {
        const sizes: Sizes = { B: 2, T: 5, H: 2, HV: 4, K, V };
        const gated = RULES.find(({ name }) => name === 'deltaRule, scalar gate')!;
        fw.noGrad(() =>
          fw.scope(() => {
            const inputs = toDevice(rounded(hostInputs(gated, sizes, 5)), where);
            const run = (dtype: fw.DType): ArrayLike<number>[] => {
              let state = fw.zeros([2, 4, K, V], { device, dtype });
              const outputs = Array.from({ length: sizes.T }, (_, t) => {
                const { q, k, v, ...gates } = tokenOf(inputs, t, sizes.T);
                const output = fw.deltaRule.step(q, k, v, { ...gates, state }).dataSync();
                if (dtype === 'float32') state = state.to('bfloat16').to('float32');
                return output;
              });
              return [...outputs, state.to('float32').dataSync()];
            };
            expect(run('bfloat16')).to.deep.equal(run('float32'));
          }),
        );
      });
    }

    it('stays within a hundredth over 512 tokens where the state forgets', () => {
      const [T, K, V] = [512, 16, 16];
      const draw = new Draw(11);
      const host = rounded({
        q: draw.unit([1, T, 1, K]),
        k: draw.unit([1, T, 1, K]),
        v: draw.uniform([1, T, 1, V], -1, 1),
        beta: draw.uniform([1, T, 1], 0, 1),
        gate: draw.uniform([1, T, 1], -0.1, 0),
      });
      fw.noGrad(() =>
        fw.scope(() => {
          const run = (at: { device: fw.Device; dtype: fw.DType }): ArrayLike<number> => {
            const inputs = toDevice(host, at);
            const state = fw.zeros([1, 1, K, V], at);
            for (let t = 0; t < T; t++) {
              const { q, k, v, ...gates } = tokenOf(inputs, t, T);
              fw.deltaRule.step(q, k, v, { ...gates, state }).dispose();
            }
            return state.dataSync();
          };
          expectClose('state', run(where), run(EXACT), 0.01);
        }),
      );
    });

    it('a step that divides by the sum of keys', () => {
      const host = rounded({ q: new Draw(2).uniform([1, 1, 8], 0, 1), v: new Draw(3).uniform([1, 1, 8], -1, 1) });
      fw.noGrad(() =>
        fw.scope(() => {
          const { q, v } = toDevice(host, where);
          const states = (['bfloat16', 'float32'] as const).map((dtype) => {
            const state = fw.zeros([1, 1, 8, 8], { device, dtype });
            const normalizer = fw.zeros([1, 1, 8], { device, dtype: 'float32' });
            fw.linearAttention.step(q, q, v, { state, normalizer, normalize: true });
            return state;
          });
          expect(states[0].dtype).to.equal('bfloat16');
          expect(states[0].dataSync()).to.deep.equal(states[1].to('bfloat16').dataSync());
        }),
      );
    });

    it('stands beside bfloat16 inputs only', () => {
      const x = fw.zeros([1, 1, 4], { device, dtype: 'float32' });
      const state = fw.zeros([1, 1, 4, 4], where);
      expectError('DTYPE', /state must be float32 like q, got bfloat16/, () =>
        fw.noGrad(() => fw.deltaRule.step(x, x, x, { state })),
      );
      const y = x.to('bfloat16');
      expectError('INVALID_ARGUMENT', /out must be apart from the state/, () =>
        fw.noGrad(() => fw.deltaRule.step(y, y, y, { state, out: state.slice(2, 0, 1).squeeze(2) })),
      );
    });
  });
}
