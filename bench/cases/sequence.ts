// Whole sequences: every kind of decay, with and without erasing, forward, backward, both; the js device.
import type { Prepared } from '../contender';
import { mixerInputs, uniform, type Operand } from '../inputs';
import { fw, type Tensor } from '../library';
import type { Case, Mixer, SequenceProblem } from '../problem';
import { checkSequence, mix, operandTensors } from '../reference';
import { finishQueue } from './queue';

export const MIXERS: Readonly<Record<string, Mixer>> = {
  linear: { delta: false, gate: 'none' },
  'gated-linear': { delta: false, gate: 'scalar' },
  gla: { delta: false, gate: 'vector' },
  delta: { delta: true, gate: 'none' },
  'gated-delta': { delta: true, gate: 'scalar' },
  kda: { delta: true, gate: 'vector' },
};

function sequence(what: string, mixer: string, given: Omit<SequenceProblem, 'kind' | 'dtype' | keyof Mixer>): Case {
  const problem: SequenceProblem = { kind: 'sequence', ...MIXERS[mixer], dtype: 'float32', ...given };
  const { B, T, H, D, device } = problem;
  return {
    name: `${what}/${mixer}/d${D}`,
    shape: `B${B} T${T} H${H} d${D}`,
    problem,
    serial: device === 'js',
  };
}

export const sequenceCases: Case[] = [
  ...(['forward', 'backward'] as const).flatMap((pass) =>
    Object.keys(MIXERS).flatMap((mixer) =>
      [64, 128].map((D) => sequence(pass, mixer, { pass, device: 'cpu', B: 1, T: 4096, H: 8, D })),
    ),
  ),
  ...[64, 128].map((D) =>
    sequence('forward-backward', 'delta', { pass: 'training', device: 'cpu', B: 1, T: 4096, H: 8, D }),
  ),
  sequence('js', 'delta', { pass: 'forward', device: 'js', B: 1, T: 512, H: 4, D: 64 }),
];

export function prepareSequence(problem: SequenceProblem): Prepared {
  const { device, dtype, delta, pass, B, T, H, D } = problem;
  const training = pass !== 'forward';
  const inputs = mixerInputs(problem, B * T, H, D);
  const operands = operandTensors(inputs, [B, T, H], { device, dtype, requiresGrad: training });
  const direction: Operand = { data: uniform(B * T * H * D, -1, 1, 6), width: D };
  const doutput = fw.tensor(direction.data, { shape: [B, T, H, D], device, dtype });
  const finish = finishQueue(device);
  const forward = (): Tensor => mix(delta, operands).output;
  const dropGradients = (): void => {
    for (const t of Object.values(operands)) {
      t.grad?.dispose();
      t.grad = null;
    }
  };

  if (!training) {
    return {
      run(calls) {
        fw.noGrad(() => {
          for (let i = 0; i < calls; i++) fw.scope(() => void forward());
        });
        return finish();
      },
      check: () => checkSequence(problem, inputs, { output: fw.noGrad(forward).dataSync() as Float32Array }),
    };
  }
  let output: Tensor | undefined;
  const record = (): void => {
    output = forward();
  };
  const backward = (): void => {
    output!.backward(doutput);
    output!.dispose();
  };
  const read = (t: Tensor): Float32Array => t.detach().dataSync() as Float32Array;
  const step = (): void => {
    dropGradients();
    record();
    backward();
  };
  return {
    ...(pass === 'backward' && {
      setup() {
        dropGradients();
        record();
        return finish();
      },
    }),
    run(calls) {
      if (pass === 'backward') backward();
      else for (let i = 0; i < calls; i++) step();
      return finish();
    },
    check() {
      dropGradients();
      record();
      const results = { output: read(output!) };
      backward();
      const gradients = Object.entries(operands).map(([name, t]) => [`d${name}`, read(t.grad!)] as const);
      return checkSequence(problem, inputs, { ...results, ...Object.fromEntries(gradients) }, direction);
    },
  };
}
