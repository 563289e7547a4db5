// Inputs at the limits of what rules are made for: tiny and large values, keys that nearly repeat, decays that forget
// at once, and neighbours of NaN in a packed batch.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { Draw, type HostInputs, hostInputs, RULES, type RuleCase, type Sizes } from '../support/ruleInputs';
import { expectCloseRuns, heldBy, runRule } from '../support/ruleRuns';

const SIZES: Sizes = { B: 1, T: 70, H: 2, HV: 2, K: 16, V: 20 };
const TINY = 1e-6;
const LARGE = 1e5;

const named = (...names: string[]): RuleCase[] => RULES.filter(({ name }) => names.includes(name));
const ADDITIVE = named('linearAttention', 'retention', 'gatedLinearAttention, vector gate', 'rwkv6');
const ERASING = named('deltaRule', 'deltaRule, scalar gate', 'deltaRule, vector gate', 'comba', 'deltaProduct');
const GATED = named(
  'gatedLinearAttention, scalar gate',
  'gatedLinearAttention, vector gate',
  'deltaRule, scalar gate',
  'deltaRule, vector gate',
  'generalizedDeltaRule',
  'comba',
  'ojaRule',
  'recurrence, values decay without erasing',
  'rwkv6',
);

type Change = (name: string, data: Float64Array, shape: readonly number[]) => Float64Array;

function changed(rule: RuleCase, change: Change): HostInputs {
  const inputs = Object.entries(hostInputs(rule, SIZES, 17));
  return Object.fromEntries(
    inputs.map(([name, { shape, data }]) => [name, { shape, data: change(name, data, shape).map(Math.fround) }]),
  );
}

const scaled =
  (by: Record<string, number>): Change =>
  (name, data) =>
    data.map((x) => x * (by[name] ?? 1));

/** Unit keys that share most of their direction: the mean product of two is 0.9. */
const alike: Change = (name, data, shape) => {
  if (name !== 'k') return data;
  const width = shape[shape.length - 1];
  const common = new Draw(5).unit([1, width]).data;
  const out = data.map((x, i) => Math.sqrt(0.9) * common[i % width] + Math.sqrt(0.1) * x);
  for (let row = 0; row < out.length; row += width) {
    const length = Math.hypot(...out.subarray(row, row + width));
    for (let i = row; i < row + width; i++) out[i] /= length;
  }
  return out;
};

/** From hardly any decay to one that leaves nothing, in turns. */
const strong: Change = (name, data) =>
  name === 'gate' || name === 'valueGate'
    ? data.map((x, i) => (i % 7 === 0 ? -100 : i % 3 === 0 ? x * 1e-6 : x * 20))
    : data;

/** Stretches of 24 tokens that hardly decay between some that lose half at every token. */
const uneven: Change = (name, data) =>
  name === 'gate' || name === 'valueGate'
    ? data.map((x, i) => (Math.floor((i * SIZES.T) / data.length) % 48 < 24 ? 0.01 * x : -0.7 + 0.01 * x))
    : data;

const CASES: [title: string, rules: RuleCase[], change: Change][] = [
  ['tiny values and large queries', [...ADDITIVE, ...ERASING], scaled({ v: TINY, q: LARGE })],
  ['large values and tiny queries', [...ADDITIVE, ...ERASING], scaled({ v: LARGE, q: TINY })],
  ['all tiny', ADDITIVE, scaled({ q: TINY, k: TINY, v: TINY })],
  ['all large', ADDITIVE, scaled({ q: LARGE, k: LARGE, v: LARGE })],
  ['keys alike', ERASING, alike],
  ['strong gates', GATED, strong],
  ['uneven gates', GATED, uneven],
];

for (const where of targets({ bfloat16: true })) {
  if (where.dtype === 'float64') continue;
  // On a card they are one.
  const modes = where.device.startsWith('cuda') ? ['chunk'] : ['chunk', 'recurrent'];
  describe(`extremes on ${where.device}, ${where.dtype}`, () => {
    for (const [title, rules, change] of CASES) {
      for (const rule of rules) {
        it(`${title}: ${rule.name}`, () => {
          const host = heldBy(changed(rule, change), {}, where.dtype);
          const reference = runRule(rule, {}, host, { device: 'js', dtype: 'float64' }, 'recurrent');
          for (const mode of modes) {
            expectCloseRuns(runRule(rule, {}, host, where, mode), reference, where.dtype);
          }
        });
      }
    }

    describe('neighbours of NaN', () => {
      const bounds = [0, 23, 54, 70];
      const [from, to] = [bounds[1], bounds[2]];
      before(() => fw.setChecks(false));
      after(() => fw.setChecks('values'));

      for (const rule of RULES.filter(({ perToken = 1 }) => perToken === 1)) {
        it(rule.name, () => {
          /** Elements of the tokens between the bounds; a bonus has no tokens. */
          const within = (name: string, data: ArrayLike<number>): [number, number] => {
            const width = data.length / SIZES.T;
            return name === 'bonus' ? [0, data.length] : [from * width, to * width];
          };
          const host = heldBy(hostInputs(rule, SIZES, 3), {}, where.dtype);
          const poisoned = Object.fromEntries(
            Object.entries(host).map(([name, { shape, data }]) => {
              const [begin, end] = within(name, data);
              return [name, { shape, data: data.map((x, i) => (i >= begin && i < end ? x : NaN)) }];
            }),
          );
          const setting = { cuSeqlens: bounds };
          for (const mode of modes) {
            const [clean, found] = [host, poisoned].map((h) => runRule(rule, setting, h, where, mode));
            const parts = { output: 'outputs', ...Object.fromEntries(Object.keys(host).map((k) => [k, 'gradients'])) };
            for (const [name, part] of Object.entries(parts) as [string, keyof typeof clean][]) {
              if (name === 'bonus') continue; // its gradient sums over all sequences
              const [begin, end] = within(name, clean[part][name]);
              const cut = (values: ArrayLike<number>): number[] => Array.from(values).slice(begin, end);
              expect(cut(found[part][name]), `${mode}: ${name}`).to.deep.equal(cut(clean[part][name]));
            }
          }
        });
      }
    });
  });
}
