// Texts at the command line: encodings, published tokenizers, characters that a checkpoint does not know.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { characterTokenizer, saveTokenizer } from '../../lib/io';
import { withFolder } from '../train/support';
import { run } from './run';

const SMALL = [
  '--hidden-size',
  '16',
  '--layers',
  '1',
  '--heads',
  '2',
  '--batch',
  '4',
  '--length',
  '16',
  '--steps',
  '2',
];

describe('texts at the command line', function () {
  this.timeout(120_000);

  it('refuses what is no UTF-8 with place and remedy, and takes what an option names', async () => {
    await withFolder(async (dir) => {
      const at = (name: string): string => join(dir, name);
      writeFileSync(at('book.txt'), Buffer.from('über größe\n'.repeat(60), 'latin1'));
      await saveTokenizer(
        dir,
        characterTokenizer('\nbeegrößü ß'.split('').filter((c, i, all) => all.indexOf(c) === i)),
      );
      const train = (out: string, ...flags: string[]): ReturnType<typeof run> =>
        run('train', '--text', at('book.txt'), '--out', at(out), ...SMALL, ...flags);
      const [plain, named, bytes, published, both, useless] = await Promise.all([
        train('plain'),
        train('named', '--encoding', 'ISO-8859-1'),
        train('bytes', '--tokens', 'bytes'),
        train('published', '--encoding', 'latin1', '--tokenizer', dir),
        train('both', '--tokens', 'characters', '--tokenizer', dir),
        train('useless', '--tokens', 'bytes', '--encoding', 'latin1'),
      ]);
      expect(plain.code).to.equal(1);
      expect(plain.err).to.include('byte 0xfc at offset 0, line 1').and.to.include('--encoding latin1');
      expect(existsSync(at('plain'))).to.equal(false);
      for (const { code, err } of [named, bytes, published]) expect(code, err).to.equal(0);
      const dataOf = (out: string): object =>
        (JSON.parse(readFileSync(join(at(out), 'config.json'), 'utf8')) as { data: object }).data;
      expect(dataOf('named')).to.include({ encoding: 'latin1', tokens: 'characters', bytes: 660 });
      expect(dataOf('bytes')).to.include({ tokens: 'bytes' }).and.to.not.have.property('encoding');
      expect(dataOf('published')).to.include({ tokenizer: dir }).and.to.not.have.property('tokens');
      for (const { code, err } of [both, useless]) {
        expect(code).to.equal(2);
        expect(err).to.match(/--(tokens|encoding) cannot be given with --/);
      }
    });
  });

  it('measures on another text, says what it leaves out, and goes on where a text was moved', async () => {
    await withFolder(async (dir) => {
      const [text, moved, other, out] = ['book.txt', 'moved.txt', 'other.txt', 'run'].map((name) => join(dir, name));
      writeFileSync(text, 'to be or not to be '.repeat(40));
      const trained = await run('train', '--text', text, '--out', out, ...SMALL);
      expect(trained.code, trained.err).to.equal(0);
      writeFileSync(other, '\ufeffto be é§é\u0007 or not', 'utf16le');
      renameSync(text, moved);
      const [table, json, lost, generated] = await Promise.all([
        run('evaluate', '--checkpoint', out, '--text', other),
        run('evaluate', '--checkpoint', out, '--text', other, '--length', '4', '--json'),
        run('evaluate', '--checkpoint', out),
        run('generate', '--checkpoint', out, '--max-tokens', '3', '--seed', '1'),
      ]);
      expect(table.code, table.err).to.equal(0);
      expect(table.err)
        .to.include('4 characters were skipped')
        .and.to.include("'é' U+00E9 (2 times), '§' U+00A7, '\\u{0007}' U+0007");
      expect(JSON.parse(json.out)).to.include({ skipped: 4, labels: 12 });
      expect(lost.code).to.equal(1);
      expect(lost.err).to.include(text).and.to.include('data.text');
      // The text knows no new line, with which texts begin otherwise.
      expect(generated.code, generated.err).to.equal(0);
      expect(generated.out.trimEnd()).to.have.length.above(2);
      const resumed = await run('train', '--resume', out, '--text', moved, '--steps', '3');
      expect(resumed.code, resumed.err).to.equal(0);
    });
  });
});
