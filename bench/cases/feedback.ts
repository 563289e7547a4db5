// Rules whose output feeds back: whole sequences, forward and backward, and one token; useful operations of each stand here.
import type { Finding, Prepared } from '../contender';
import { uniform } from '../inputs';
import { fw, type Tensor } from '../library';
import type { Case, FeedbackFamily, FeedbackProblem } from '../problem';
import { relativeError, TOLERANCE } from '../reference';
import { finishQueue } from './queue';

type Tensors = Record<string, Tensor>;

/** Shapes of the inputs by letters, in the order of bench/peers/torch_trial.py. */
const delta = { q: 'BTHD', k: 'BTHD', v: 'BTHD', beta: 'BTH' };
const read = { ...delta, recurrentK: 'BTHD', recurrentV: 'BTHD', recurrentBeta: 'BTH' };
const gates = ['I', 'U', 'O'].flatMap((gate) => Object.entries(read).map(([name, shape]) => [name + gate, shape]));
const INPUTS: Record<FeedbackFamily, Record<string, string>> = {
  selfReferential: { x: 'BTHD', wY: 'HDD', wQ: 'HDD', wK: 'HDD', wB: 'HD4' },
  recurrentDelta: { ...delta, recurrentQ: 'HDD', recurrentK: 'HDD', recurrentV: 'HDD', recurrentBeta: 'HD' },
  deltaRnn: read,
  deltaLstm: Object.fromEntries(gates) as Record<string, string>,
};

const NAMES = Object.keys(INPUTS) as FeedbackFamily[];

function feedback(name: string, family: FeedbackFamily, given: Partial<FeedbackProblem>): Case {
  const problem: FeedbackProblem = {
    kind: 'feedback',
    family,
    pass: 'forward',
    device: 'cpu',
    dtype: 'float32',
    B: 4,
    T: 256,
    H: 4,
    D: 64,
    ...given,
  };
  const { B, T, H, D, device } = problem;
  return { name, shape: `B${B} T${T} H${H} d${D}`, problem, serial: device === 'js' };
}

export const feedbackCases: Case[] = [
  ...NAMES.flatMap((family) =>
    (['forward', 'backward'] as const).flatMap((pass) =>
      [32, 64].map((D) => feedback(`feedback-${pass}/${family}/d${D}`, family, { pass, D })),
    ),
  ),
  ...NAMES.map((family) => feedback(`feedback-training/${family}/d64`, family, { pass: 'training' })),
  feedback('js/selfReferential/d64', 'selfReferential', { device: 'js', B: 1, T: 128, H: 1 }),
];

function inputsOf({ family, B, T, H, D }: FeedbackProblem): Record<string, { data: Float32Array; shape: number[] }> {
  const sizes: Record<string, number> = { B, T, H, D };
  return Object.fromEntries(
    Object.entries(INPUTS[family]).map(([name, letters], i) => {
      const shape = [...letters].map((letter) => sizes[letter] ?? Number(letter));
      const bound = letters.startsWith('H') ? D ** -0.5 : 1;
      return [
        name,
        {
          data: uniform(
            shape.reduce((a, b) => a * b, 1),
            -bound,
            bound,
            i,
          ),
          shape,
        },
      ];
    }),
  );
}

function run(family: FeedbackFamily, { q, k, v, ...rest }: Tensors): Tensor {
  if (family === 'selfReferential') return fw.selfReferential(rest as never).output;
  if (family === 'deltaLstm') return fw.deltaLstm(rest as never, { scale: 1 }).output;
  const options = { ...rest, scale: 1 } as never;
  return (family === 'deltaRnn' ? fw.deltaRnn(q, k, v, options) : fw.recurrentDelta(q, k, v, options)).output;
}

export function prepareFeedback(problem: FeedbackProblem): Prepared {
  const { family, pass, device, B, T, H, D } = problem;
  const training = pass !== 'forward';
  const host = inputsOf(problem);
  const operands = Object.fromEntries(
    Object.entries(host).map(([name, { data, shape }]) => [
      name,
      fw.tensor(data, { shape, device, requiresGrad: training }),
    ]),
  );
  const direction = uniform(B * T * H * D, -1, 1, 99);
  const doutput = fw.tensor(direction, { shape: [B, T, H, D], device });
  const finish = finishQueue(device);
  const dropGradients = (): void => {
    for (const t of Object.values(operands)) {
      t.grad?.dispose();
      t.grad = null;
    }
  };
  let output: Tensor | undefined;
  const step = (): void => {
    dropGradients();
    output = run(family, operands);
    output.backward(doutput);
    output.dispose();
  };
  return {
    ...(pass === 'backward' && {
      setup() {
        dropGradients();
        output = run(family, operands);
        return finish();
      },
    }),
    run(calls) {
      if (pass === 'backward') {
        output!.backward(doutput);
        output!.dispose();
      } else if (training) {
        for (let i = 0; i < calls; i++) step();
      } else {
        fw.noGrad(() => {
          for (let i = 0; i < calls; i++) fw.scope(() => void run(family, operands));
        });
      }
      return finish();
    },
    check: () => check(problem, host, direction),
  };
}

/** The last sequence against float64 on `js`: its output, and the gradient of its first input. */
function check(problem: FeedbackProblem, host: ReturnType<typeof inputsOf>, direction: Float32Array): Finding[] {
  const { family, pass, device, B } = problem;
  const last = (data: Float32Array, shape: readonly number[]): Float32Array =>
    shape[0] === B && shape.length > 2 ? data.slice((data.length / B) * (B - 1)) : data;
  const results = (where: { device: typeof device; dtype: 'float32' | 'float64' }): Float64Array[] =>
    fw.scope(() => {
      const inputs = Object.fromEntries(
        Object.entries(host).map(([name, { data, shape }]) => {
          const shared = INPUTS[family][name].startsWith('H');
          const own = shared ? { data, shape } : { data: last(data, shape), shape: [1, ...shape.slice(1)] };
          return [name, fw.tensor(own.data, { shape: own.shape, ...where, requiresGrad: true })];
        }),
      );
      const output = run(family, inputs);
      const found = [Float64Array.from(output.detach().dataSync())];
      if (pass === 'forward') return found;
      output.backward(fw.tensor(last(direction, [B, 0, 0]), { shape: output.shape, ...where }));
      return [...found, Float64Array.from(Object.values(inputs)[0].grad!.dataSync())];
    });
  const [found, reference] = [results({ device, dtype: 'float32' }), results({ device: 'js', dtype: 'float64' })];
  return found.map((x, i) => ({
    quantity: i === 0 ? 'output' : `d${Object.keys(host)[0]}`,
    error: relativeError(x, reference[i]),
    tolerance: i === 0 ? TOLERANCE.float32.forward : TOLERANCE.float32.gradient,
  }));
}
