// What it costs to ask a card for anything at all: one number is set.
import type { Prepared } from '../contender';
import { fw } from '../library';
import type { Case, LaunchProblem, Place } from '../problem';
import { relativeError } from '../reference';
import { finishQueue } from './queue';

export const launchCases = (place: Place): Case[] =>
  [false, true].map((awaited) => ({
    name: `launch/${awaited ? 'awaited' : 'queued'}`,
    shape: 'fill of 1',
    problem: { kind: 'launch', ...place, awaited },
  }));

export function prepareLaunch({ device, dtype, awaited }: LaunchProblem): Prepared {
  const number = fw.zeros([1], { device, dtype });
  const finish = finishQueue(device);
  const fill = (): void => void fw.noGrad(() => number.fill_(2));
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) {
        fill();
        if (awaited) await finish();
      }
      await finish();
    },
    check() {
      fill();
      return [{ quantity: 'number', error: relativeError(number.dataSync(), [2]), tolerance: 0 }];
    },
  };
}
