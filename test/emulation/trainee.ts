// Trains a tiny model in the folder of its first argument, and prints what happened as JSON:
//   trainee.ts <folder> <device> <dtype> [stop] [device to go on on]
// With `stop` it is aborted after that step, or at the error before it, and resumed.
import '../../lib';
import type { Device } from '../../lib/core';
import { type FastWeightsError } from '../../lib/core';
import { resumeRun, type RunDtype, startRun } from '../../lib/train';
import { close, losses, tinyConfig } from '../train/support';

const [dir, device, dtype, stop, next = device] = process.argv.slice(2) as [string, Device, RunDtype, string?, Device?];

void (async () => {
  const training = { steps: 6, checkpointEvery: 1, validateEvery: 3 };
  const run = await startRun(tinyConfig(training, device, dtype), dir);
  let failure: { code: string; message: string } | undefined;
  const first = await losses(run, stop === undefined ? undefined : Number(stop)).catch((error: FastWeightsError) => {
    failure = { code: error.code, message: error.message };
    return [];
  });
  const { step } = run.trainer;
  close(run);
  let rest: number[] | undefined;
  let from: number | undefined;
  if (stop !== undefined) {
    const resumed = await resumeRun(dir, {}, { device: next });
    from = resumed.trainer.step;
    rest = await losses(resumed);
    close(resumed);
  }
  console.log(JSON.stringify({ losses: first, failure, step, from, rest }));
})();
