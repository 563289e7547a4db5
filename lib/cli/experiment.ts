// `experiment`: a published task, run again; results, a picture, and what they bear out.
import { Command, Option } from 'commander';
import { join } from '../platform';
import { EXPERIMENTS, type ExperimentRecord, runExperiment } from '../experiments';
import { formatDuration, table } from '../viz';
import { UsageError } from './flags';
import { withInterrupt } from './interrupt';
import { addDeviceOptions, chooseDevice, type DeviceOptions, somePath, wholeNumber } from './options';
import { trialProgress } from './progress';

interface Options extends DeviceOptions {
  quick?: boolean;
  seeds: number;
  data?: string;
  rules?: string[];
  tasks?: string[];
  out?: string;
  json?: boolean;
}

export function experimentCommand(experiments = EXPERIMENTS): Command {
  const names = experiments.map(({ name, title }) => `  ${name.padEnd(24)} ${title}`);
  const files = experiments.flatMap(({ name, data }) => (data === undefined ? [] : `${name} takes ${data}`));
  const axes = (axis: 'rules' | 'tasks'): string => experiments.flatMap((one) => one.axes?.()[axis] ?? []).join(', ');
  const command = new Command('experiment')
    .description('Runs a published experiment again: progress, results.json and report.html in a folder.')
    .argument('[name]', 'which one; without it they are listed')
    .option('--quick', 'short trials that show the claim in minutes')
    .addOption(new Option('--seeds <n>', 'seeds per trial').argParser(wholeNumber(1, 1000)).default(1))
    .option('--data <file>', `a file of your own, to run on that alone: ${files.join('; ')}`, somePath)
    .option('--rules <names>', `of grid, separated by commas: ${axes('rules')}`, nameList)
    .option('--tasks <names>', `of grid, separated by commas: ${axes('tasks')}`, nameList)
    .option('--out <dir>', 'where results go; what it holds is not run again (default: experiments/<name>)', somePath)
    .option('--json', 'print the record as JSON');
  return addDeviceOptions(command)
    .addHelpText(
      'after',
      `\nExperiments:\n${names.join('\n')}\n\nExamples:\n  fast-weights experiment\n  fast-weights experiment parity --quick\n  fast-weights experiment grid --rules deltanet,gla,transformer --tasks parity,S3`,
    )
    .action((name: string | undefined, options: Options, self: Command) => {
      if (name === undefined) refuseFlags(self);
      return run(experiments, name, options);
    });
}

/** Where experiments are only listed, flags would do nothing. */
function refuseFlags(command: Command): void {
  const given = command.options.find((option) => command.getOptionValueSource(option.attributeName()) === 'cli');
  if (given) throw new UsageError(`${given.long} needs the name of an experiment`);
}

/** A parser of names: `a,b`. */
function nameList(text: string): string[] {
  return text.split(',').map((word) => word.trim());
}

async function run(experiments: typeof EXPERIMENTS, name: string | undefined, options: Options): Promise<void> {
  if (name === undefined) {
    console.log(
      table(
        ['experiment', 'what is asked'],
        experiments.map((one) => [one.name, one.title]),
      ),
    );
    return;
  }
  const experiment = experiments.find((one) => one.name === name);
  if (!experiment)
    throw new UsageError(`unknown experiment ${name}; known are ${experiments.map((one) => one.name).join(', ')}`);
  const {
    quick = false,
    seeds,
    data,
    rules,
    tasks,
    out = join('experiments', quick ? `${name}-quick` : name),
  } = options;
  const device = chooseDevice(options);
  const shown = trialProgress();
  const record = await withInterrupt(async (signal) => {
    try {
      return await runExperiment(experiment, {
        folder: out,
        quick,
        seeds,
        data,
        rules,
        tasks,
        device,
        signal,
        onProgress: shown.take,
        onResult({ trial, seed, seconds }) {
          shown.done();
          console.error(`${trial}, seed ${seed}: ${formatDuration(seconds)}`);
        },
      });
    } finally {
      shown.done();
    }
  }, `stopping; ${out} keeps the trials that are done`);
  console.log(options.json ? JSON.stringify(record, null, 2) : recordTable(record));
  if (!options.json) console.log(`\nThe report: ${join(out, 'report.html')}`);
  if (record.claims.some(({ holds }) => !holds)) process.exitCode = 1;
}

function recordTable({ claims }: ExperimentRecord): string {
  return table(
    ['claim', 'holds', 'because'],
    claims.map(({ text, holds, because }) => [text, holds ? 'yes' : 'NO', because]),
  );
}
