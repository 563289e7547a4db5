// Sequential rules on every device: against the float64 loop at odd sizes, split and token by token, packed, beside others,
// and given what they do not take.
import { expect } from 'chai';
import fc from 'fast-check';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import {
  drawCase,
  isPerToken,
  type Results,
  ruleOf,
  SEQUENTIAL,
  type SequentialCase,
  SIZES,
  toTensors,
} from '../support/sequentialCases';
import { Draw } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

const REFERENCE: Target = { device: 'js', dtype: 'float64' };

/** Every result, and the gradient of every input under a random cotangent of each result. */
function outcome(rule: SequentialCase, sizes: Record<string, number>, where: Target): Record<string, Float64Array> {
  return fw.scope(() => {
    const inputs = toTensors(drawCase(rule, sizes), where, true);
    const results = ruleOf(rule)(inputs, { ...rule.options, outputFinalState: true });
    const draw = new Draw(8);
    const parts = Object.values(results).map((t) => {
      const { data, shape } = draw.uniform([...t.shape], -1, 1);
      return t.mul(fw.tensor(data, { shape, ...where })).sum();
    });
    parts.reduce((a, b) => a.add(b)).backward();
    const values = (t: fw.Tensor): Float64Array => Float64Array.from(t.dataSync());
    return {
      ...Object.fromEntries(Object.entries(results).map(([name, t]) => [name, values(t)])),
      ...Object.fromEntries(Object.entries(inputs).map(([name, t]) => [`grad.${name}`, values(t.grad!)])),
    };
  });
}

function expectSame(found: Record<string, Float64Array>, reference: Record<string, Float64Array>, where: Target): void {
  const { forward, gradient } = toleranceOf(where.dtype);
  const isGradient = (name: string): boolean => name.startsWith('grad.');
  const gradients = Object.entries(reference).filter(([name]) => isGradient(name));
  const floor = 1e-3 * Math.max(...gradients.map(([, g]) => rms(g)));
  for (const [name, values] of Object.entries(reference)) {
    // A shift is the small difference of larger matrices.
    const least = isGradient(name) ? floor : name.startsWith('final') ? 0.1 : 0;
    expectClose(name, found[name], values, isGradient(name) ? gradient : forward, least);
  }
}

const slicesOf = (rule: SequentialCase, inputs: Results, from: number, to: number): Results =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => [name, isPerToken(rule, name) ? t.slice(1, from, to) : t]),
  );

/** The final states under the names of the initial ones. */
const carried = (rule: SequentialCase, results: Results): Results =>
  Object.fromEntries(
    Object.entries(rule.stepNames).map(([initial, name]) => [
      initial,
      results[`final${name[0].toUpperCase()}${name.slice(1)}`],
    ]),
  );

