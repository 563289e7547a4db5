// One run at the terminal: progress while it trains, then a sample and the report.
import { FastWeightsError } from '../core';
import { createProgress, type Progress, renderReport, type ReportRun, type ReportSample } from '../viz';
import { describeData, type Metrics, reportRun, type Run, type TrainingResult } from '../train';
import { resultTable } from './evaluate';
import { fastWeightsOf } from './fastWeights';
import { packageVersion } from '../platform';

export interface Outcome {
  report: ReportRun;
  json: object;
}

const SAMPLE_TOKENS = 300;
const PROMPT_TOKENS = 32;

/** Trains to the end, or until it is stopped; both leave a report. */
export async function trainRun(run: Run, signal: AbortSignal): Promise<Outcome> {
  const show = progressOf(run);
  let result: TrainingResult;
  try {
    result = await run.trainer.run({ signal, onMetrics: show.take });
  } catch (error) {
    show.done();
    if (!(error instanceof FastWeightsError) || error.code !== 'ABORTED') throw error;
    await writeReport(run, []);
    throw new FastWeightsError(
      'ABORTED',
      `stopped after step ${run.trainer.step}; go on with --resume ${run.folder.dir}`,
      { cause: error },
    );
  }
  show.done();
  console.error(resultTable(result.validation));
  const samples = 'tokenizer' in run.data ? [await sample(run)] : [];
  for (const { prompt, text } of samples) console.error(`\n${prompt}${text}\n`);
  const report = await writeReport(run, samples);
  return { report, json: { model: run.config.model.name, parameters: run.model.parameterCount, ...result } };
}

/** The progress bar, made as soon as the length of the run is known; where time limits it, that is reckoned anew. */
function progressOf({ trainer }: Run): { take(metrics: Metrics): void; done(): void } {
  let progress: Progress | undefined;
  return {
    take({ step, loss, tokensPerSecond, validation }) {
      const total = trainer.totalSteps;
      if (total === undefined) return;
      progress ??= createProgress(process.stderr, { total, start: Math.min(step - 1, total) });
      progress.update({ step, total: Math.max(step, total), loss, tokensPerSecond, validationLoss: validation?.loss });
    },
    done: () => progress?.done(),
  };
}

async function writeReport(run: Run, samples: ReportSample[]): Promise<ReportRun> {
  const { config, folder, model } = run;
  const report: ReportRun = {
    ...(await reportRun(folder, model.parameterCount)),
    fastWeights: await fastWeightsOf(model, run.data),
    samples,
  };
  const title = `${config.model.name} on ${describeData(config).split(/[\\/]/).at(-1)}`;
  const subtitle = `${run.data.description}; fast-weights ${packageVersion()}`;
  await folder.writeReport(renderReport({ title, subtitle, runs: [report] }));
  return report;
}

/** The beginning of the validation text, and how the model goes on. */
async function sample({ model, data, config }: Run): Promise<ReportSample> {
  const [batch] = data.evaluation(1);
  const prompt = batch.inputs.subarray(0, PROMPT_TOKENS);
  const ids: number[] = [];
  const { seed } = config.training;
  for await (const { id } of model.generate(prompt, { maxNewTokens: SAMPLE_TOKENS, temperature: 0.8, seed }))
    ids.push(id);
  return { title: 'A sample', prompt: data.decode(prompt), text: data.decode(ids) };
}
