// A thread of the soak. `churn` computes until it is terminated at any moment; `train` trains until it is asked to stop.
import { createRequire } from 'node:module';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';

// Beside a service: on Linux the number 0 is this thread alone.
setPriority(0, 19);

const fw = createRequire(import.meta.url)('../../dist/index.js');

async function churn() {
  const model = fw.createModel('deltanet', { vocabSize: 64, hiddenSize: 32, numLayers: 1, numHeads: 1 });
  const session = model.createSession();
  for (let i = 0; ; i++) {
    // Some of it waits for the device, some never will.
    void fw
      .rand([256, 256])
      .matmul(fw.rand([256, 256]))
      .data();
    for await (const { id } of session.generate([i % 64], { maxNewTokens: 8, temperature: 1 })) void id;
    await fw.scope(() => fw.rand([64, 64]).tanh().sum()).data();
  }
}

async function train() {
  const controller = new AbortController();
  parentPort.on('message', () => controller.abort());
  const { startRun } = fw;
  const run = await startRun(
    {
      model: { name: 'deltanet', hiddenSize: 32, numLayers: 1, numHeads: 1 },
      data: { task: 'associativeRecall', options: { pairs: 8 } },
      training: { steps: 1e6, batchSize: 8, validateEvery: 200, checkpointEvery: 500, seed: workerData.seed },
      device: workerData.device,
    },
    workerData.dir,
  );
  await run.trainer.run({ signal: controller.signal }).catch((error) => {
    if (error.code !== 'ABORTED') throw error;
  });
  const { step } = run.trainer;
  run.trainer.dispose();
  run.model.dispose();
  parentPort.postMessage({ step });
  parentPort.close();
}

await (workerData.role === 'churn' ? churn() : train());
