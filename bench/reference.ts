// The float64 references: the library's own kernels in JavaScript, on the parts of a problem that stand for all of it.
import type { Finding } from './contender';
import { headOf, type MixerInputs, type Operand } from './inputs';
import { fw, type Tensor } from './library';
import type { SequenceProblem } from './problem';

/** Design tolerances of float32 against float64. */
export const TOLERANCE = { forward: 1e-5, gradient: 1e-4 };

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
  options: { device: 'cpu' | 'js'; dtype?: 'float64'; requiresGrad?: boolean },
): Record<string, Tensor> {
  const entries = Object.entries(inputs);
  return Object.fromEntries(
    entries.map(([name, { data, width }]) => {
      const shape =
        name === 'gate' || name === 'beta' ? (width === 1 ? [B, T, H] : [B, T, H, width]) : [B, T, H, width];
      return [name, fw.tensor(data, { shape, ...options })];
    }),
  );
}

/**
 * Errors of a result: `results` holds the output, and for gradients those of every operand, as [tokens, H, width]. Heads
 * know nothing of each other, so the last one of the last sequence stands for all.
 */
export function checkSequence(
  { delta, B, T, H }: SequenceProblem,
  inputs: MixerInputs,
  results: Readonly<Record<string, Float32Array>>,
  doutput?: Operand,
): Finding[] {
  const pick = ({ data, width }: Operand): Operand => ({
    data: headOf({ data, width }, H, H - 1, (B - 1) * T, T),
    width,
  });
  const part = Object.fromEntries(Object.entries(inputs).map(([name, operand]) => [name, pick(operand)]));
  const where = { device: 'js', dtype: 'float64' } as const;
  return fw.scope(() => {
    const operands = operandTensors(part, [1, T, 1], { ...where, requiresGrad: doutput !== undefined });
    const { output } = mix(delta, operands);
    const expected: Record<string, Tensor> = { output };
    if (doutput) {
      output.backward(operandTensors({ output: pick(doutput) }, [1, T, 1], where).output);
      for (const [name, t] of Object.entries(operands)) expected[`d${name}`] = t.grad!;
    }
    return Object.entries(results).map(([quantity, data]) => {
      const reference = expected[quantity].detach().dataSync();
      const found = pick({ data, width: reference.length / T }).data;
      const tolerance = quantity === 'output' ? TOLERANCE.forward : TOLERANCE.gradient;
      return { quantity, error: relativeError(found, reference), tolerance };
    });
  });
}
