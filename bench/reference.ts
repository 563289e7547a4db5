// The float64 references: the library's own kernels in JavaScript, on the parts of a problem that stand for all of it.
import type { Finding } from './contender';
import { headOf, type MixerInputs, type Operand } from './inputs';
import { type Device, fw, type Tensor } from './library';
import type { SequenceProblem } from './problem';

/** Design tolerances against float64, by the dtype of the tensors; those of bfloat16 are for rounded operands. */
export const TOLERANCE = {
  float32: { forward: 1e-5, gradient: 1e-4, gateGradient: 1e-4 },
  bfloat16: { forward: 0.005, gradient: 0.008, gateGradient: 0.02 },
};

export type Where = { device: Device; dtype?: 'float32' | 'bfloat16' | 'float64' };

/** The dtype of an operand: gates stay float32 beside bfloat16. */
export function dtypeOf(operand: string, dtype: Where['dtype']): Where['dtype'] {
  return operand === 'gate' && dtype === 'bfloat16' ? 'float32' : dtype;
}

/** The numbers that a tensor of this dtype holds. */
export function stored(data: Float32Array, dtype: Where['dtype']): Float32Array {
  return dtype === 'bfloat16'
    ? fw.scope(() => fw.tensor(data, { dtype, device: 'js' }).dataSync() as Float32Array)
    : data;
}

/** RMS(x - reference) / RMS(reference); infinite when it is no number. */
export function relativeError(x: ArrayLike<number>, reference: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    difference += (x[i] - reference[i]) ** 2;
    size += reference[i] ** 2;
  }
  const error = Math.sqrt(difference / size);
  return x.length === reference.length && !Number.isNaN(error) ? error : Infinity;
}

/** The mixer on tensors of any device. */
export function mix(
  delta: boolean,
  { q, k, v, gate, beta }: Record<string, Tensor>,
  options: { initialState?: Tensor; outputFinalState?: boolean } = {},
): { output: Tensor; finalState?: Tensor } {
  if (delta) return fw.deltaRule(q, k, v, { beta, gate, ...options });
  return gate ? fw.gatedLinearAttention(q, k, v, { gate, ...options }) : fw.linearAttention(q, k, v, options);
}

/** Makes tensors of the operands: [B, T, H, width], or [B, T, H] for a width of 1. */
export function operandTensors(
  inputs: MixerInputs,
  [B, T, H]: [number, number, number],
  { device, dtype, requiresGrad }: Where & { requiresGrad?: boolean },
): Record<string, Tensor> {
  const entries = Object.entries(inputs);
  return Object.fromEntries(
    entries.map(([name, { data, width }]) => {
      const shape =
        name === 'gate' || name === 'beta' ? (width === 1 ? [B, T, H] : [B, T, H, width]) : [B, T, H, width];
      return [name, fw.tensor(data, { shape, device, dtype: dtypeOf(name, dtype), requiresGrad })];
    }),
  );
}

/**
 * Errors of a result: `results` holds the output, and for gradients those of every operand, as [tokens, H, width]. Heads
 * know nothing of each other, so the last one of the last sequence stands for all.
 */
export function checkSequence(
  { delta, dtype, B, T, H }: SequenceProblem,
  inputs: MixerInputs,
  results: Readonly<Record<string, Float32Array>>,
  doutput?: Operand,
): Finding[] {
  const pick = ({ data, width }: Operand): Operand => ({
    data: headOf({ data, width }, H, H - 1, (B - 1) * T, T),
    width,
  });
  const pickStored = ([name, operand]: [string, Operand]): [string, Operand] => {
    const { data, width } = pick(operand);
    return [name, { data: stored(data, dtypeOf(name, dtype)), width }];
  };
  const part = Object.fromEntries(Object.entries(inputs).map(pickStored));
  const where = { device: 'js', dtype: 'float64' } as const;
  return fw.scope(() => {
    const operands = operandTensors(part, [1, T, 1], { ...where, requiresGrad: doutput !== undefined });
    const { output } = mix(delta, operands);
    const expected: Record<string, Tensor> = { output };
    if (doutput) {
      output.backward(operandTensors(Object.fromEntries([pickStored(['output', doutput])]), [1, T, 1], where).output);
      for (const [name, t] of Object.entries(operands)) expected[`d${name}`] = t.grad!;
    }
    return Object.entries(results).map(([quantity, data]) => {
      const reference = expected[quantity].detach().dataSync();
      const found = pick({ data, width: reference.length / T }).data;
      const { forward, gradient, gateGradient } = TOLERANCE[dtype];
      const ofGate = quantity === 'dgate' || quantity === 'dbeta';
      const tolerance = quantity === 'output' ? forward : ofGate ? gateGradient : gradient;
      return { quantity, error: relativeError(found, reference), tolerance };
    });
  });
}
