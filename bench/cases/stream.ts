// Long sequences: in pieces, and token by token. The rate stays and so does the memory, whatever the length.
import type { Prepared } from '../contender';
import { mixerInputs } from '../inputs';
import { fw, type Tensor } from '../library';
import type { Case, StreamProblem } from '../problem';
import { mix, operandTensors, relativeError, TOLERANCE } from '../reference';
import { finishQueue } from './queue';
import { MIXERS } from './sequence';
import { stepper, tokenTensors } from './step';

const LENGTHS = { '1k': 2 ** 10, '32k': 2 ** 15, '1M': 2 ** 20 };

function stream(what: string, length: keyof typeof LENGTHS, piece: number): Case {
  const problem: StreamProblem = { kind: 'stream', ...MIXERS['gated-delta'], piece, T: LENGTHS[length], H: 8, D: 64 };
  return {
    name: `long/${what}/${length}`,
    shape: `T${problem.T} H8 d64 by ${piece}`,
    problem,
    serial: piece === 1,
    once: true,
  };
}

export const streamCases: Case[] = [
  ...(['1k', '32k', '1M'] as const).map((length) => stream('prefill', length, 1024)),
  ...(['1k', '32k', '1M'] as const).map((length) => stream('decode', length, 1)),
];

/** Pieces that the check reads through; the reference takes them in one go. */
const CHECKED = 3;

export function prepareStream(problem: StreamProblem): Prepared {
  const { piece, T, H, D, delta } = problem;
  const inputs = mixerInputs(problem, piece, H, D);
  const state = fw.zeros([1, H, D, D], { device: 'cpu' });
  const finish = finishQueue('cpu');
  const one = piece === 1 ? decoder() : prefill;
  const operands = piece === 1 ? undefined : operandTensors(inputs, [1, piece, H], { device: 'cpu' });

  function decoder(): () => void {
    return stepper(
      problem,
      tokenTensors(inputs, [1, H], { device: 'cpu' }),
      state,
      fw.zeros([1, H, D], { device: 'cpu' }),
    );
  }

  function prefill(): void {
    fw.scope(() => {
      state.copy_(mix(delta, operands!, { initialState: state, outputFinalState: true }).finalState!);
    });
  }

  const through = (pieces: number): void =>
    fw.noGrad(() => {
      for (let i = 0; i < pieces; i++) one();
    });

  return {
    run(calls) {
      for (let i = 0; i < calls; i++) through(T / piece);
      return finish();
    },
    check: () =>
      fw.noGrad(() => {
        state.copy_(fw.zeros([1, H, D, D], { device: 'cpu' }));
        through(CHECKED);
        const where = { device: 'js', dtype: 'float64' } as const;
        const once = operandTensors(inputs, [1, piece, H], where);
        const repeated = Object.entries(once).map(([name, t]): [string, Tensor] => [
          name,
          fw.cat(Array<Tensor>(CHECKED).fill(t), 1),
        ]);
        const { finalState } = mix(delta, Object.fromEntries(repeated), { outputFinalState: true });
        const error = relativeError(state.dataSync(), finalState!.dataSync());
        return [{ quantity: 'state', error, tolerance: TOLERANCE.float32.forward }];
      }),
  };
}
