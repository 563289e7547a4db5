// Small runs that the tests of training share.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Device } from '../../lib/core';
import {
  fillTraining,
  type Metrics,
  type Run,
  type RunConfig,
  type RunDtype,
  type TrainingConfig,
} from '../../lib/train';

export function tinyConfig(
  training: Partial<TrainingConfig> = {},
  device: Device = 'js',
  dtype: RunDtype = 'float32',
): RunConfig {
  return {
    model: { name: 'deltanet', hiddenSize: 16, numLayers: 1, numHeads: 2 },
    data: { task: 'associativeRecall', options: { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 8 } },
    training: fillTraining({ steps: 10, batchSize: 4, validateEvery: 4, checkpointEvery: 100, ...training }),
    device,
    dtype,
  };
}

/** Calls `use` with a fresh folder that is deleted afterwards. */
export async function withFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'fast-weights-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Trains and returns the losses; with `stopAt` it is aborted after that step. */
export async function losses(run: Run, stopAt?: number): Promise<number[]> {
  const controller = new AbortController();
  const found: number[] = [];
  const onMetrics = ({ step, loss }: Metrics): void => {
    if (loss !== undefined) found.push(loss);
    if (step === stopAt) controller.abort();
  };
  await run.trainer.run({ signal: controller.signal, onMetrics }).catch((error: { code?: string }) => {
    if (stopAt === undefined || error.code !== 'ABORTED') throw error;
  });
  return found;
}

/** Frees what a run holds. */
export function close(run: Run): void {
  run.trainer.dispose();
  run.model.dispose();
}

/** The weights as bytes by name. */
export function weights({ model }: Run): Record<string, string> {
  const bytes = (data: ArrayBufferView): string =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
  return Object.fromEntries(model.namedParameters().map(([name, t]) => [name, bytes(t.dataSync())]));
}
