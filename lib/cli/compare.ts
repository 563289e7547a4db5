// `compare`: several models of as many parameters on the same text, as long each, in a table and a report.
import { join, parse, resolve } from '../platform';
import { Command, InvalidArgumentError, Option } from 'commander';
import { compareModels, type Comparison, comparisonRows, describeComparison, type Run } from '../train';
import { table } from '../viz';
import { UsageError } from './flags';
import { addImportOption, type ImportOptions, importsOf } from './imports';
import { withInterrupt } from './interrupt';
import { addDeviceOptions, chooseDevice, type DeviceOptions, somePath, wholeNumber } from './options';
import { textProgress } from './progress';
import {
  addTokenOptions,
  addTrainingOptions,
  announce,
  checkTokens,
  defined,
  givenTraining,
  modelNames,
  textOf,
  type TokenOptions,
  type TrainingOptions,
} from './trainingOptions';
import { trainRun, type Watch } from './trainRun';

interface CompareOptions extends DeviceOptions, ImportOptions, TokenOptions, TrainingOptions {
  text: string;
  models: string;
  params: number;
  seeds: number;
  turns?: number;
  out?: string;
  json?: boolean;
}

/** A share of the parameters that makes models hard to compare. */
const FAR = 0.1;

/** Of each model, where neither --minutes nor --steps says how long. */
const MINUTES = 5;

const DEFAULT_MODELS = 'deltanet,gated-deltanet,kda,gla,mamba2,rwkv7,ttt-linear,titans,transformer';

export function compareCommand(): Command {
  const command = new Command('compare')
    .description(
      'Trains models of about as many parameters on the same text in the same order, as long each: a table, curves, comparison.json.',
    )
    .requiredOption('--text <file>', 'a text; its last tenth is for validation', somePath)
    .option('--models <names>', 'families by name or model_type, separated by commas (see `models`)', DEFAULT_MODELS)
    .addOption(
      new Option('--params <n>', 'parameters of every model, about: 300k, 3.3M; width, layers and heads are found')
        .argParser(parameterCount)
        .default(3.3e6, '3.3M'),
    );
  addTrainingOptions(addTokenOptions(command), {
    steps: 'as many as fit in the minutes; a comparison in steps can be repeated',
    minutes: `${MINUTES} each without --steps`,
    batch: '8',
    seed: 'the first, of parameters and data',
  })
    .addOption(new Option('--seeds <n>', 'seeds for each model').argParser(wholeNumber(1, 1000)).default(1))
    .addOption(
      new Option('--turns <n>', 'of minutes: all models have had a turn before any has the next').argParser(
        wholeNumber(1, 1000),
      ),
    )
    .option('--out <dir>', 'where it goes; what it holds is not trained again (default: runs/compare-<text>)', somePath)
    .option('--json', 'print the record as JSON');
  return addDeviceOptions(addImportOption(command))
    .addHelpText(
      'after',
      `
Ctrl-C saves a checkpoint and stops; the same command goes on. Models and seeds may be added to a comparison.
Each run in it is one of \`train\`: generate, evaluate and inspect take its folder.

Examples:
  fast-weights compare --text book.txt
  fast-weights compare --text book.txt --models deltanet,gla,transformer --params 300k --minutes 1
  fast-weights compare --text book.txt --minutes 5 --turns 5   (where other programs disturb)
  fast-weights compare --text book.txt --models kda,mamba2 --steps 500 --seeds 3`,
    )
    .action(run);
}

/** A parser of counts: `3300000`, `300k`, `3.3M`, `1.2B`. */
function parameterCount(text: string): number {
  const parts = /^(\d+(?:\.\d+)?(?:e\d+)?)([kMB]?)$/i.exec(text.trim());
  const factors: Record<string, number> = { k: 1e3, m: 1e6, b: 1e9 };
  const count = parts === null ? NaN : Math.round(Number(parts[1]) * (factors[parts[2].toLowerCase()] ?? 1));
  if (count >= 1 && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError('It must be a number of parameters such as 300k or 3.3M.');
}

async function run(options: CompareOptions): Promise<void> {
  checkTokens(options);
  const models = modelNames('--models', options.models);
  const { steps, minutes, params: parameters, seeds, dtype } = options;
  if (steps === 0) throw new UsageError('--steps must be 1 or more: nothing is compared without training');
  if (options.turns !== undefined && minutes === undefined && steps !== undefined) {
    throw new UsageError('--turns share out minutes, and there are --steps only');
  }
  const device = chooseDevice(options);
  const folder = resolve(options.out ?? join('runs', `compare-${parse(options.text).name}`));
  const length = steps === undefined && minutes === undefined ? { minutes: MINUTES } : {};
  const comparison = await withInterrupt(async (signal, say) => {
    const remedy = 'the same command goes on with it';
    const watch: Watch = { signal, say, remedy };
    const text = textProgress();
    try {
      return await compareModels({
        folder,
        models,
        parameters,
        seeds,
        data: textOf(options.text, options, device),
        training: { ...length, ...givenTraining(options) },
        device,
        signal,
        onText: text.take,
        onTurn({ config: { model, training } }, turn) {
          text.done();
          console.error(`turn ${turn} of ${options.turns}: ${model.name}, seed ${training.seed}`);
        },
        async train(one: Run) {
          text.done();
          const { model, training } = one.config;
          const at = models.indexOf(model.name) + 1 + (training.seed - (options.seed ?? 0)) * models.length;
          console.error(`\n${at} of ${models.length * seeds}, seed ${training.seed}`);
          announce(one);
          noteSize(one, parameters);
          if (one.trainer.step > 0) console.error(`going on at step ${one.trainer.step}`);
          await trainRun(one, watch);
        },
        ...defined({ dtype, turns: options.turns, imports: importsOf(options) }),
      });
    } finally {
      text.done();
    }
  });
  console.log(options.json ? JSON.stringify(comparison, null, 2) : comparisonTable(comparison));
  if (!options.json) console.log(`\nThe report: ${join(folder, 'report.html')}`);
}

/** A number of parameters that is not about the one asked for: fewer than a family's least, or between two sizes. */
function noteSize({ config, model: { parameterCount } }: Run, parameters: number): void {
  if (Math.abs(parameterCount / parameters - 1) <= FAR) return;
  const [found, wanted] = [parameterCount, parameters].map((n) => n.toLocaleString('en'));
  console.error(`${config.model.name}: no sizes come nearer to --params ${wanted} than ${found} parameters`);
}

function comparisonTable(comparison: Comparison): string {
  const rows = Object.entries(comparisonRows(comparison));
  const columns = Object.keys(rows[0][1]);
  return [
    describeComparison(comparison),
    '',
    table(
      ['model', ...columns],
      rows.map(([name, row]) => [name, ...columns.map((column) => row[column])]),
    ),
  ].join('\n');
}
