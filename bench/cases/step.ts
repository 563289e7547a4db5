// One token: the cost of a call on a state in cache, and the stream of many states through memory.
import type { Finding, Prepared } from '../contender';
import { headOf, mixerInputs, type MixerInputs, type Operand, uniform } from '../inputs';
import { fw, type Tensor } from '../library';
import type { Case, Mixer, StepProblem } from '../problem';
import { dtypeOf, relativeError, stored, TOLERANCE, type Where } from '../reference';
import { finishQueue } from './queue';
import { MIXERS } from './sequence';

function step(what: string, mixer: string, B: number, H: number, D: number): Case {
  const problem: StepProblem = { kind: 'step', ...MIXERS[mixer], device: 'cpu', dtype: 'float32', B, H, D };
  return { name: `${what}/${mixer}/d${D}`, shape: `B${B} H${H} d${D}`, problem };
}

export const stepCases: Case[] = [
  step('step', 'linear', 1, 8, 64),
  step('step', 'delta', 1, 8, 64),
  step('step', 'gated-delta', 1, 8, 64),
  step('step', 'kda', 1, 8, 64),
  step('step', 'delta', 1, 16, 128),
  // 64 MiB of states each.
  step('decode', 'delta', 256, 16, 64),
  step('decode', 'delta', 64, 16, 128),
  step('decode', 'gated-delta', 64, 16, 128),
];

/** Runs one token of a mixer in place. */
export function stepper({ delta }: Mixer, inputs: Record<string, Tensor>, state: Tensor, out: Tensor): () => void {
  const { q, k, v, gate, beta } = inputs;
  if (delta) {
    const options = { state, out, gate, beta };
    return () => void fw.deltaRule.step(q, k, v, options);
  }
  const options = { state, out, gate };
  return gate
    ? () => void fw.gatedLinearAttention.step(q, k, v, options)
    : () => void fw.linearAttention.step(q, k, v, { state, out });
}

/** Operands of one token: [B, H, width], or [B, H] for gates of width 1. */
export function tokenTensors(
  inputs: MixerInputs,
  [B, H]: [number, number],
  { device, dtype }: Where,
): Record<string, Tensor> {
  const entries = Object.entries(inputs);
  return Object.fromEntries(
    entries.map(([name, { data, width }]) => [
      name,
      fw.tensor(data, { shape: width === 1 ? [B, H] : [B, H, width], device, dtype: dtypeOf(name, dtype) }),
    ]),
  );
}

export function prepareStep(problem: StepProblem): Prepared {
  const { device, dtype, B, H, D } = problem;
  const inputs = mixerInputs(problem, B, H, D);
  const operands = tokenTensors(inputs, [B, H], { device, dtype });
  const initial = uniform(B * H * D * D, -0.1, 0.1, 6);
  const state = fw.tensor(initial, { shape: [B, H, D, D], device });
  const out = fw.zeros([B, H, D], { device, dtype });
  const one = stepper(problem, operands, state, out);
  const finish = finishQueue(device);
  return {
    run(calls) {
      fw.noGrad(() => {
        for (let i = 0; i < calls; i++) one();
      });
      return finish();
    },
    check: () =>
      fw.noGrad(() => {
        const fresh = fw.tensor(initial, { shape: [B, H, D, D], device });
        stepper(problem, operands, fresh, out)();
        const output = out.dataSync() as Float32Array;
        const after = fresh.dataSync() as Float32Array;
        const worst: Finding[] = [];
        for (const index of [0, B * H - 1]) worst.push(...checkHead(problem, inputs, initial, index, output, after));
        return worst;
      }),
  };
}

/** The step of state number `index` in float64. */
function checkHead(
  problem: StepProblem,
  inputs: MixerInputs,
  initial: Float32Array,
  index: number,
  output: Float32Array,
  after: Float32Array,
): Finding[] {
  const { dtype, H, D } = problem;
  const where = { device: 'js', dtype: 'float64' } as const;
  const entries = Object.entries(inputs);
  const pick = ([name, operand]: [string, Operand]): [string, Operand] => [
    name,
    {
      data: stored(headOf(operand, H, index % H, Math.floor(index / H), 1), dtypeOf(name, dtype)),
      width: operand.width,
    },
  ];
  const part = Object.fromEntries(entries.map(pick));
  const block = D * D;
  const state = fw.tensor(initial.slice(index * block, (index + 1) * block), { shape: [1, 1, D, D], ...where });
  const out = fw.zeros([1, 1, D], where);
  stepper(problem, tokenTensors(part, [1, 1], where), state, out)();
  const compare = (quantity: string, x: Float32Array, reference: ArrayLike<number>): Finding => ({
    quantity,
    error: relativeError(x, reference),
    tolerance: TOLERANCE[dtype].forward,
  });
  return [
    compare('output', output.subarray(index * D, (index + 1) * D), out.dataSync()),
    compare('state', after.subarray(index * block, (index + 1) * block), state.dataSync()),
  ];
}
