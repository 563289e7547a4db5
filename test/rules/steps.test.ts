// chunk = recurrent = step by step, at random split points.
import fc from 'fast-check';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { hostInputs, RULES, type RuleCase, type Sizes, toDevice } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

type Inputs = Record<string, fw.Tensor>;

/** Tokens [from, to) of every input that has a time dimension. */
function tokens(inputs: Inputs, T: number, from: number, to: number): Inputs {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => {
      if (name === 'bonus') return [name, t];
      const n = t.shape[1] / T;
      return [name, t.slice(1, from * n, to * n)];
    }),
  );
}

function oneToken(rule: RuleCase, inputs: Inputs, T: number, t: number): Inputs {
  const perToken = rule.perToken ?? 1;
  return Object.fromEntries(
    Object.entries(tokens(inputs, T, t, t + 1)).map(([name, x]) => {
      if (name === 'bonus' || (perToken > 1 && ['k', 'v', 'beta'].includes(name))) return [name, x];
      return [name, x.squeeze(1)];
    }),
  );
}

for (const where of targets()) {
  describe(`splits on ${where.device}, ${where.dtype}`, () => {
    const tolerance = toleranceOf(where.dtype).forward;
    for (const rule of RULES) {
      it(rule.name, () => {
        fc.assert(
          fc.property(
            fc.integer({ min: 1, max: 90 }),
            fc.array(fc.integer({ min: 0, max: 90 }), { maxLength: 3 }),
            (T, cuts) => {
              fw.scope(() => {
                const sizes: Sizes = { B: 2, T, H: 2, HV: 2, K: 4, V: 6 };
                const inputs = toDevice(hostInputs(rule, sizes, T), where);
                const whole = rule.call(inputs, { ...rule.options, mode: 'chunk', outputFinalState: true });

                const bounds = [0, ...cuts.map((c) => c % (T + 1)).sort((a, b) => a - b), T];
                const pieces: fw.Tensor[] = [];
                let state: fw.Tensor | undefined;
                for (let i = 0; i + 1 < bounds.length; i++) {
                  const mode = i % 2 === 0 ? 'recurrent' : 'chunk';
                  const part = tokens(inputs, T, bounds[i], bounds[i + 1]);
                  const result = rule.call(part, {
                    ...rule.options,
                    mode,
                    initialState: state,
                    outputFinalState: true,
                  });
                  pieces.push(result.output);
                  state = result.finalState;
                }
                expectClose('output in pieces', fw.cat(pieces, 1).dataSync(), whole.output.dataSync(), tolerance);
                expectClose('state in pieces', state!.dataSync(), whole.finalState!.dataSync(), tolerance);

                const stepState = fw.zeros([2, 2, 4, 6], where);
                const steps = fw.noGrad(() =>
                  Array.from({ length: T }, (_, t) =>
                    rule.step(oneToken(rule, inputs, T, t), { ...rule.options, state: stepState }).unsqueeze(1),
                  ),
                );
                expectClose('output in steps', fw.cat(steps, 1).dataSync(), whole.output.dataSync(), tolerance);
                expectClose('state in steps', stepState.dataSync(), whole.finalState!.dataSync(), tolerance);
              });
            },
          ),
          { numRuns: 6, seed: 1 },
        );
      });
    }

    // Keys below, at and beyond what a block of a card shares out; values that fill whole rows of 16 bytes, and that do not.
    for (const [K, V] of [
      [5, 8],
      [16, 36],
      [128, 64],
      [130, 4],
      [256, 32],
      [20, 31],
    ]) {
      it(`three steps of ${K} keys and ${V} values, by every rule`, () => {
        for (const rule of RULES) {
          const sizes: Sizes = { B: 2, T: 3, H: 1, HV: 2, K, V };
          const host = hostInputs(rule, sizes, K + V);
          const [found, expected] = [where, { device: 'js', dtype: 'float64' } as const].map((at) =>
            fw.noGrad(() =>
              fw.scope(() => {
                const inputs = toDevice(host, at);
                const state = fw.zeros([2, 2, K, V], at);
                const steps = [0, 1, 2].map((t) => rule.step(oneToken(rule, inputs, 3, t), { ...rule.options, state }));
                return { output: fw.stack(steps).dataSync(), state: state.dataSync() };
              }),
            ),
          );
          expectClose(`${rule.name}: output`, found.output, expected.output, tolerance);
          expectClose(`${rule.name}: state`, found.state, expected.state, tolerance);
        }
      });
    }
  });
}
