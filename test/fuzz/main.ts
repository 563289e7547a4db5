// The command line of the fuzzer.
import { Command, InvalidArgumentError } from 'commander';
import { type Device, devices } from '../../lib';
import { MUTATIONS } from './folders/check';
import { type FoundFault, runPrograms, type Summary } from './runner';
import { ASPECTS, STEPS } from './steps';

interface Options {
  seed: number;
  programs: number;
  seconds?: number;
  program?: number;
  folders?: boolean;
  device: Device;
  only: string[];
  without: string[];
}

function whole(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new InvalidArgumentError('a whole number is needed');
  return n;
}

const known = [...Object.keys(STEPS), ...Object.keys(ASPECTS), ...Object.keys(MUTATIONS)];

function kinds(text: string): string[] {
  const list = text.split(',').filter((kind) => kind !== '');
  const unknown = list.find((kind) => !known.includes(kind));
  if (unknown !== undefined) throw new InvalidArgumentError(`'${unknown}' is none of ${known.join(', ')}`);
  return list;
}

/** What runs a single program again. */
function again(options: Options, number: number): string {
  const choice = (['only', 'without'] as const).filter((key) => options[key].length > 0);
  const parts = choice.map((key) => ` --${key} ${options[key].join(',')}`).join('');
  const what = options.folders ? ' --folders' : '';
  return `npm run fuzz --${what} --seed ${options.seed} --program ${number} --device ${options.device}${parts}`;
}

function show(options: Options, { number, message, listing }: FoundFault): void {
  console.log(`\nprogram ${number}: ${message}\n${listing ? `${listing}\n` : ''}  again: ${again(options, number)}`);
}

function conclude({ programs, faults, kinds: counts }: Summary, seconds: number): void {
  const lines = Object.entries(counts).map(
    ([kind, { run, refused }]) => `${kind} ${run}${refused ? ` (${refused} refused)` : ''}`,
  );
  if (lines.length > 0) console.log(`\nkinds: ${lines.join(', ')}`);
  console.log(`${programs} programs in ${seconds.toFixed(0)} s, ${faults.length} faults`);
}

async function main(options: Options): Promise<void> {
  const there = devices().find(({ device }) => device === options.device);
  if (!there?.available)
    throw new Error(`${options.device} cannot be tested: ${there?.reason ?? 'there is no such device'}`);
  const single = options.program !== undefined;
  const start = Date.now();
  const elapsed = (): number => (Date.now() - start) / 1000;
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  console.log(`seed ${options.seed}`);
  let told = 0;
  const summary = await runPrograms({
    ...options,
    what: options.folders ? 'folders' : 'programs',
    first: options.program,
    programs: single ? 1 : options.programs,
    verbose: single,
    signal: stop.signal,
    onFault: (fault) => show(options, fault),
    onProgress(number) {
      if (elapsed() - told < 10) return;
      told = elapsed();
      console.log(`program ${number}, ${told.toFixed(0)} s`);
    },
  });
  conclude(summary, elapsed());
  process.exitCode = stop.signal.aborted ? 130 : summary.faults.length > 0 ? 1 : 0;
}

const aspects = Object.entries(ASPECTS).map(([name, what]) => `  ${name.padEnd(10)} ${what}`);

new Command('fuzz')
  .description('Random programs on a device in float32 against pure JavaScript in float64.')
  .option('--seed <n>', 'of all programs', whole, Math.floor(Date.now() / 86_400_000))
  .option('--programs <n>', 'how many', whole, 1000)
  .option('--seconds <n>', 'stop after so many', whole)
  .option('--program <n>', 'run this one alone and print its steps as they run', whole)
  .option('--folders', 'mutated model folders, loaded and run, in the place of programs')
  .option('--device <name>', 'which is tested', 'cpu')
  .option('--only <kinds>', 'only these kinds of steps', kinds, [])
  .option('--without <kinds>', 'neither these kinds of steps nor these aspects', kinds, [])
  .addHelpText(
    'after',
    `\nSteps: ${Object.keys(STEPS).join(', ')}\n\nAspects:\n${aspects.join('\n')}\n\nMutations of folders: ${Object.keys(MUTATIONS).join(', ')}\n\nThe default seed is the day.`,
  )
  .action(main)
  .parseAsync()
  .catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
