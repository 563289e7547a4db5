// A checkpoint: the model as `fromPretrained` opens it, and beside it all that training needs to go on bit for bit.
//   model.safetensors config.json [tokenizer]   optimizer.safetensors trainer.json
import { join } from 'node:path';
import { FastWeightsError, type GeneratorState, scope, type Tensor } from '../core';
import {
  findFolder,
  isJsonObject,
  loadSafetensors,
  readJson,
  saveSafetensors,
  saveTokenizer,
  type Tokenizer,
  writeFolderAtomic,
  writeJson,
} from '../io';
import type { AdamW } from '../optim';
import type { TrainableModel } from './evaluate';

/** trainer.json */
export interface TrainerState {
  /** Steps done; the data of the next step follows from it. */
  step: number;
  /** Seconds of work so far. */
  seconds: number;
  generator: GeneratorState;
  optimizer: { steps: number; lr: number };
  /** Best validation loss of the run. */
  bestLoss: number | null;
  /** Of a validation at this very step. */
  validationLoss: number | null;
  /** The run's configuration, so that a checkpoint can be moved on its own. */
  config: unknown;
}

type TrainedOptimizer = Pick<AdamW, 'state' | 'loadState'>;

export interface TrainingParts {
  model: TrainableModel;
  optimizer: TrainedOptimizer;
  tokenizer?: Tokenizer;
}

export async function saveCheckpoint(dir: string, parts: TrainingParts, state: TrainerState): Promise<void> {
  const { model, optimizer, tokenizer } = parts;
  await writeFolderAtomic(dir, async (folder) => {
    await model.savePretrained(folder);
    if (tokenizer) await saveTokenizer(folder, tokenizer);
    await saveSafetensors(join(folder, 'optimizer.safetensors'), optimizer.state().tensors);
    await writeJson(join(folder, 'trainer.json'), state);
  });
}

export async function readTrainerState(dir: string): Promise<TrainerState> {
  const path = join(await findFolder(dir), 'trainer.json');
  const state = await readJson(path);
  if (
    !isJsonObject(state) ||
    typeof state.step !== 'number' ||
    !isJsonObject(state.generator) ||
    !isJsonObject(state.optimizer)
  ) {
    throw new FastWeightsError('FORMAT', `${path} must be the state of a trainer`, { argument: path });
  }
  return state as unknown as TrainerState;
}

/** Fills the optimiser from a checkpoint. The model comes from `fromPretrained`. */
export async function loadOptimizer(
  dir: string,
  optimizer: TrainedOptimizer,
  device: Tensor['device'],
  state: TrainerState,
): Promise<void> {
  const tensors = await loadSafetensors(join(await findFolder(dir), 'optimizer.safetensors'), { device });
  scope(() => optimizer.loadState({ ...state.optimizer, tensors }));
  for (const t of Object.values(tensors)) t.dispose();
}
