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
  const entries = Object.entries(inputs as unknown as Record<string, Operand>);
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
 * know nothing of each other, so the first head of the first sequence and the last one of the last stand for all.
 */
export function checkSequence(
  problem: SequenceProblem,
  inputs: MixerInputs,
  results: Readonly<Record<string, ArrayLike<number> & Float32Array>>,
  doutput?: Operand,
): Finding[] {
  const { delta, B, T, H } = problem;
  const findings = new Map<string, Finding>();
  for (const [sequence, head] of [
    [0, 0],
    [B - 1, H - 1],
  ]) {
    const pick = (operand: Operand): Operand => ({
      data: headOf(operand, H, head, sequence * T, T),
      width: operand.width,
    });
    const entries = Object.entries(inputs as unknown as Record<string, Operand>);
    const part = Object.fromEntries(entries.map(([name, operand]) => [name, pick(operand)]));
    fw.scope(() => {
      const where = { device: 'js', dtype: 'float64', requiresGrad: doutput !== undefined } as const;
      const operands = operandTensors(part as unknown as MixerInputs, [1, T, 1], where);
      const { output } = mix(delta, operands);
      const expected: Record<string, Tensor> = { output };
      if (doutput) {
        output.backward(
          operandTensors({ q: pick(doutput) } as unknown as MixerInputs, [1, T, 1], { device: 'js', dtype: 'float64' })
            .q,
        );
        for (const [name, t] of Object.entries(operands)) expected[`d${name}`] = t.grad!;
      }
      for (const [quantity, data] of Object.entries(results)) {
        const reference = expected[quantity].detach().dataSync();
        const found = pick({ data, width: reference.length / T });
        const error = Math.max(relativeError(found.data, reference), findings.get(quantity)?.error ?? 0);
        findings.set(quantity, {
          quantity,
          error,
          tolerance: quantity === 'output' ? TOLERANCE.forward : TOLERANCE.gradient,
        });
      }
    });
  }
  return [...findings.values()];
}
