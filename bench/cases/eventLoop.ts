// How free the event loop is while the library computes: the delays of a timer.
import type { Prepared } from '../contender';
import { mixerInputs } from '../inputs';
import { fw } from '../library';
import type { Case, EventLoopProblem, LanguageModelProblem, SequenceProblem } from '../problem';
import { mix, operandTensors } from '../reference';
import { quantile } from '../statistics';
import { generationLoopCases, generationWork } from './generation';
import { checkModel, languageModelCases, makeTraining } from './languageModel';
import { MIXERS, prepareSequence } from './sequence';

const [training] = languageModelCases;
const prefill: SequenceProblem = {
  kind: 'sequence',
  pass: 'forward',
  device: 'cpu',
  dtype: 'float32',
  ...MIXERS['gated-delta'],
  B: 1,
  T: 2 ** 15,
  H: 8,
  D: 64,
};

export const eventLoopCases: Case[] = [
  {
    name: 'eventloop/train',
    shape: training.shape,
    problem: { kind: 'eventLoop', during: training.problem as LanguageModelProblem },
  },
  {
    name: 'eventloop/prefill',
    shape: `B${prefill.B} T${prefill.T} H${prefill.H} d${prefill.D}`,
    problem: { kind: 'eventLoop', during: prefill },
  },
  ...generationLoopCases,
];

const TIMER_MS = 1;
const WINDOW_MS = 1000;

/** The 99th percentile of the delays of a timer, in milliseconds, while `work` runs over and over for a second. */
async function timerDelay(work: () => Promise<void>): Promise<number> {
  const delays: number[] = [];
  let set: number;
  let timer: NodeJS.Timeout;
  const start = (): void => {
    set = performance.now();
    timer = setTimeout(() => {
      delays.push(performance.now() - set - TIMER_MS);
      start();
    }, TIMER_MS);
  };
  start();
  const end = performance.now() + WINDOW_MS;
  while (performance.now() < end) await work();
  clearTimeout(timer!);
  return quantile(
    delays.sort((a, b) => a - b),
    0.99,
  );
}

/** Work that is awaited as a program would, and the check of its results. */
function prepareWork(problem: EventLoopProblem['during']): { work: () => Promise<void>; check: Prepared['check'] } {
  if (problem.kind === 'languageModel') {
    const { step } = makeTraining(problem);
    const work = async (): Promise<void> => {
      const loss = step();
      await loss.data();
      loss.dispose();
    };
    return { work, check: () => checkModel(problem) };
  }
  if (problem.kind === 'generation') return generationWork(problem);
  const { B, T, H, D, delta } = problem;
  const operands = operandTensors(mixerInputs(problem, B * T, H, D), [B, T, H], { device: 'cpu' });
  const work = async (): Promise<void> => {
    const last = fw.noGrad(() =>
      fw.scope(() =>
        mix(delta, operands)
          .output.slice(1, T - 1, T)
          .contiguous(),
      ),
    );
    await last.data();
    last.dispose();
  };
  return { work, check: prepareSequence(problem).check };
}

export function prepareEventLoop({ during }: EventLoopProblem): Prepared {
  const { work, check } = prepareWork(during);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await work();
    },
    sample: () => timerDelay(work),
    check,
  };
}
