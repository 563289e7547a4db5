// `demo`: two memories learn the same task side by side. One can only add, the other replaces; keys whose value changes
// tell them apart. Then a long stream through the better one, in constant memory.
import { packageVersion, resolve } from '../platform';
import { Command } from 'commander';
import { type Device, FastWeightsError, withSeed } from '../core';
import { Session } from '../inference';
import { writeFileAtomic } from '../io';
import { formatBytes, formatCount, formatDuration, type ReportRun, renderReport } from '../viz';
import { createTask, type Dataset } from '../data';
import { fillTraining, reportRun, RunFolder, Trainer } from '../train';
import { LiveBars } from './demoBars';
import { type MemoryRule, RecallNetwork } from './demoNetwork';
import { type Story, storyReport, storyText, tellStory } from './demoStory';
import { isAborted, withInterrupt } from './interrupt';
import { columnsOf, fitParts, screen, wrapText } from './terminal';
import {
  addDeviceOptions,
  chooseDevice,
  describeDevice,
  type DeviceOptions,
  freeFolder,
  somePath,
  wholeNumber,
} from './options';

interface DemoOptions extends DeviceOptions {
  out?: string;
  steps?: number;
  tokens?: number;
}

/** Sizes that end well below two minutes on two cores; pure JavaScript gets smaller ones. */
interface Scale {
  steps: number;
  batchSize: number;
  streamed: number;
}

const NATIVE: Scale = { steps: 500, batchSize: 64, streamed: 100_000 };
const SCRIPT: Scale = { steps: 250, batchSize: 32, streamed: 20_000 };
const TASK = { nKeys: 8, nValues: 8, pairs: 12, replaced: 8 };
/** Of the networks, and of their matrices of fast weights. */
const WIDTH = 32;

const CONTESTANTS = [
  { rule: 'delta', title: 'delta rule (DeltaNet)' },
  { rule: 'sum', title: 'sum rule (linear attention)' },
] as const;

interface Contest {
  folder: RunFolder;
  data: Dataset;
  model: RecallNetwork;
  trainer: Trainer;
}

export function demoCommand(): Command {
  const command = new Command('demo')
    .description('Shows in under two minutes what the delta rule does that a sum of outer products cannot.')
    .option('--out <dir>', 'where the runs and the report go (default: runs/demo)', somePath)
    .option(
      '--steps <n>',
      `training steps of each model (default: ${NATIVE.steps}; ${SCRIPT.steps} on js)`,
      wholeNumber(1),
    )
    .option(
      '--tokens <n>',
      `length of the stream (default: ${NATIVE.streamed}; ${SCRIPT.streamed} on js)`,
      wholeNumber(1),
    );
  return addDeviceOptions(command)
    .addHelpText('after', '\nExamples:\n  fast-weights demo\n  fast-weights demo --device js')
    .action(run);
}

async function run(options: DemoOptions): Promise<void> {
  const device = chooseDevice(options);
  const scale = device === 'js' ? SCRIPT : NATIVE;
  const out = resolve(options.out ?? freeFolder('runs/demo'));
  await checkFree(out);
  await withInterrupt(async (signal) => {
    introduce(device);
    const runs = await trainBoth(device, { ...scale, steps: options.steps ?? scale.steps }, out, signal);
    const story = await tellStory(
      runs.map(({ model }, i) => ({ title: CONTESTANTS[i].title, model })),
      runs[0].data,
    );
    console.log(storyText(story, process.stdout));
    await report(runs, story, out);
    await stream(runs[0], options.tokens ?? scale.streamed, signal);
    console.log(`\nreport  ${out}/report.html`);
  });
}

/** A demo cannot be gone on with, and overwrites no report. */
async function checkFree(out: string): Promise<void> {
  await RunFolder.checkFree(out);
  for (const { rule } of CONTESTANTS) {
    await RunFolder.checkFree(`${out}/${rule}`).catch((cause: unknown) => {
      const message = `${out} already holds a demo, which cannot be gone on with; give --out another folder`;
      throw new FastWeightsError('IO', message, { argument: 'out', cause });
    });
  }
}

const INTRODUCTION = `A sequence writes ${TASK.pairs} pairs of a key and a value, and ${TASK.replaced} of them give a key
it has seen a new value. Then it asks for every key: only the last value counts. Two small networks learn it, alike but
for the rule that writes their memory, a matrix of fast weights. The sum rule adds every pair. The delta rule first
subtracts what the matrix holds for the key. Accuracy on keys whose value was replaced:`;
/** Longer lines are hard to read. */
const LONGEST_LINE = 100;

