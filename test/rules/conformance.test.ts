// Every rule on every device at odd sizes: outputs, final states and all gradients against the float64 token loop.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { Draw, type HostInputs, hostInputs, RULES, type RuleCase, type Sizes, toDevice } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

interface Run {
  outputs: Record<string, ArrayLike<number>>;
  gradients: Record<string, ArrayLike<number>>;
}

interface Variant {
  title: string;
  sizes: Sizes;
  cuSeqlens?: number[];
  initial?: boolean;
  strided?: boolean;
}

const base: Sizes = { B: 2, T: 33, H: 2, HV: 2, K: 8, V: 12 };
const VARIANTS: Variant[] = [
  ...[1, 2, 33, 63, 64, 65, 100, 127, 200].map((T) => ({
    title: `T ${T}`,
    sizes: { ...base, B: 1, T },
    initial: T % 2 === 0,
  })),
  { title: 'T 0', sizes: { ...base, T: 0 }, initial: true },
  { title: 'batch of 2, value heads 4, key heads 2', sizes: { ...base, HV: 4 }, initial: true },
  { title: 'widths 5 and 3', sizes: { ...base, K: 5, V: 3 } },
  { title: 'widths 16 and 65', sizes: { ...base, B: 1, K: 16, V: 65 } },
  { title: 'widths 64 and 64', sizes: { B: 1, T: 70, H: 1, HV: 1, K: 64, V: 64 }, initial: true },
  { title: 'slices of wider tensors', sizes: base, strided: true },
  {
    title: 'packed with empty and one-token members',
    sizes: { ...base, B: 1, T: 70 },
    cuSeqlens: [0, 0, 1, 34, 34, 69, 70, 70],
    initial: true,
  },
];

/** Cotangents come from the same seed in every run. */
function evaluate(
  rule: RuleCase,
  variant: Variant,
  host: HostInputs,
  where: { device: fw.Device; dtype: fw.DType },
  mode: string,
): Run {
  return fw.scope(() => {
    const inputs = toDevice(host, where, { requiresGrad: true, strided: variant.strided });
    const { cuSeqlens } = variant;
    const { output, finalState } = rule.call(inputs, { ...rule.options, mode, cuSeqlens, outputFinalState: true });
    const draw = new Draw(99);
    const cotangent = (t: fw.Tensor): fw.Tensor =>
      fw.tensor(draw.uniform([...t.shape], -1, 1).data, { shape: t.shape, ...where });
    const loss = output
      .mul(cotangent(output))
      .sum()
      .add(finalState!.mul(cotangent(finalState!)).sum());
    loss.backward();
    const gradients = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.grad!.dataSync()]));
    Object.values(inputs).forEach((t) => t.grad!.dispose());
    return { outputs: { output: output.dataSync(), finalState: finalState!.dataSync() }, gradients };
  });
}

function withInitialState(rule: RuleCase, { sizes, initial, cuSeqlens }: Variant): HostInputs {
  const host = hostInputs(rule, sizes, 7);
  if (!initial) return host;
  const N = cuSeqlens ? cuSeqlens.length - 1 : sizes.B;
  return { ...host, initialState: new Draw(8).uniform([N, sizes.HV, sizes.K, sizes.V], -1, 1) };
}

for (const rule of RULES) {
  describe(`conformance: ${rule.name}`, () => {
    for (const variant of VARIANTS) {
      const { sizes } = variant;
      // RWKV-7 and RWKV-6 have as many key heads as value heads.
      if (sizes.HV !== sizes.H && ['generalizedDeltaRule', 'gatedDeltaRule2'].includes(rule.name)) continue;
      const host = withInitialState(rule, variant);
      let reference: Run | undefined;
      for (const where of targets()) {
        for (const mode of ['chunk', 'recurrent']) {
          if (where.dtype === 'float64' && mode === 'recurrent') continue;
          it(`${variant.title}, ${mode} on ${where.device}, ${where.dtype}`, () => {
            reference ??= evaluate(rule, variant, host, { device: 'js', dtype: 'float64' }, 'recurrent');
            const run = evaluate(rule, variant, host, where, mode);
            const tolerance = toleranceOf(where.dtype);
            for (const [name, values] of Object.entries(reference.outputs)) {
              expectClose(name, run.outputs[name], values, tolerance.forward);
            }
            const floor = 1e-3 * Math.max(...Object.values(reference.gradients).map(rms));
            expect(Object.keys(run.gradients)).to.deep.equal(Object.keys(reference.gradients));
            for (const [name, values] of Object.entries(reference.gradients)) {
              expectClose(`gradient of ${name}`, run.gradients[name], values, tolerance.gradient, floor);
            }
          });
        }
      }
    }
  });
}
