// The commands: their help, their errors, and one small model from training to text.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { devices } from '../../lib/backends';
import type { CardReport } from '../../lib/cli/doctorCard';
import { withFolder } from '../train/support';
import { run, start, until } from './run';

const SMALL = ['--hidden-size', '16', '--layers', '1', '--heads', '2', '--batch', '4'];
const TASK = [
  'train',
  '--task',
  'associativeRecall',
  '--task-options',
  'pairs=4,nKeys=4,nValues=4,evaluationSize=8',
  ...SMALL,
];

describe('the command line', function () {
  this.timeout(120_000);

  it('has help for every command, with defaults and examples', async () => {
    const commands = ['train', 'generate', 'evaluate', 'doctor', 'demo'];
    const texts = await Promise.all([run('--help'), ...commands.map((command) => run(command, '--help'))]);
    for (const { code, out } of texts) {
      expect(code).to.equal(0);
      expect(out).to.include('Examples:');
    }
    for (const command of commands) expect(texts[0].out).to.include(`  ${command}`);
    expect(texts[1].out).to.include('(default:').and.to.include('--resume').and.to.include('gated-deltanet');
    expect(texts[1].out)
      .to.match(/--dtype <name> .*bfloat16/s)
      .and.to.match(/--device <name> .*cuda:1/s);
    expect((await run('--version')).out).to.match(/^\d+\.\d+\.\d+\n$/);
  });

  it('answers wrong usage with one line and code 2', async () => {
    const cases: [string[], string][] = [
      [['train', '--task', 'parity', '--stepps', '3'], 'stepps'],
      [['train', '--task', 'parity', '--steps', 'many'], 'whole number'],
      [['train', '--task', 'parity', '--model', 'deltanett'], 'deltanett'],
      [['train'], '--text'],
      [['train', '--task', 'parity', '--dtype', 'float16'], 'bfloat16'],
      [['train', '--task', 'parity', '--clip', '0'], 'above 0'],
      [['generate', '--checkpoint', 'x', '--top-p', '2'], 'above 0 and at most 1'],
      [['dance'], 'dance'],
    ];
    const found = await Promise.all(cases.map(([args]) => run(...args)));
    found.forEach(({ code, err }, i) => {
      expect(code, cases[i][0].join(' ')).to.equal(2);
      expect(err).to.include(cases[i][1]).and.to.not.include('    at ');
      expect(
        err
          .trim()
          .split('\n')
          .filter((line) => line.startsWith('error')),
      ).to.have.lengthOf(1);
    });
  });

  it('answers failures with one line and code 1, with --debug where it happened', async () => {
    await withFolder(async (dir) => {
      const file = (name: string, text: string): string => {
        writeFileSync(join(dir, name), text);
        return join(dir, name);
      };
      const text = file('text', 'to be or not to be, '.repeat(40));
      const cases: [string[], string][] = [
        [['train', '--text', join(dir, 'missing')], 'missing'],
        [['train', '--text', file('empty', '')], 'empty'],
        [['train', '--text', file('short', 'abc')], 'window'],
        [['train', '--text', text, '--length', '16', '--out', join(text, 'run')], 'run'],
        [['generate', '--checkpoint', dir], dir],
        [['evaluate', '--checkpoint', join(dir, 'missing')], 'missing'],
      ];
      if (!devices().some(({ device, available }) => device === 'cuda' && available)) {
        cases.push([[...TASK, '--device', 'cuda'], 'the cuda device is not available (cuda package: ']);
      }
      const found = await Promise.all(cases.map(([args]) => run(...args)));
      found.forEach(({ code, err }, i) => {
        expect(code, `${cases[i][0].join(' ')}: ${err}`).to.equal(1);
        expect(err).to.include(cases[i][1]).and.to.not.include('    at ');
      });
      expect((await run('--debug', 'train', '--resume', dir)).err).to.include('    at ');
    });
  });

  it('examines the machine', async () => {
    const [text, json] = await Promise.all([run('doctor'), run('doctor', '--json')]);
    expect(text.code).to.equal(0);
    expect(text.out).to.match(/✓ js: .*self-test passed/);
    const report = JSON.parse(json.out) as { devices: { device: string; selfTest?: { passed: boolean } }[] };
    expect(report.devices.find((d) => d.device === 'js')!.selfTest!.passed).to.equal(true);
    const { card } = JSON.parse(json.out) as { card: CardReport };
    if (!card.available) expect(text.out).to.include(card.reason).and.to.include(card.remedy);
  });

  it('trains on a text, then evaluates, writes and goes on', async () => {
    await withFolder(async (dir) => {
      const text = join(dir, 'text.txt');
      writeFileSync(text, 'the quick brown fox jumps over the lazy dog. '.repeat(30));
      const out = join(dir, 'run');
      const trained = await run(
        'train',
        '--text',
        text,
        ...SMALL,
        '--length',
        '16',
        '--steps',
        '8',
        '--out',
        out,
        '--json',
      );
      expect(trained.code, trained.err).to.equal(0);
      const result = JSON.parse(trained.out) as { step: number; validation: { loss: number } };
      expect(result.step).to.equal(8);
      expect(readFileSync(join(out, 'report.html'), 'utf8'))
        .to.include('Loss')
        .and.to.include('A sample');
      const [evaluated, other, first, second, resumed] = await Promise.all([
        run('evaluate', '--checkpoint', out, '--batch', '4', '--json'),
        run('evaluate', '--checkpoint', out, '--text', text, '--length', '16'),
        run('generate', '--checkpoint', out, '--prompt', 'the ', '--max-tokens', '12', '--seed', '3'),
        run('generate', '--checkpoint', out, '--prompt', 'the ', '--max-tokens', '12', '--seed', '3'),
        run('train', '--config', join(out, 'config.json'), '--out', join(dir, 'again'), '--json'),
      ]);
      expect((JSON.parse(evaluated.out) as { loss: number }).loss).to.be.closeTo(result.validation.loss, 1e-6);
      expect(other.out, other.err).to.include('accuracy');
      expect(first.out).to.have.lengthOf('the '.length + 12 + 1);
      expect(first.out).to.equal(second.out);
      expect(first.err).to.match(/^12 tokens in .*tokens\/s/);
      expect((JSON.parse(resumed.out) as typeof result).validation).to.eql(result.validation);
      const longer = await run('train', '--resume', out, '--steps', '10', '--json');
      expect((JSON.parse(longer.out) as typeof result).step).to.equal(10);
      expect(readdirSync(join(out, 'checkpoints'))).to.include('step-10');
    });
  });

  it('trains in bfloat16, which the run remembers, and goes on on another device', async () => {
    await withFolder(async (dir) => {
      const out = join(dir, 'run');
      const trained = await run(...TASK, '--dtype', 'bfloat16', '--steps', '4', '--out', out);
      expect(trained.code, trained.err).to.equal(0);
      expect(trained.err).to.include('bfloat16');
      const config = (): unknown => JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
      expect(config()).to.deep.include({ device: 'js', dtype: 'bfloat16' });
      const weights = JSON.parse(readFileSync(join(out, 'checkpoints', 'step-4', 'config.json'), 'utf8')) as object;
      expect(weights).to.deep.include({ dtype: 'bfloat16' });
      const other = devices().find(({ device, available }) => available && device !== 'js');
      const resumed = await run('train', '--resume', out, '--steps', '6', ...(other ? ['--device', other.device] : []));
      expect(resumed.code, resumed.err).to.equal(0);
      expect(config()).to.deep.include({ device: other?.device ?? 'js', dtype: 'bfloat16' });
      expect(readdirSync(join(out, 'checkpoints'))).to.include('step-6');
    });
  });

  it('compares several models in one report, in bfloat16 and unclipped', async () => {
    await withFolder(async (dir) => {
      const settings = ['--dtype', 'bfloat16', '--clip', 'none', '--steps', '3', '--out', dir];
      const { code, err } = await run(...TASK, '--model', 'gated-deltanet,kda', ...settings);
      expect(code, err).to.equal(0);
      expect(readFileSync(join(dir, 'report.html'), 'utf8')).to.include('gated-deltanet');
      const config = JSON.parse(readFileSync(join(dir, 'kda', 'config.json'), 'utf8')) as { training: object };
      expect(config.training).to.deep.include({ clip: null });
      expect(existsSync(join(dir, 'kda', 'report.html'))).to.equal(true);
    });
  });

  it('saves when it is told to stop, says how to go on, and ends with the code of the signal', async () => {
    const long = ['--steps', '100000', '--validate-every', '5', '--checkpoint-every', '5'];
    const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
    await withFolder(async (root) => {
      const stop = async (name: keyof typeof codes): Promise<void> => {
        const dir = join(root, name);
        const { child, finished } = start([...TASK, ...long, '--out', dir]);
        await until(child, () => existsSync(join(dir, 'checkpoints', 'step-5')));
        child.kill(name);
        child.kill(name);
        const { code, signal, err } = await finished;
        expect(code, err).to.equal(codes[name]);
        expect(signal).to.equal(name);
        expect(err).to.include(`--resume ${dir}`).and.to.not.include('error');
        const stopped = Number(/stopped after step (\d+)/.exec(err)![1]);
        expect(readdirSync(join(dir, 'checkpoints'))).to.include(`step-${stopped}`);
        expect(existsSync(join(dir, 'report.html'))).to.equal(true);
        if (name !== 'SIGINT') return;
        const resumed = await run('train', '--resume', dir, '--steps', String(stopped + 2), '--json');
        expect((JSON.parse(resumed.out) as { step: number }).step).to.equal(stopped + 2);
      };
      await Promise.all((Object.keys(codes) as (keyof typeof codes)[]).map(stop));
    });
  });

  it('trains to the end when nobody takes what it says', async () => {
    await withFolder(async (dir) => {
      const { child, finished } = start([...TASK, '--steps', '4', '--out', join(dir, 'run')]);
      child.stderr!.destroy();
      expect(await finished).to.include({ code: 0 });
      expect(readdirSync(join(dir, 'run', 'checkpoints'))).to.include('step-4');
    });
  });

  it('ends a text with what was written, quietly where its reader wants no more', async () => {
    await withFolder(async (dir) => {
      const text = join(dir, 'text.txt');
      writeFileSync(text, 'abcdefgh'.repeat(100));
      await run('train', '--text', text, ...SMALL, '--length', '16', '--steps', '2', '--out', join(dir, 'run'));
      const endless = ['generate', '--checkpoint', join(dir, 'run'), '--prompt', 'ab', '--max-tokens', '1000000'];
      const [unread, ...stopped] = [start(endless), start(endless), start(endless)];
      unread.child.stdout!.once('data', () => unread.child.stdout!.destroy());
      expect(await unread.finished).to.include({ code: 0, err: '' });
      for (const [i, name] of (['SIGINT', 'SIGTERM'] as const).entries()) {
        const { child, finished } = stopped[i];
        let length = 0;
        child.stdout!.on('data', (text: Buffer) => {
          length += text.length;
          // A second one would end it at once.
          if (length > 100 && !child.killed) child.kill(name);
        });
        const { code, out, err } = await finished;
        expect(code, err).to.equal(i === 0 ? 130 : 143);
        expect(out.startsWith('ab')).to.equal(true);
        expect(out.endsWith('\n')).to.equal(true);
        expect(err).to.match(/^stopped after \d+ tokens in .*\n$/);
      }
    });
  });

  it('shows the difference between adding and replacing', async () => {
    await withFolder(async (dir) => {
      const { code, out, err } = await run('demo', '--steps', '5', '--tokens', '500', '--out', dir);
      expect(code, err).to.equal(0);
      expect(out).to.include('delta rule').and.to.include('resident memory');
      expect(readFileSync(join(dir, 'report.html'), 'utf8'))
        .to.include('Asked at the end')
        .and.to.include('Every key, asked before and after')
        .and.to.include('data:image/png');
      const again = await run('demo', '--steps', '5', '--tokens', '500', '--out', dir);
      expect(again.code).to.equal(1);
      expect(again.err).to.include('already holds a report').and.to.not.include('resume');
    });
  });
});
