// Runs an experiment in a folder: every trial once, results kept as they come, so that a run that was stopped goes on.
import { basename, join } from '../platform';
import {
  argumentError,
  checkInteger,
  checkOptions,
  describe,
  type Device,
  FastWeightsError,
  nearest,
  type OptionNames,
} from '../core';
import { defaultDevice } from '../backends';
import { createFolder, type Json, lockFolder, unlockFolder, writeFileAtomic, writeJson } from '../io';
import { formatDuration, renderReport, type ReportRun } from '../viz';
import type { Axes, Claim, Experiment, Findings, TrialResult } from './experiment';
import { keepModel } from './inspect';
import { fingerprint, readResults } from './kept';

/** Options of `runExperiment`. */
export interface ExperimentOptions {
  /** Where results.json and report.html go; made if need be. Trials that it holds already are not run again. */
  folder: string;
  /** Short trials, as in continuous integration; false by default. A folder holds either kind. */
  quick?: boolean;
  /** How many seeds each trial runs under, from 1 on; 1 by default. */
  seeds?: number;
  /** The path of a file to run on, in place of what the experiment generates; INVALID_ARGUMENT if the experiment takes none. */
  data?: string;
  /** Of an experiment that is a grid: the rows and columns to run, all of its own by default. */
  rules?: readonly string[];
  tasks?: readonly string[];
  /** The default device by default. */
  device?: Device;
  /** Aborting it ends the trial at hand with an ABORTED error; those before it are kept. */
  signal?: AbortSignal;
  /** How far the trial at hand is. */
  onProgress?(trial: string, seed: number, step: number, total: number, loss?: number): void;
  /** Called after every trial. */
  onResult?(result: TrialResult): void;
}

const OPTIONS: OptionNames<ExperimentOptions> = {
  folder: true,
  quick: 'flag',
  seeds: true,
  data: true,
  rules: true,
  tasks: true,
  device: true,
  signal: true,
  onProgress: true,
  onResult: true,
};

/** What the folder of an experiment holds. */
export interface ExperimentRecord {
  experiment: string;
  quick: boolean;
  results: TrialResult[];
  claims: Claim[];
}

/**
 * Runs what is missing and writes results.json and the trained model after each trial, report.html at the end. FORMAT for a
 * folder of another experiment, kind or file; IO while another run works in it, of this process or of another.
 */
export async function runExperiment<R extends Json>(
  experiment: Experiment<R>,
  options: ExperimentOptions,
): Promise<ExperimentRecord> {
  const where = 'runExperiment';
  checkOptions(where, options, OPTIONS);
  const { folder, quick = false, data } = options;
  const seeds = checkInteger(where, 'seeds', options.seeds ?? 1, 1, 1000);
  if (data !== undefined && experiment.data === undefined) {
    throw argumentError('INVALID_ARGUMENT', where, 'data', `no file: ${experiment.name} makes its own data`, data);
  }
  const chosen = chosenOf(where, experiment, options);
  const source = data === undefined ? undefined : await fingerprint(data);
  await createFolder(folder);
  await lockFolder(folder, { alone: true });
  try {
    return await runTrials(
      experiment,
      { ...options, quick, seeds, device: options.device ?? defaultDevice() },
      { source, chosen },
    );
  } finally {
    await unlockFolder(folder);
  }
}

type Settings = ExperimentOptions & Required<Pick<ExperimentOptions, 'quick' | 'seeds' | 'device'>>;

