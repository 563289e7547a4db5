// Flags: each acts or is refused by name, and what cannot begin leaves nothing behind.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Command } from 'commander';
import '../../lib';
import { defaultDevice, setDefaultDevice } from '../../lib/backends';
import { demoCommand } from '../../lib/cli/demo';
import { evaluateCommand } from '../../lib/cli/evaluate';
import { UsageError } from '../../lib/cli/flags';
import { generateCommand } from '../../lib/cli/generate';
import { trainCommand } from '../../lib/cli/train';
import { resumeRun } from '../../lib/train';
import { expectRejection } from '../support/errors';
import { tinyConfig, withFolder } from '../train/support';
import { run } from './run';

const TINY = ['--hidden-size', '16', '--layers', '1', '--heads', '2', '--batch', '4'];

/** The message with which a command refuses its arguments, before it has done anything. */
async function refusal(command: Command, args: string[]): Promise<string> {
  const error: unknown = await command
    .exitOverride()
    .parseAsync(args, { from: 'user' })
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  expect(error, args.join(' ')).to.be.instanceOf(UsageError);
  return (error as UsageError).message;
}

describe('flags', function () {
  this.timeout(120_000);

  // Commands that run in this process choose its default device.
  const device = defaultDevice();
  after(() => setDefaultDevice(device));

  it('are refused by name where they would do nothing', async () => {
    await withFolder(async (dir) => {
      const config = join(dir, 'config.json');
      writeFileSync(config, JSON.stringify(tinyConfig()));
      const frozen = [
        ...['--model kda', '--hidden-size 8', '--layers 1', '--heads 1', '--length 8', '--tokens bytes'],
        ...['--task-options pairs=2', '--batch 1', '--accumulate 2', '--warmup 1', '--dtype bfloat16'],
        ...['--seed 1', '--out x', '--optimizer lion', '--schedule linear'],
      ];
      const cases: [string, readonly string[]][] = [
        ['--resume x', frozen],
        ['--task parity', ['--tokens bytes', '--length 8']],
        ['--text x', ['--task-options pairs=2']],
        [`--config ${config}`, ['--tokens bytes', '--length 8']],
      ];
      for (const [source, flags] of cases) {
        for (const flag of flags) {
          const message = await refusal(trainCommand(), `${source} ${flag}`.split(' '));
          expect(message).to.match(new RegExp(`^${flag.split(' ')[0]} cannot be given .*, only `));
        }
      }
      expect(await refusal(trainCommand(), ['--task', 'parity', '--model', 'kda,kda'])).to.include('twice');
      const evaluated = await refusal(evaluateCommand(), ['--checkpoint', 'x', '--length', '8']);
      expect(evaluated).to.equal('--length cannot be given without --text, only with --text');
      for (const [given, names] of [
        ['--task parity --model lstm', 'lstm'],
        [`--config ${config} --model lstm`, 'lstm'],
      ]) {
        const message = await refusal(trainCommand(), `${given} --heads 2`.split(' '));
        expect(message).to.match(new RegExp(`^--heads cannot be given with --model ${names}, only with .*deltanet`));
      }
      for (const name of ['yoco', 'samba']) {
        const given = `--task parity --model ${name} --hidden-size 16 --heads 3`.split(' ');
        const begun = trainCommand()
          .exitOverride()
          .parseAsync([...given, '--out', join(dir, name)], { from: 'user' });
        await expectRejection('INVALID_ARGUMENT', /numHeads must be a divisor of 16, got 3/, begun);
      }
      for (const flag of ['--top-k', '--top-p', '--min-p', '--typical-p', '--samples', '--seed']) {
        const greedy = ['--checkpoint', 'x', '--temperature', '0', flag, '1'];
        expect(await refusal(generateCommand(), greedy)).to.include(`${flag} cannot be given with --temperature 0`);
      }
      const onJs = await run('train', '--task', 'parity', '--device', 'js', '--threads', '2');
      expect(onJs).to.include({ code: 2, err: 'error: --threads cannot be given on js, only on the cpu device\n' });
    });
  });

  it('that are empty paths or give a setting twice are refused in every command', async () => {
    const cases = [
      ...['--text', '--tokenizer', '--out', '--resume', '--config'].map((flag) => [trainCommand(), flag] as const),
      ...['--checkpoint', '--text'].map((flag) => [evaluateCommand(), flag] as const),
      [generateCommand(), '--checkpoint'] as const,
      [demoCommand(), '--out'] as const,
    ];
    const message = async (command: Command, args: string[]): Promise<string> => {
      const quiet = command.exitOverride().configureOutput({ writeErr: () => undefined });
      return quiet.parseAsync(args, { from: 'user' }).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
    };
    for (const [command, flag] of cases) expect(await message(command, [flag, ''])).to.match(/It is empty/);
    const twice = await message(trainCommand(), ['--task', 'parity', '--task-options', 'pairs=16,pairs=3']);
    expect(twice).to.include('gives pairs twice');
  });

  it('go before a config.json and a resumed run, which say so, with what they do to the schedule', async () => {
    await withFolder(async (dir) => {
      const at = (name: string): string => join(dir, name);
      const task = ['train', '--task', 'copy', '--task-options', 'length=4,evaluationSize=8', ...TINY];
      const settings = (name: string): object =>
        JSON.parse(readFileSync(join(at(name), 'config.json'), 'utf8')) as object;
      const begun = await run(...task, '--steps', '4', '--out', at('a'));
      expect(begun.code, begun.err).to.equal(0);
      const [repeated, resumed] = await Promise.all([
        run(
          ...['train', '--config', join(at('a'), 'config.json'), '--lr', '5e-3', '--layers', '2', '--model', 'kda,gla'],
          ...['--task-options', 'length=5', '--steps', '2', '--clip', 'none', '--out', at('b')],
        ),
        run(
          ...['train', '--resume', at('a'), '--steps', '6', '--lr', '1e-3', '--matmul-precision', 'medium'],
          '--gradient-checkpointing',
        ),
      ]);
      expect(repeated.code, repeated.err).to.equal(0);
      for (const name of ['kda', 'gla']) {
        expect(settings(join('b', name))).to.deep.nested.include({
          'model.name': name,
          'model.numLayers': 2,
          'model.numHeads': 2,
          'data.options.length': 5,
          'data.options.evaluationSize': 8,
          'training.learningRate': 5e-3,
          'training.steps': 2,
          'training.clip': null,
          'training.batchSize': 4,
        });
      }
      expect(resumed.code, resumed.err).to.equal(0);
      expect(settings('a')).to.deep.nested.include({
        'training.learningRate': 1e-3,
        'training.steps': 6,
        'training.gradientCheckpointing': true,
      });
      expect(resumed.err).to.match(/--matmul-precision medium: js .* multiplies as exactly as without it/);
      expect(resumed.err).to.match(
        /cosine .* of 6 steps in all: it goes on at \S+ \(it was \S+ in step 4\) and ends at 0/,
      );
      const [finished, outer, written, compared, shown] = await Promise.all([
        run('train', '--resume', at('a')),
        run('train', '--resume', at('b')),
        run('generate', '--checkpoint', at('b')),
        run(...task, '--model', 'kda,gla', '--out', at('a')),
        run('demo', '--out', at('a')),
      ]);
      const report = readFileSync(join(at('a'), 'report.html'), 'utf8');
      for (const { code, err } of [compared, shown]) {
        expect(code).to.equal(1);
        expect(err).to.include(`${at('a')} already holds a run`);
      }
      expect(report).to.include('deltanet on copy');
      const idle = { learningRate: 1e-4, clip: 2, checkpointEvery: 9, minutes: 5, steps: 6 };
      for (const [name, value] of Object.entries(idle)) {
        const refused = await resumeRun(at('a'), { [name]: value }).catch((error: Error) => error.message);
        expect(refused).to.match(new RegExp(`${name} must be left out, or given with a larger length`));
      }

      expect(finished.code, finished.err).to.equal(0);
      expect(finished.err).to.include('its length of 6 steps is reached');
      const shorter = await run('train', '--resume', at('a'), '--steps', '3');
      expect(shorter.code).to.equal(1);
      expect(shorter.err).to.include('steps must be at least the 6 that are done, got 3');
      expect(settings('a')).to.deep.nested.include({ 'training.steps': 6, 'training.learningRate': 1e-3 });
      for (const { code, err } of [outer, written]) {
        expect(code).to.equal(1);
        expect(err)
          .to.include(join(at('b'), 'gla'))
          .and.to.include(join(at('b'), 'kda'));
      }
    });
  });

  it('leave nothing on disk for a run that cannot begin, and write the first checkpoint for --steps 0', async () => {
    await withFolder(async (dir) => {
      const text = join(dir, 'text.txt');
      writeFileSync(text, 'to be or not to be, '.repeat(40));
      mkdirSync(join(dir, 'mine'));
      const there = (): string[] => readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();
      const before = there();
      let count = 0;
      const out = (): string[] => ['--out', join(dir, `new${count++}`, 'run')];
      const cases = [
        ['--task', 'parity', '--hidden-size', '16', '--heads', '3', ...out()],
        ['--task', 'parity', '--hidden-size', '16', '--heads', '3', '--out', join(dir, 'mine')],
        ['--task', 'parity', '--hidden-size', '16', '--heads', '3', '--model', 'deltanet,kda', ...out()],
        ['--task', 'associativeRecall', '--task-options', 'pairs=99', ...out()],
        ['--task', 'parity', '--task-options', 'seed=3', ...out()],
        ['--text', text, '--length', '5000', ...out()],
        ['--text', join(dir, 'missing'), ...out()],
      ];
      const found = await Promise.all(cases.map((args) => run('train', ...args)));
      found.forEach(({ code, err }, i) => expect(code, `${cases[i].join(' ')}: ${err}`).to.equal(1));
      expect(there()).to.eql(before);
      const initial = await run(
        'train',
        '--text',
        text,
        ...TINY,
        '--length',
        '16',
        '--steps',
        '0',
        '--out',
        join(dir, 'new', 'run'),
      );
      expect(initial.code, initial.err).to.equal(0);
      expect(existsSync(join(dir, 'new', 'run', 'checkpoints', 'step-0', 'model.safetensors'))).to.equal(true);
      expect(readFileSync(join(dir, 'new', 'run', 'report.html'), 'utf8')).to.not.match(
        /Speed|tokens per second|no data/,
      );
    });
  });
});
