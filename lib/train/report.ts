// The report of a run from its folder: what was trained, how the curves went.
import { formatCount, formatDuration, type LineChart, type ReportRun } from '../viz';
import { checkRunConfig, type RunConfig } from './config';
import type { Metrics, RunFolder } from './runFolder';

/** One run as `renderReport` takes it; `name` defaults to that of its model. */
export async function reportRun(folder: RunFolder, parameterCount: number, name?: string): Promise<ReportRun> {
  const config = checkRunConfig(await folder.config(), `${folder.dir}/config.json`);
  const metrics = await folder.metrics();
  return {
    name: name ?? config.model.name,
    summary: summary(config, metrics, parameterCount),
    charts: charts(metrics),
  };
}

/** What the data of a run is, in a few words. */
export function describeData({ data }: Pick<RunConfig, 'data'>): string {
  return 'task' in data ? data.task : data.text;
}

function summary(config: RunConfig, metrics: readonly Metrics[], parameterCount: number): ReportRun['summary'] {
  const steps = metrics.filter((m) => m.loss !== undefined);
  const last = metrics.at(-1);
  const speeds = steps.flatMap((m) => m.tokensPerSecond ?? []);
  const validation = metrics.findLast((m) => m.validation)?.validation;
  const { batchSize, accumulate, optimizer, learningRate, seed } = config.training;
  const groups = Object.entries(validation?.groups ?? {}).map(
    ([group, share]) => [`accuracy, ${group}`, percent(share)] as const,
  );
  return {
    data: describeData(config),
    parameters: formatCount(parameterCount),
    ...(validation && { 'validation loss (nats)': validation.loss, accuracy: percent(validation.accuracy) }),
    ...(validation &&
      validation.measured < validation.available && {
        'validated on': `${validation.measured} of ${validation.available} sequences`,
      }),
    ...Object.fromEntries(groups),
    steps: last?.step ?? 0,
    time: formatDuration(last?.seconds ?? 0),
    ...(speeds.length > 0 && { 'tokens per second': formatCount(median(speeds)) }),
    'batch size': batchSize * accumulate,
    optimizer,
    'learning rate': learningRate,
    device: config.device,
    seed,
  };
}

/** Of the steps of a run, the share that the smooth lines look at to each side. */
const NEIGHBOURS = 1 / 50;

function charts(metrics: readonly Metrics[]): LineChart[] {
  const steps = metrics.filter((m) => m.loss !== undefined);
  const timed = steps.filter((m) => m.tokensPerSecond !== undefined);
  const validations = metrics.filter((m) => m.validation);
  const x = steps.map((m) => m.step);
  const vx = validations.map((m) => m.step);
  const xLabel = 'step';
  const accuracies = ['accuracy', ...Object.keys(validations[0]?.validation?.groups ?? {})];
  const accuracyOf = (m: Metrics, name: string): number =>
    name === 'accuracy' ? m.validation!.accuracy : m.validation!.groups[name];
  const smoothing = 1 - 1 / Math.max(1, NEIGHBOURS * steps.length);
  const all: LineChart[] = [
    {
      title: 'Loss',
      xLabel,
      yLabel: 'nats',
      series: [
        { name: 'training', x, y: steps.map((m) => m.loss!), smoothing },
        { name: 'validation', x: vx, y: validations.map((m) => m.validation!.loss) },
      ],
    },
    {
      title: 'Accuracy',
      xLabel,
      yLabel: 'share of labels',
      series: accuracies.map((name) => ({ name, x: vx, y: validations.map((m) => accuracyOf(m, name)) })),
    },
    { title: 'Learning rate', xLabel, series: [{ name: 'learning rate', x, y: steps.map((m) => m.learningRate!) }] },
    {
      title: 'Gradient norm',
      xLabel,
      yScale: 'log',
      series: [{ name: 'norm', x, y: steps.map((m) => m.gradNorm!), smoothing }],
    },
    {
      title: 'Speed',
      xLabel,
      yLabel: 'tokens per second',
      series: [{ name: 'speed', x: timed.map((m) => m.step), y: timed.map((m) => m.tokensPerSecond!) }],
    },
  ];
  // Nothing is drawn of what there is not.
  return all
    .map((chart) => ({ ...chart, series: chart.series.filter(({ y }) => y.length > 0) }))
    .filter(({ series }) => series.length > 0);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** NaN of none. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}