async function runTrials<R extends Json>(
  experiment: Experiment<R>,
  { folder, quick, seeds, data, device, signal, onProgress, onResult }: Settings,
  { source, chosen }: { source: string | undefined; chosen: Partial<Axes> },
): Promise<ExperimentRecord> {
  const file = join(folder, 'results.json');
  const results = (await readResults(file, experiment.name, quick)) as TrialResult<R>[];
  const known = results.length;
  const used = { quick, device };
  const stop = (): void => {
    if (signal?.aborted) throw new FastWeightsError('ABORTED', `${experiment.name}: stopped`, { cause: signal.reason });
  };
  const write = (claims: readonly Claim[]): Promise<void> =>
    writeJson(file, { experiment: experiment.name, source: experiment.source, quick, results, claims });
  for (let seed = 1; seed <= seeds; seed++) {
    for (const trial of experiment.trials(quick, data, chosen)) {
      const done = results.find((result) => result.trial === trial && result.seed === seed);
      if (done && done.source === source) continue;
      if (done) {
        const message = `${file} has results of another file ${basename(data!)}, of which one is called ${trial}`;
        throw new FastWeightsError('FORMAT', `${message}; name another folder`, { argument: 'data' });
      }
      stop();
      const begun = performance.now();
      let model: string | undefined;
      const found = await experiment.run(trial, {
        seed,
        quick,
        device,
        data,
        signal,
        report(step, total, loss) {
          stop();
          onProgress?.(trial, seed, step, total, loss);
        },
        async keep(trained) {
          const name = `model-${results.length + 1}.safetensors`;
          if (await keepModel(experiment, trained, trial, { seed, ...used }, join(folder, name))) model = name;
        },
      });
      const seconds = (performance.now() - begun) / 1000;
      const kept = { ...(model !== undefined && { model }), ...(source !== undefined && { source }) };
      const result = { trial, seed, seconds, found, ...kept };
      results.push(result);
      await write([]);
      onResult?.(result);
    }
  }
  const findings = findingsOf(experiment, results, quick, known > 0 ? file : null);
  await write(findings.claims);
  const html = renderReport(reportOf(experiment, results, findings));
  await writeFileAtomic(join(folder, 'report.html'), (handle) => handle.writeFile(html));
  return { experiment: experiment.name, quick, results, claims: [...findings.claims] };
}

/** What was chosen of a grid, each name known. */
function chosenOf(
  where: string,
  { name, axes }: Pick<Experiment, 'name' | 'axes'>,
  given: Pick<ExperimentOptions, 'rules' | 'tasks'>,
): Partial<Axes> {
  const known = axes?.();
  const chosen: Partial<Axes> = {};
  for (const axis of ['rules', 'tasks'] as const) {
    const names = given[axis];
    if (names === undefined) continue;
    if (!known) throw argumentError('INVALID_ARGUMENT', where, axis, `left out: ${name} is no grid`, describe(names));
    if (!Array.isArray(names) || names.length === 0) {
      throw argumentError('INVALID_ARGUMENT', where, axis, 'a list of names, one at least', describe(names));
    }
    for (const one of names as readonly string[]) {
      if (known[axis].includes(one)) continue;
      const near = typeof one === 'string' ? nearest(one, known[axis]) : undefined;
      const expected = near === undefined ? known[axis].join(', ') : `one of the known; did you mean ${near}?`;
      throw argumentError('INVALID_ARGUMENT', where, axis, expected, describe(one));
    }
    const twice = (names as readonly string[]).find((one, i) => names.indexOf(one) < i);
    if (twice !== undefined)
      throw argumentError('INVALID_ARGUMENT', where, axis, 'names that differ', `'${twice}' twice`);
    chosen[axis] = names as readonly string[];
  }
  return chosen;
}

/** What the results say; those of a damaged file may say nothing. */
function findingsOf<R extends Json>(
  experiment: Experiment<R>,
  results: readonly TrialResult<R>[],
  quick: boolean,
  file: string | null,
): Findings {
  try {
    return experiment.findings(results, quick);
  } catch (cause) {
    if (file === null || cause instanceof FastWeightsError) throw cause;
    const message = `${file} holds results that are not those of ${experiment.name}; delete it or name another folder`;
    throw new FastWeightsError('FORMAT', message, { argument: file, cause });
  }
}

function reportOf(
  { title, source }: Pick<Experiment, 'title' | 'source'>,
  results: readonly TrialResult[],
  { measures, charts, picture, scores, claims }: Findings,
): Parameters<typeof renderReport>[0] {
  const runs: ReportRun[] = Object.entries(measures).map(([trial, found], i) => {
    const alone = results.filter((result) => result.trial === trial);
    const own = alone.length > 0 ? alone : results;
    const seconds = own.reduce((sum, result) => sum + result.seconds, 0);
    return {
      name: trial,
      summary: { ...found, seeds: new Set(own.map(({ seed }) => seed)).size, time: formatDuration(seconds) },
      ...(i === 0 && { charts, ...(picture && { fastWeights: picture }), ...(scores && { scores }) }),
    };
  });
  const samples = claims.map(({ text, holds, because }) => ({
    title: `${holds ? 'Holds' : 'Fails'}: ${text}`,
    text: because,
  }));
  if (runs.length > 0) runs[0] = { ...runs[0], samples };
  return { title, subtitle: source, runs };
}