/** Without the sites of allocations, which take longer to record than a small operator does to run. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);

const bits = (t: fw.Tensor): number[] => [...t.dataSync()];

for (const rule of SEQUENTIAL) {
  const run = ruleOf(rule);
  const options = { ...rule.options, outputFinalState: true };
  describe(`sequential: ${rule.name}, ${rule.title}`, () => {
    for (const more of [{}, ...rule.sizes]) {
      const sizes = { ...SIZES, ...more };
      const title =
        Object.entries(more)
          .map(([letter, n]) => `${letter} ${n}`)
          .join(', ') || 'as usual';
      let reference: Record<string, Float64Array> | undefined;
      for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
        it(
          `${title}, on ${where.device}`,
          unchecked(() => {
            reference ??= outcome(rule, sizes, REFERENCE);
            expectSame(outcome(rule, sizes, where), reference, where);
          }),
        );
      }
    }

    for (const where of targets()) {
      const { forward } = toleranceOf(where.dtype);

      it(
        `split anywhere and token by token on ${where.device}, ${where.dtype}`,
        unchecked(() => {
          fc.assert(
            fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(), fc.nat(), (T, ...cuts) => {
              fw.noGrad(() =>
                fw.scope(() => {
                  const inputs = toTensors(drawCase(rule, { ...SIZES, T }, T), where);
                  const whole = run(inputs, options);
                  const [first, second] = cuts.map((c) => c % (T + 1)).sort((a, b) => a - b);
                  const begin = run(slicesOf(rule, inputs, 0, first), options);
                  const middle = run({ ...slicesOf(rule, inputs, first, second), ...carried(rule, begin) }, options);
                  const after = carried(rule, middle);
                  const state = Object.fromEntries(
                    Object.entries(rule.stepNames).map(([initial, name]) => [name, after[initial].clone()]),
                  );
                  const tokens = Array.from({ length: T - second }, (_, t) => {
                    const token = Object.keys(rule.inputs).map((name) => {
                      const x = inputs[name];
                      return [name, isPerToken(rule, name) ? x.slice(1, second + t, second + t + 1).squeeze(1) : x];
                    });
                    return run.step(Object.fromEntries(token) as Results, { ...rule.options, state });
                  });
                  const pieces = [begin.output, middle.output, ...tokens.map((t) => t.unsqueeze(1))];
                  expectClose('output', fw.cat(pieces, 1).dataSync(), whole.output.dataSync(), forward);
                  for (const [initial, final] of Object.entries(carried(rule, whole))) {
                    expectClose(initial, state[rule.stepNames[initial]].dataSync(), final.dataSync(), forward, 0.1);
                  }
                }),
              );
            }),
            { numRuns: where.device === 'cuda-emulation' ? 2 : 6, seed: 11 },
          );
        }),
      );

      it(
        `packed as each alone, and the same bits beside others, on ${where.device}, ${where.dtype}`,
        unchecked(() => {
          // Those of one length run together.
          const cuSeqlens = [0, 0, 1, 9, 19, 19, 27, 28, 33];
          fw.noGrad(() =>
            fw.scope(() => {
              const N = cuSeqlens.length - 1;
              const tokens = toTensors(drawCase(rule, { ...SIZES, B: 1 }), where);
              const states = toTensors(drawCase(rule, { ...SIZES, B: N }), where);
              const carriedOn = rule.grows ? [] : Object.keys(rule.states);
              const initial = Object.fromEntries(carriedOn.map((name) => [name, states[name]]));
              const asked = { ...rule.options, outputFinalState: !rule.grows };
              const given = Object.fromEntries(Object.keys(rule.inputs).map((name) => [name, tokens[name]]));
              const packed = run({ ...given, ...initial }, { ...asked, cuSeqlens });
              for (let n = 0; n < N; n++) {
                const start = Object.entries(initial).map(([name, t]) => [name, t.slice(0, n, n + 1)]);
                const sliced = slicesOf(rule, given, cuSeqlens[n], cuSeqlens[n + 1]);
                const alone = run({ ...sliced, ...(Object.fromEntries(start) as Results) }, asked);
                expect(bits(packed.output.slice(1, cuSeqlens[n], cuSeqlens[n + 1]))).to.deep.equal(bits(alone.output));
                for (const [name, t] of Object.entries(alone)) {
                  const own = packed[name].slice(0, n, n + 1);
                  if (name === 'output') continue;
                  // Without tokens a shift W_0 + shift - W_0 is rounded in company, and left alone otherwise.
                  if (cuSeqlens[n] === cuSeqlens[n + 1]) expectClose(name, own.dataSync(), t.dataSync(), forward);
                  else expect(bits(own), name).to.deep.equal(bits(t));
                }
              }
              const batch = toTensors(drawCase(rule, SIZES), where);
              const together = run(batch, options).output;
              const second = Object.entries(batch).map(([name, t]) => {
                const shared = name in rule.inputs && !isPerToken(rule, name);
                return [name, shared ? t : t.slice(0, 1, 2)];
              });
              const alone = run(Object.fromEntries(second) as Results, options).output;
              expect(bits(together.slice(0, 1, 2))).to.deep.equal(bits(alone));
            }),
          );
        }),
      );
    }

    it('takes T = 0, where every leaf has a gradient and states stay', () => {
      fw.scope(() => {
        const inputs = toTensors(drawCase(rule, { ...SIZES, T: 0 }), REFERENCE, true);
        const results = run(inputs, options);
        expect(results.output.shape.slice(0, 2)).to.deep.equal([SIZES.B, 0]);
        Object.values(results)
          .map((t) => t.sum())
          .reduce((a, b) => a.add(b))
          .backward();
        for (const [name, t] of Object.entries(inputs)) expect(t.grad, name).to.not.equal(null);
        for (const [initial, final] of Object.entries(carried(rule, results))) {
          expectClose(initial, final.dataSync(), inputs[initial].dataSync(), 1e-12);
        }
      });
    });

    it('refuses states of a step that are rounded, that share memory, or while gradients are recorded', () => {
      fw.scope(() => {
        const where = { device: 'js', dtype: 'float32' } as const;
        const drawn = toTensors(drawCase(rule, { ...SIZES, T: 1 }), where);
        const names = Object.keys(rule.inputs).filter((name) => drawn[name]);
        const inputs = Object.fromEntries<fw.Tensor>(
          names.map((name) => [name, isPerToken(rule, name) ? drawn[name].squeeze(1) : drawn[name]]),
        );
        const state = Object.fromEntries(
          Object.entries(rule.stepNames).map(([initial, name]) => [name, drawn[initial].clone()]),
        );
        const step = (states: Results): fw.Tensor => run.step(inputs, { ...rule.options, state: states });
        const [first, ...others] = Object.keys(state);
        expectError('GRAPH', /only inside noGrad/, () => step(state));
        fw.noGrad(() => {
          const rounded = { ...state, [first]: state[first].to('bfloat16') };
          expectError('DTYPE', new RegExp(`${first} must be float32`), () => step(rounded));
          const twin = others.find((name) => String(state[name].shape) === String(state[first].shape));
          if (twin === undefined) return;
          const shared = { ...state, [twin]: state[first] };
          expectError('INVALID_ARGUMENT', /apart from/, () => step(shared));
        });
      });
    });

    it('names the first token that leaves the finite numbers, and what does not fit', () => {
      fw.scope(() => {
        const inputs = toTensors(drawCase(rule, SIZES), REFERENCE);
        const token = Object.keys(rule.inputs).find((name) => isPerToken(rule, name))!;
        const lost = (t: fw.Tensor): fw.Tensor => fw.full([...t.shape], NaN, REFERENCE);
        const [begin, at, end] = fw.split(inputs[token], [5, 1, SIZES.T - 6], 1);
        const poisoned = { ...inputs, [token]: fw.cat([begin, lost(at), end], 1) };
        expectError('INVALID_ARGUMENT', /finite, got not finite after token 5 /, () => run(poisoned, options));
        const one = toTensors(drawCase(rule, { ...SIZES, B: 1, T: 1 }), REFERENCE);
        for (const name of Object.keys(rule.inputs)) {
          expectError('INVALID_ARGUMENT', /must be/, () => run({ ...one, [name]: lost(one[name]) }, options));
        }
        for (const name of Object.keys(rule.states)) {
          const pattern = new RegExp(`${rule.name}: ${name} must be finite`);
          expectError('INVALID_ARGUMENT', pattern, () => run({ ...inputs, [name]: lost(inputs[name]) }, options));
        }
        expectError('INVALID_ARGUMENT', /unknown option nope/, () => run({ ...inputs, nope: inputs[token] }, options));
        expectError('INVALID_ARGUMENT', new RegExp(`${token} must be a Tensor`), () =>
          run({ ...inputs, [token]: 3 }, options),
        );
        for (const name of Object.keys(rule.states)) {
          const short = inputs[name].slice(0, 0, 1);
          expectError('SHAPE', new RegExp(`${rule.name}: ${name} must be`), () =>
            run({ ...inputs, [name]: short }, options),
          );
        }
      });
    });
  });
}