function introduce(device: Device): void {
  const columns = Math.min(LONGEST_LINE, columnsOf(process.stdout));
  const title = wrapText(`Associative recall on ${describeDevice(device)}`, columns);
  console.log(`${title}\n\n${wrapText(INTRODUCTION, columns)}\n`);
}

/** A network with its data and its trainer; both networks start from the same weights. */
async function prepare(rule: MemoryRule, device: Device, { steps, batchSize }: Scale, out: string): Promise<Contest> {
  const training = fillTraining({ steps, batchSize, learningRate: 1e-2, validateEvery: 25, checkpointEvery: steps });
  const data = createTask('associativeRecall', { ...TASK, seed: training.seed });
  const model = { name: rule, hiddenSize: WIDTH };
  const folder = await RunFolder.create(`${out}/${rule}`, {
    model,
    data: { task: data.name, options: TASK },
    training,
    device,
  });
  const network = withSeed(training.seed, () => new RecallNetwork(rule, data.vocabSize, WIDTH, { device }));
  return { folder, data, model: network, trainer: new Trainer({ model: network, data, folder, training }) };
}

/** Both at once, a step of one after a step of the other. */
async function trainBoth(device: Device, scale: Scale, out: string, signal: AbortSignal): Promise<Contest[]> {
  const runs: Contest[] = [];
  for (const { rule } of CONTESTANTS) runs.push(await prepare(rule, device, scale, out));
  const bars = new LiveBars(
    screen(process.stdout),
    CONTESTANTS.map(({ title }) => title),
    scale.steps,
  );
  const begun = performance.now();
  // What ends one of them ends both, and both have saved before anything else is said.
  const either = new AbortController();
  const stop = AbortSignal.any([signal, either.signal]);
  const ends = await Promise.allSettled(
    runs.map(({ trainer }, i) =>
      trainer
        .run({
          signal: stop,
          onMetrics: ({ step, validation }) => {
            if (validation && !stop.aborted) bars.update(i, step, validation.groups.replaced);
          },
        })
        .finally(() => trainer.progress < 1 && either.abort()),
    ),
  );
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
  if (signal.aborted) throw new FastWeightsError('ABORTED', 'the demo was stopped', { cause: failures[0] });
  if (failures.length > 0) throw failures.find((reason) => !isAborted(reason)) ?? failures[0];
  bars.done();
  console.log(`trained in ${formatDuration((performance.now() - begun) / 1000)}\n`);
  return runs;
}

async function report(runs: readonly Contest[], story: Story, out: string): Promise<void> {
  const reports: ReportRun[] = [];
  for (const [i, { folder, model }] of runs.entries()) {
    const base = await reportRun(folder, model.parameterCount, CONTESTANTS[i].title);
    reports.push({ ...base, ...storyReport(story, i) });
  }
  const subtitle = `${runs[0].data.description}; fast-weights ${packageVersion()}`;
  const html = renderReport({ title: 'Replacing against adding', subtitle, runs: reports });
  await writeFileAtomic(`${out}/report.html`, (file) => file.writeFile(html));
}

const SLICE = 500;

/** Feeds one endless sequence and shows that neither time per token nor memory grows with its length. */
async function stream({ model, data }: Contest, tokens: number, signal: AbortSignal): Promise<void> {
  const title = `A stream of ${formatCount(tokens)} tokens through the delta rule: the memory stays one matrix.`;
  console.log(wrapText(title, columnsOf(process.stdout)));
  using session = new Session(model);
  const begun = performance.now();
  let announced = 0;
  for (const slice of slices(data, tokens)) {
    const logits = session.feed(slice);
    await logits.data();
    logits.dispose();
    if (signal.aborted) return;
    if (session.length < announced && session.length < tokens) continue;
    announced += tokens / 5;
    const speed = session.length / ((performance.now() - begun) / 1000);
    const parts = [
      `  ${String(session.length).padStart(String(tokens).length)} tokens`,
      `${formatCount(speed).padStart(6)} tokens/s`,
      `resident memory ${formatBytes(process.memoryUsage.rss())}`,
    ];
    console.log(fitParts(parts, columnsOf(process.stdout)));
  }
}

/** Sequences of the task one after another, cut into pieces. */
function* slices(data: Dataset, tokens: number): Generator<Int32Array> {
  const perBatch = Math.ceil(SLICE / data.sequenceLength);
  for (let step = 0, left = tokens; left > 0; step++) {
    const { inputs } = data.batch(step, perBatch);
    yield inputs.subarray(0, left);
    left -= inputs.length;
  }
}
