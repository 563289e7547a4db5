// Runs of a rule with all its gradients, to be compared with the float64 token loop.
import { expect } from 'chai';
import * as fw from '../../lib';
import type { Target } from './golden';
import { Draw, type HostInputs, rounded, type RuleCase, toDevice } from './ruleInputs';
import { expectClose, gradientTolerance, rms, toleranceOf } from './tolerance';

export interface RuleRun {
  outputs: Record<string, ArrayLike<number>>;
  gradients: Record<string, ArrayLike<number>>;
}

/** How a rule is called. */
export interface RuleSetting {
  cuSeqlens?: number[];
  /** Inputs are slices of wider tensors. */
  strided?: boolean;
  /** Beside bfloat16 inputs gates and strengths are float32. */
  mixed?: boolean;
}

const GATES = ['gate', 'valueGate', 'beta'];

/** States are float32 beside bfloat16. */
function dtypeOf(name: string, { mixed }: RuleSetting, dtype: fw.DType): fw.DType {
  const exact = name === 'initialState' || name === 'finalState' || (mixed && GATES.includes(name));
  return exact && dtype === 'bfloat16' ? 'float32' : dtype;
}

/** The numbers that inputs of this dtype hold: where a reference begins. */
export function heldBy(host: HostInputs, setting: RuleSetting, dtype: fw.DType): HostInputs {
  return Object.fromEntries(
    Object.entries(host).map(([name, input]) => [
      name,
      dtypeOf(name, setting, dtype) === 'bfloat16' ? rounded({ input }).input : input,
    ]),
  );
}

/** The inputs as leaves. */
function leavesOf(host: HostInputs, setting: RuleSetting, where: Target): Record<string, fw.Tensor> {
  const leaves = Object.entries(host).map(([name, input]) => {
    const dtype = dtypeOf(name, setting, where.dtype);
    return toDevice({ [name]: input }, { ...where, dtype }, { requiresGrad: true, strided: setting.strided });
  });
  return Object.assign({}, ...leaves) as Record<string, fw.Tensor>;
}

/** Cotangents come from the same seed in every run, and are numbers that bfloat16 holds. */
export function runRule(rule: RuleCase, setting: RuleSetting, host: HostInputs, where: Target, mode: string): RuleRun {
  return fw.scope(() => {
    const inputs = leavesOf(host, setting, where);
    const { cuSeqlens } = setting;
    const { output, finalState } = rule.call(inputs, { ...rule.options, mode, cuSeqlens, outputFinalState: true });
    const exact = dtypeOf('finalState', setting, where.dtype);
    expect([output.dtype, finalState!.dtype]).to.deep.equal([where.dtype, exact]);
    const draw = new Draw(99);
    const product = (t: fw.Tensor): fw.Tensor => {
      const { cotangent } = rounded({ cotangent: draw.uniform([...t.shape], -1, 1) });
      return t.mul(fw.tensor(cotangent.data, { shape: t.shape, device: t.device, dtype: t.dtype })).sum();
    };
    const loss = product(output).to(exact).add(product(finalState!));
    loss.backward();
    const gradients = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.grad!.dataSync()]));
    for (const [name, t] of Object.entries(inputs)) expect(t.grad!.dtype, `gradient of ${name}`).to.equal(t.dtype);
    Object.values(inputs).forEach((t) => t.grad!.dispose());
    return { outputs: { output: output.dataSync(), finalState: finalState!.dataSync() }, gradients };
  });
}

export function expectCloseRuns(run: RuleRun, reference: RuleRun, dtype: fw.DType): void {
  const { forward } = toleranceOf(dtype);
  for (const [name, values] of Object.entries(reference.outputs)) expectClose(name, run.outputs[name], values, forward);
  const floor = 1e-3 * Math.max(...Object.values(reference.gradients).map(rms));
  expect(Object.keys(run.gradients)).to.deep.equal(Object.keys(reference.gradients));
  for (const [name, values] of Object.entries(reference.gradients)) {
    expectClose(`gradient of ${name}`, run.gradients[name], values, gradientTolerance(dtype, name), floor);
  }
}
