// One run at the terminal: progress while it trains, then a sample and the report.
import { FastWeightsError } from '../core';
import { formatNumber, renderReport, type ReportRun, type ReportSample } from '../viz';
import { describeData, reportRun, type Run, type TrainingConfig, type TrainingResult } from '../train';
import { resultTable } from './evaluate';
import { fastWeightsOf, writesOf } from './fastWeights';
import { isAborted } from './interrupt';
import { sequenceProgress, stepProgress } from './progress';
import { packageVersion } from '../platform';

export interface Outcome {
  report: ReportRun;
  json: object;
}

/** How a run hears that it shall stop, and what is said then. */
export interface Watch {
  signal: AbortSignal;
  say(this: void, notice: string): void;
  /** How to go on with a run that was stopped; with --resume by default. */
  remedy?: string;
}

const SAMPLE_TOKENS = 300;
const PROMPT_TOKENS = 32;

/** Trains to the end, or until it is stopped; both leave a report. */
export async function trainRun(run: Run, { signal, say, remedy }: Watch): Promise<Outcome> {
  const steps = stepProgress(run.trainer);
  const validation = sequenceProgress('validation', () => steps.done());
  let result: TrainingResult;
  say('saving a checkpoint');
  try {
    result = await run.trainer.run({ signal, onMetrics: steps.take, onValidation: validation.take });
  } catch (error) {
    validation.done();
    steps.done();
    if (!isAborted(error)) throw error;
    await writeReport(run, []);
    const { step } = run.trainer;
    const imports = (run.config.imports ?? []).map((path) => `--import ${path} `).join('');
    const how = remedy ?? `go on with ${imports}--resume ${run.folder.dir}`;
    const message = `stopped after step ${step}; the run is saved: ${how}`;
    throw new FastWeightsError('ABORTED', message, { cause: error });
  }
  say('stopping');
  validation.done();
  steps.done();
  console.error(resultTable(result.validation));
  const samples = 'tokenizer' in run.data ? [await sample(run, signal)] : [];
  for (const { prompt, text } of samples) console.error(`\n${prompt}${text}\n`);
  const report = await writeReport(run, samples);
  return { report, json: { model: run.config.model.name, parameters: run.model.parameterCount, ...result } };
}

/** What someone who goes on with a run should know of its length and its learning rate. */
export async function resumeNotes({ trainer, folder }: Run, before: TrainingConfig): Promise<string[]> {
  const { steps, minutes, schedule, learningRate } = trainer.config;
  const length = [steps !== null && `${steps} steps`, minutes !== null && `${minutes} minutes`]
    .filter(Boolean)
    .join(', ');
  if (trainer.progress >= 1) {
    return [`its length of ${length} is reached: it is validated again; a larger --steps or --minutes goes on`];
  }
  if (steps === before.steps && minutes === before.minutes && learningRate === before.learningRate) return [];
  const last = (await folder.metrics()).findLast((line) => line.learningRate !== undefined);
  const was = last ? ` (it was ${formatNumber(last.learningRate!)} in step ${last.step})` : '';
  const now = formatNumber(trainer.learningRate);
  if (schedule === 'constant' || schedule === 'reduceOnPlateau') return [`the learning rate goes on at ${now}${was}`];
  const end = formatNumber(trainer.finalLearningRate);
  const shape = schedule === 'oneCycle' ? 'one cycle' : schedule;
  return [
    `the ${shape} of the learning rate is that of ${length} in all: it goes on at ${now}${was} and ends at ${end}`,
  ];
}

async function writeReport(run: Run, samples: ReportSample[]): Promise<ReportRun> {
  const { config, folder, model } = run;
  const report: ReportRun = {
    ...(await reportRun(folder, model.parameterCount)),
    fastWeights: await fastWeightsOf(model, run.data),
    writes: await writesOf(model, run.data),
    samples,
  };
  const title = `${config.model.name} on ${describeData(config).split(/[\\/]/).at(-1)}`;
  const subtitle = `${run.data.description}; fast-weights ${packageVersion()}`;
  await folder.writeReport(renderReport({ title, subtitle, runs: [report] }));
  return report;
}

/** The beginning of the validation text, and how the model goes on; less of it where that is stopped. */
async function sample({ model, data, config }: Run, signal: AbortSignal): Promise<ReportSample> {
  const [batch] = data.evaluation(1);
  const prompt = batch.inputs.subarray(0, PROMPT_TOKENS);
  const ids: number[] = [];
  const { seed } = config.training;
  const options = { maxNewTokens: SAMPLE_TOKENS, temperature: 0.8, seed, signal };
  try {
    for await (const { id } of model.generate(prompt, options)) ids.push(id);
  } catch (error) {
    if (!isAborted(error)) throw error;
  }
  return { title: 'A sample', prompt: data.decode(prompt), text: data.decode(ids) };
}
