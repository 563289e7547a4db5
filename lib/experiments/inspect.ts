// The trained models of experiments: kept beside the results, and looked into while they read an example of their task.
import { join } from '../platform';
import { type Device, FastWeightsError, scope } from '../core';
import { isJsonObject, loadSafetensors, readJson, saveSafetensors } from '../io';
import { type Inspection, inspectReading, type InspectOptions, keepsMatrix, type Reading } from '../inspect';
import type { Module } from '../nn';
import { noGrad } from '../autograd';
import type { Example, Experiment, TrialModel, TrialResult } from './experiment';

type Named = Pick<Experiment, 'name' | 'example'>;

function readingOf(name: string, { model, reading }: Example): Reading & { texts: readonly string[] } {
  const { tokens, read } = noGrad(() => scope(reading));
  return {
    name,
    model,
    tokens: tokens.length,
    texts: tokens,
    slices: () => [{ tokens: tokens.length, read: (look) => look(read) }],
  };
}

/** Saves a trained model's weights if it has a matrix memory that an example shows; whether it did. */
export async function keepModel(
  { name, example }: Named,
  trained: Module,
  trial: string,
  context: TrialModel,
  file: string,
): Promise<boolean> {
  if (!example) return false;
  const weights = trained.stateDict();
  const fresh = example(trial, context);
  try {
    fresh.model.loadStateDict(weights);
    if (!(await keepsMatrix(readingOf(trial, fresh)))) return false;
  } finally {
    fresh.model.dispose();
  }
  await saveSafetensors(file, weights, { experiment: name, trial, seed: `${context.seed}` });
  return true;
}

/** Options of `inspectExperiment`. */
export interface InspectExperimentOptions extends InspectOptions {
  /** Whose model; the first that was kept by default. */
  trial?: string;
  /** Under which seed it was trained; the first by default. */
  seed?: number;
  device: Device;
}

/** An inspection, what was read, and whose model it was. */
export interface InspectedExperiment {
  inspection: Inspection;
  tokens: readonly string[];
  experiment: string;
  trial: string;
  seed: number;
}

/** The trained model of a trial in the folder of an experiment reads an example; UNSUPPORTED where none was kept. */
export async function inspectExperiment(
  experiments: readonly Experiment[],
  folder: string,
  { trial, seed, device, ...options }: InspectExperimentOptions,
): Promise<InspectedExperiment> {
  const where = 'inspectExperiment';
  const file = join(folder, 'results.json');
  const record = await readJson(file);
  const experiment = isJsonObject(record) ? experiments.find(({ name }) => name === record.experiment) : undefined;
  if (!experiment || !isJsonObject(record) || !Array.isArray(record.results)) {
    throw new FastWeightsError('FORMAT', `${file} holds no results of an experiment`);
  }
  const { name, example } = experiment;
  if (!example) {
    const others = experiments.filter((one) => one.example).map((one) => one.name);
    throw unsupported(where, `${name} keeps no matrix of fast weights`, name, others);
  }
  const results = record.results as unknown as TrialResult[];
  const kept = results.filter(({ model }) => model !== undefined);
  const chosen = kept.find((one) => one.trial === (trial ?? one.trial) && one.seed === (seed ?? one.seed));
  if (!chosen) {
    const asked = [trial ?? 'any trial', ...(seed === undefined ? [] : [`seed ${seed}`])].join(', ');
    const others = kept.map((one) => `${one.trial}, seed ${one.seed}`);
    throw unsupported(where, `${folder} holds no model with a matrix of fast weights of ${asked}`, asked, others);
  }
  const context = { seed: chosen.seed, quick: record.quick === true, device };
  const weights = await loadSafetensors(join(folder, chosen.model!), { device });
  const fresh = example(chosen.trial, context);
  try {
    fresh.model.loadStateDict(weights);
    const reading = readingOf(chosen.trial, fresh);
    const inspection = await inspectReading(where, reading, [], options);
    return { inspection, tokens: reading.texts, experiment: name, trial: chosen.trial, seed: chosen.seed };
  } finally {
    fresh.model.dispose();
    for (const weight of Object.values(weights)) weight.dispose();
  }
}

function unsupported(where: string, what: string, found: string, others: readonly string[]): FastWeightsError {
  const expected = others.length > 0 ? others.join('; ') : 'none';
  const message = `${where}: ${what}; those that there are: ${expected}`;
  return new FastWeightsError('UNSUPPORTED', message, { argument: 'folder', expected, found });
}
