// Trains in the folder of its first argument with a checkpoint after every step, until it is killed.
import '../../lib';
import { startRun } from '../../lib/train';
import { tinyConfig } from './support';

void (async () => {
  const run = await startRun(tinyConfig({ steps: 100000, checkpointEvery: 1, validateEvery: 3 }), process.argv[2]);
  await run.trainer.run();
})();
