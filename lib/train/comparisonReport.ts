// What a comparison shows: a table of its models, and their losses over tokens and over seconds.
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  type LineChart,
  type Report,
  type ReportRun,
  smooth,
} from '../viz';
import type { ComparedRun, Comparison } from './comparison';
import type { RunConfig } from './config';
import { describeData, median } from './report';
import { type Metrics, RunFolder } from './runFolder';

/** What the metrics of a run that has ended say of it. */
export function measuresOf(
  metrics: readonly Metrics[],
  { training }: Pick<RunConfig, 'training'>,
  sequenceLength: number,
): Pick<ComparedRun, 'loss' | 'accuracy' | 'tokens' | 'tokensPerSecond' | 'steps' | 'seconds'> {
  const { step: steps, seconds, validation } = metrics.findLast((line) => line.validation)!;
  return {
    loss: validation!.loss,
    accuracy: validation!.accuracy,
    tokens: steps * tokensPerStep(training, sequenceLength),
    tokensPerSecond: median(metrics.flatMap((line) => line.tokensPerSecond ?? [])),
    steps,
    seconds,
  };
}

function tokensPerStep({ batchSize, accumulate }: RunConfig['training'], sequenceLength: number): number {
  return batchSize * accumulate * sequenceLength;
}

/** The rows of a table of models: measures by label, over seeds the mean and the largest distance from it. */
export function comparisonRows(comparison: Comparison): Record<string, Record<string, string>> {
  const names = [...new Set(comparison.runs.map(({ model }) => model))];
  return Object.fromEntries(
    names.map((name) => {
      const runs = comparison.runs.filter(({ model }) => model === name);
      const spread = (value: (run: ComparedRun) => number): string => {
        const values = runs.map(value);
        const mean = values.reduce((a, b) => a + b, 0) / values.length;
        const most = Math.max(...values.map((x) => Math.abs(x - mean)));
        return runs.length === 1 ? formatNumber(mean) : `${formatNumber(mean)} ± ${formatNumber(most, 2)}`;
      };
      const middle = (value: (run: ComparedRun) => number): number => median(runs.map(value));
      const [{ parameters, sizes, stateBytes, bitsPerByte }] = runs;
      return [
        name,
        {
          parameters: formatCount(parameters),
          'loss (nats)': spread(({ loss }) => loss),
          ...(bitsPerByte === null
            ? { accuracy: spread(({ accuracy }) => accuracy) }
            : { 'bits per byte': spread((run) => run.bitsPerByte!) }),
          'tokens/s': formatCount(middle((run) => run.tokensPerSecond)),
          tokens: formatCount(middle((run) => run.tokens)),
          time: formatDuration(middle((run) => run.seconds)),
          'state per sequence': formatBytes(stateBytes),
          'peak memory': formatBytes(middle((run) => run.peakBytes)),
          sizes: describeSizes(sizes),
        },
      ];
    }),
  );
}

/** `4 x 256, 4 heads, feed-forward 720`: layers and width, heads, and the feed-forward, as far as they were given. */
function describeSizes({ numLayers, hiddenSize, numHeads, intermediateSize }: ComparedRun['sizes']): string {
  const parts = [
    [numLayers, hiddenSize].filter((size) => size !== undefined).join(' x '),
    numHeads === undefined ? '' : `${numHeads} ${numHeads === 1 ? 'head' : 'heads'}`,
    intermediateSize === undefined ? '' : `feed-forward ${intermediateSize}`,
  ];
  return parts.filter((part) => part !== '').join(', ');
}

/** What is the same for all, in a line. */
export function describeComparison({ settings, machine, runs }: Comparison): string {
  const { data, training, parameters } = settings;
  const { steps, minutes, batchSize, accumulate } = training;
  const length = [steps !== null && `${steps} steps`, minutes !== null && `${minutes} minutes`].filter(Boolean);
  const seeds = [...new Set(runs.map(({ seed }) => seed))];
  return [
    `${describeData({ data }).split(/[\\/]/).at(-1)}, the same batches in the same order`,
    ...(parameters === null ? [] : [`about ${formatCount(parameters)} parameters each`]),
    `${length.join(' or ')} each`,
    `batches of ${batchSize * accumulate}${'task' in data ? '' : ` x ${data.sequenceLength}`}`,
    `${seeds.length === 1 ? 'seed' : 'seeds'} ${seeds.join(', ')}`,
    `${settings.device} (${machine.device}), ${machine.threads} ${machine.threads === 1 ? 'thread' : 'threads'}`,
  ].join('; ');
}

/** The report; curves are those of the first seed, `parts` what there is to see of single runs. */
export async function comparisonReport(
  comparison: Comparison,
  folderOf: (run: ComparedRun) => string,
  parts: ReadonlyMap<ComparedRun, Partial<ReportRun>>,
): Promise<Report> {
  const rows = comparisonRows(comparison);
  const runs: ReportRun[] = [];
  for (const [name, summary] of Object.entries(rows)) {
    const run = comparison.runs.find(({ model }) => model === name)!;
    const folder = await RunFolder.open(folderOf(run));
    const { fastWeights, writes, samples } = parts.get(run) ?? {};
    runs.push({
      name,
      summary,
      charts: curvesOf(await folder.metrics(), run),
      ...(fastWeights && { fastWeights }),
      ...(writes && { writes }),
      ...(samples && { samples }),
    });
  }
  return { title: titleOf(Object.keys(rows)), subtitle: describeComparison(comparison), runs };
}

function titleOf(names: readonly string[]): string {
  return names.length === 1 ? names[0] : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/** Of the steps of a run, the share that the lines look at to each side. */
const NEIGHBOURS = 1 / 40;

function curvesOf(metrics: readonly Metrics[], { tokens, steps }: ComparedRun): LineChart[] {
  const taken = metrics.filter((line) => line.loss !== undefined);
  const validated = metrics.filter((line) => line.validation);
  const losses = smooth(
    taken.map((line) => line.loss!),
    1 - 1 / Math.max(1, NEIGHBOURS * taken.length),
  );
  const places = {
    tokens: (line: Metrics) => (steps === 0 ? 0 : (line.step * tokens) / steps),
    seconds: (line: Metrics) => line.seconds,
  };
  return Object.entries(places).flatMap(([xLabel, place]): LineChart[] => {
    const chart = (what: string, lines: readonly Metrics[], y: ArrayLike<number>): LineChart => ({
      title: `${what} loss over ${xLabel}`,
      xLabel,
      yLabel: 'nats per token',
      yScale: 'log',
      labels: 'ends',
      series: [{ name: what.toLowerCase(), x: lines.map(place), y }],
    });
    return [
      ...(taken.length > 0 ? [chart('Training', taken, losses)] : []),
      ...(validated.length > 1
        ? [
            chart(
              'Validation',
              validated,
              validated.map((line) => line.validation!.loss),
            ),
          ]
        : []),
    ];
  });
}
