// Rules whose output feeds back: whole sequences, forward and backward.
import type { Prepared } from '../contender';
import { fw, type Tensor } from '../library';
import type { Case, FeedbackFamily, FeedbackProblem } from '../problem';
import { prepareRule, type RuleInput, type Tensors } from './rules';

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

function run(family: FeedbackFamily, { q, k, v, ...rest }: Tensors): Tensor {
  if (family === 'selfReferential') return fw.selfReferential(rest as never).output;
  if (family === 'deltaLstm') return fw.deltaLstm(rest as never, { scale: 1 }).output;
  const options = { ...rest, scale: 1 } as never;
  return (family === 'deltaRnn' ? fw.deltaRnn(q, k, v, options) : fw.recurrentDelta(q, k, v, options)).output;
}

export function prepareFeedback(problem: FeedbackProblem): Prepared {
  const { family, D } = problem;
  const inputs = Object.fromEntries(
    Object.entries(INPUTS[family]).map(([name, shape]): [string, RuleInput] => {
      const bound = shape.startsWith('H') ? D ** -0.5 : 1;
      return [name, { shape, low: -bound, high: bound }];
    }),
  );
  return prepareRule({ inputs, run: (given) => run(family, given) }, problem);
}
