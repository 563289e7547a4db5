// A checkpoint: the model as `fromPretrained` opens it, and beside it all that training needs to go on bit for bit.
//   model.safetensors config.json [tokenizer]   optimizer.safetensors trainer.json
import { join } from '../platform';
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkObject,
  describe,
  FastWeightsError,
  type GeneratorState,
  scope,
  type Tensor,
} from '../core';
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
import { type CommonSettings, type Optimizer, type OptimizerState, Plateau, type PlateauState } from '../optim';
import type { TrainableModel } from './evaluate';

/** trainer.json */
export interface TrainerState {
  /** Steps done; the data of the next step follows from it. */
  step: number;
  /** Seconds of work so far. */
  seconds: number;
  generator: GeneratorState;
  optimizer: Omit<OptimizerState, 'tensors'>;
  /** Best validation loss of the run. */
  bestLoss: number | null;
  /** Of a validation at this very step. */
  validationLoss: number | null;
  /** Of a run whose schedule has plateaus; `share` is what they left of the learning rate. */
  plateau?: PlateauState & { share: number };
  /** The run's configuration, so that a checkpoint can be moved on its own. */
  config: unknown;
}

type TrainedOptimizer = Pick<Optimizer<CommonSettings>, 'state' | 'loadState'>;

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
  if (!isJsonObject(state) || !isJsonObject(state.generator) || !isJsonObject(state.optimizer)) {
    throw new FastWeightsError('FORMAT', `${path} must be the state of a trainer`, { argument: path });
  }
  const { step, seconds, generator, bestLoss, validationLoss, plateau } = state;
  asFormat(path, () => {
    checkInteger('the file', 'step', step);
    checkNumber('the file', 'seconds', seconds, 0);
    checkInteger('the file', 'generator.seed', generator.seed);
    checkInteger('the file', 'generator.stream', generator.stream);
    if (plateau !== undefined) {
      checkObject('the file', 'plateau', plateau);
      const { share, ...measured } = plateau as unknown as NonNullable<TrainerState['plateau']>;
      checkNumber('the file', 'plateau.share', share, 0, 1);
      new Plateau('the file', {}).loadState(measured);
    }
    for (const [name, loss] of Object.entries({ bestLoss, validationLoss })) {
      if ((loss ?? null) !== null && typeof loss !== 'number') {
        throw argumentError('FORMAT', 'the file', name, 'a number or null', describe(loss));
      }
    }
  });
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
  try {
    asFormat(dir, () => scope(() => optimizer.loadState({ ...state.optimizer, tensors })));
  } finally {
    for (const t of Object.values(tensors)) t.dispose();
  }
}

/** A bad value in a file is an error of the file. */
function asFormat(path: string, read: () => void): void {
  try {
    read();
  } catch (cause) {
    if (!(cause instanceof FastWeightsError)) throw cause;
    const { argument, expected, found } = cause;
    throw new FastWeightsError('FORMAT', `${path}: ${cause.message}`, { argument, expected, found, cause });
  }
}
