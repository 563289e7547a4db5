// Every rule on every device at odd sizes: outputs, final states and all gradients against the float64 token loop. In
// bfloat16 the loop starts from the rounded inputs, and variants are fewer.
import { targets } from '../support/golden';
import { Draw, type HostInputs, hostInputs, RULES, type RuleCase, type Sizes } from '../support/ruleInputs';
import { expectCloseRuns, heldBy, runRule, type RuleRun, type RuleSetting } from '../support/ruleRuns';

interface Variant extends RuleSetting {
  title: string;
  sizes: Sizes;
  initial?: boolean;
  /** It is one of those for bfloat16. */
  bfloat16?: boolean;
}

const base: Sizes = { B: 2, T: 33, H: 2, HV: 2, K: 8, V: 12 };
const VARIANTS: Variant[] = [
  ...[1, 2, 33, 63, 64, 65, 100, 127, 200].map((T) => ({
    title: `T ${T}`,
    sizes: { ...base, B: 1, T },
    initial: T % 2 === 0,
    ...(T === 100 && { bfloat16: true, mixed: true }),
  })),
  { title: 'T 0', sizes: { ...base, T: 0 }, initial: true },
  { title: 'K 0', sizes: { ...base, K: 0 } },
  { title: 'V 0', sizes: { ...base, V: 0 } },
  { title: 'batch of 2, value heads 4, key heads 2', sizes: { ...base, HV: 4 }, initial: true, bfloat16: true },
  { title: 'widths 5 and 3', sizes: { ...base, K: 5, V: 3 } },
  { title: 'widths 5 and 1', sizes: { ...base, B: 1, T: 130, K: 5, V: 1 }, initial: true },
  { title: 'widths 16 and 65', sizes: { ...base, B: 1, K: 16, V: 65 }, bfloat16: true },
  { title: 'widths 64 and 64', sizes: { B: 1, T: 70, H: 1, HV: 1, K: 64, V: 64 }, initial: true, bfloat16: true },
  { title: 'widths 128 and 128', sizes: { B: 1, T: 20, H: 1, HV: 1, K: 128, V: 128 }, bfloat16: true },
  { title: 'slices of wider tensors', sizes: base, strided: true },
  {
    title: 'packed with empty and one-token members',
    sizes: { ...base, B: 1, T: 70 },
    cuSeqlens: [0, 0, 1, 34, 34, 69, 70, 70],
    initial: true,
    bfloat16: true,
  },
];

function withInitialState(rule: RuleCase, { sizes, initial, cuSeqlens }: Variant): HostInputs {
  const host = hostInputs(rule, sizes, 7);
  if (!initial) return host;
  const N = cuSeqlens ? cuSeqlens.length - 1 : sizes.B;
  return { ...host, initialState: new Draw(8).uniform([N, sizes.HV, sizes.K, sizes.V], -1, 1) };
}

/** Of every dtype but bfloat16 the reference is the same. */
const references = new Map<string, RuleRun>();

function referenceOf(rule: RuleCase, variant: Variant, host: HostInputs, dtype: string): RuleRun {
  const key = [rule.name, variant.title, dtype === 'bfloat16'].join();
  const found = references.get(key) ?? runRule(rule, variant, host, { device: 'js', dtype: 'float64' }, 'recurrent');
  references.set(key, found);
  return found;
}

for (const rule of RULES) {
  describe(`conformance: ${rule.name}`, () => {
    for (const variant of VARIANTS) {
      const { sizes } = variant;
      // RWKV-7 and RWKV-6 have as many key heads as value heads.
      if (sizes.HV !== sizes.H && ['generalizedDeltaRule', 'gatedDeltaRule2'].includes(rule.name)) continue;
      const drawn = withInitialState(rule, variant);
      for (const where of targets({ bfloat16: variant.bfloat16 })) {
        const host = heldBy(drawn, variant, where.dtype);
        let reference: RuleRun | undefined;
        for (const mode of ['chunk', 'recurrent']) {
          if (where.dtype === 'float64' && mode === 'recurrent') continue;
          it(`${variant.title}, ${mode} on ${where.device}, ${where.dtype}`, () => {
            reference ??= referenceOf(rule, variant, host, where.dtype);
            expectCloseRuns(runRule(rule, variant, host, where, mode), reference, where.dtype);
          });
        }
      }
    }
  });
}
