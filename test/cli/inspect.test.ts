// `inspect`: a page from a folder and a text, and what is refused.
import { expect } from 'chai';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { defaultDevice } from '../../lib/backends';
import { inspectCommand } from '../../lib/cli/inspect';
import { keepModel } from '../../lib/experiments/inspect';
import { painterExperiment } from '../../lib/experiments/painter';
import { run } from './run';

const LETTERS = ['\n', ...'abcdefgh '];

describe('inspect', function () {
  this.timeout(30_000);
  let dir: string;
  // Commands that run in this process choose its default device.
  const device = defaultDevice();
  const at = (...names: string[]): string => join(dir, ...names);

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'fast-weights-inspect-'));
    for (const name of ['deltanet', 'transformer'] as const) {
      const sizes = { vocabSize: LETTERS.length, hiddenSize: 8, numLayers: 2, numHeads: 2, device: 'js' } as const;
      using model = fw.createModel(name, sizes);
      await model.savePretrained(at(name));
      for (const [file, value] of Object.entries(fw.characterTokenizer(LETTERS).files())) {
        writeFileSync(at(name, file), JSON.stringify(value));
      }
    }
    writeFileSync(at('text.txt'), `${'abc def '.repeat(50)}é`);
  });
  after(() => rmSync(dir, { recursive: true }));

  /** In this process; what it said and its error. */
  async function inProcess(...args: string[]): Promise<{ out: string; err: string; error?: Error }> {
    const said = { out: '', err: '' };
    const { log, error: complain } = console;
    console.log = (line: string) => void (said.out += `${line}\n`);
    console.error = (line: string) => void (said.err += `${line}\n`);
    try {
      const command = inspectCommand()
        .exitOverride()
        .configureOutput({ writeErr: () => undefined });
      await command.parseAsync([...args, '--device', 'js'], { from: 'user' });
      return said;
    } catch (error) {
      return { ...said, error: error as Error };
    } finally {
      [console.log, console.error] = [log, complain];
      fw.setDefaultDevice(device);
    }
  }
  const tokensIn = (file: string): string[] => {
    const data = /<script type="application\/json" id="inspection">(.*)<\/script>/.exec(readFileSync(file, 'utf8'))![1];
    return (JSON.parse(data) as { tokens: string[] }).tokens;
  };

  it('writes the page of a prompt', async () => {
    const out = at('prompt.html');
    const {
      code,
      out: said,
      err,
    } = await run('inspect', '--checkpoint', at('deltanet'), '--prompt', 'abc abc', '--out', out);
    expect([code, err]).to.eql([0, '']);
    expect(said).to.include(out).and.match(/KiB\)/);
    expect(tokensIn(out)).to.eql([...'abc abc']);
  });

  it('reads with quantised weights, nearly the same', async () => {
    const normsIn = async (...weights: string[]): Promise<number[]> => {
      const out = at('quantised.html');
      const given = ['--checkpoint', at('deltanet'), '--prompt', 'abc abc', '--out', out, ...weights];
      expect((await inProcess(...given)).error).to.equal(undefined);
      const data = /<script type="application\/json" id="inspection">(.*)<\/script>/.exec(
        readFileSync(out, 'utf8'),
      )![1];
      return (JSON.parse(data) as { memories: { norm: number[] }[] }).memories.flatMap(({ norm }) => norm);
    };
    const whole = await normsIn();
    const int8 = await normsIn('--weights', 'int8');
    int8.forEach((x, i) => expect(x).to.be.closeTo(whole[i], 0.1));
    expect(int8).not.to.eql(whole);
    const { error } = await inProcess('--experiment', at('painter'), '--weights', 'int8');
    expect(error?.message).to.match(/--weights cannot be given with --experiment/);
  });

  it('reads the beginning of a text, and says what it leaves out', async () => {
    const out = at('text.html');
    const given = ['--checkpoint', at('deltanet'), '--text', at('text.txt'), '--out', out];
    const { err, error } = await inProcess(...given, '--tokens', '30', '--layer', '2', '--head', '1');
    expect(error).to.equal(undefined);
    expect(err).to.equal('only the first 30 tokens are read; --tokens takes up to 1024\n');
    expect(tokensIn(out)).to.eql([...'abc def '.repeat(4)].slice(0, 30));
    expect((await inProcess(...given, '--tokens', '1000')).err).to.match(
      /^1 character was skipped, it has no token in this checkpoint: 'é' U\+00E9/,
    );
  });

  it('shows the trained model of an experiment', async () => {
    const context = { seed: 1, quick: true, device: 'js' } as const;
    const { model } = painterExperiment.example!('delta', context);
    const results = [{ trial: 'delta', seed: 1, seconds: 1, found: {}, model: 'model-1.safetensors' }];
    mkdirSync(at('painter'));
    expect(await keepModel(painterExperiment, model, 'delta', context, at('painter', results[0].model))).to.equal(true);
    writeFileSync(at('painter', 'results.json'), JSON.stringify({ experiment: 'painter', quick: true, results }));
    const out = at('painter.html');
    const { error } = await inProcess('--experiment', at('painter'), '--trial', 'delta', '--out', out);
    expect(error).to.equal(undefined);
    expect(tokensIn(out).map((token) => token.trim())).to.eql([1, 2, 3, 4, 5, 6, 7, 8].map((t) => `stroke ${t}`));
    expect(readFileSync(out, 'utf8')).to.include('painter: painter, delta, seed 1; 8 tokens');
  });

  it('reads the bytes of any file for a model of bytes', async () => {
    const sizes = { vocabSize: 256, hiddenSize: 8, numLayers: 1, numHeads: 1, device: 'js' } as const;
    using model = fw.createModel('deltanet', sizes);
    await model.savePretrained(at('bytes'));
    for (const [file, value] of Object.entries(fw.byteTokenizer().files())) {
      writeFileSync(at('bytes', file), JSON.stringify(value));
    }
    writeFileSync(at('bin.dat'), Buffer.from([0x61, 0xff, 0x00, 0xe9, 0x62]));
    const given = ['--checkpoint', at('bytes'), '--text', at('bin.dat'), '--out', at('bytes.html')];
    expect((await inProcess(...given)).error).to.equal(undefined);
    expect(tokensIn(at('bytes.html'))).to.eql(['a', '\ufffd', '\0', '\ufffd', 'b']);
    expect((await inProcess(...given, '--tokens', '4')).err).to.match(/only the first 4 tokens/);
    const { error } = await inProcess(...given, '--encoding', 'latin1');
    expect(error?.message).to.match(/encoding must be left out where tokens are bytes, got latin1/);
  });

  it('refuses what it cannot show', async () => {
    const refused = async (pattern: RegExp, ...args: string[]): Promise<void> => {
      const { error } = await inProcess('--out', at('none.html'), ...args);
      expect(error?.message).to.match(pattern);
      expect(existsSync(at('none.html'))).to.equal(false);
    };
    const deltanet = ['--checkpoint', at('deltanet')];
    await refused(/--text or --prompt, one of them/, ...deltanet);
    await refused(/--checkpoint or --experiment, one of them/, '--prompt', 'a');
    await refused(/--checkpoint or --experiment, not both/, ...deltanet, '--experiment', at('painter'));
    await refused(/--prompt cannot be given with --experiment/, '--experiment', at('painter'), '--prompt', 'a');
    await refused(/--trial cannot be given with --prompt/, ...deltanet, '--prompt', 'a', '--trial', 'a');
    await refused(/results\.json/, '--experiment', at('deltanet'));
    await refused(/not both/, ...deltanet, '--prompt', 'a', '--text', at('text.txt'));
    await refused(/--encoding cannot be given with --prompt/, ...deltanet, '--prompt', 'a', '--encoding', 'utf8');
    await refused(/--prompt must hold at least one token/, ...deltanet, '--prompt', '');
    await refused(/layer must be one of 1, 2, got 3/, ...deltanet, '--prompt', 'a', '--layer', '3');
    await refused(/1024/, ...deltanet, '--prompt', 'a', '--tokens', '1025');
    await refused(/text must be made of the 10 characters/, ...deltanet, '--prompt', 'é');
    await refused(/transformer keeps no matrix .*deltanet.*srwm/, '--checkpoint', at('transformer'), '--prompt', 'a');
  });
});
