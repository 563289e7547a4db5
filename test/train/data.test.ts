// Runs on texts: bound to the text and the tokenizer they began with, and of any size.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import '../../lib';
import type { FastWeightsError } from '../../lib/core';
import { characterTokenizer, loadTokenizer, saveTokenizer } from '../../lib/io';
import {
  checkRunConfig,
  fillTraining,
  openData,
  resumeRun,
  type RunConfig,
  startRun,
  type TextData,
} from '../../lib/train';
import { close, losses, weights, withFolder } from './support';

const BODY = 'the quick brown fox jumps over the lazy dog. '.repeat(40);

function textConfig(text: string, data: Partial<TextData> = {}): RunConfig {
  return {
    model: { name: 'deltanet', hiddenSize: 16, numLayers: 1, numHeads: 2 },
    data: { text, sequenceLength: 16, validationFraction: 0.1, ...data },
    training: fillTraining({ steps: 8, batchSize: 3, validateEvery: 4, checkpointEvery: 4 }),
    device: 'js',
  };
}

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  return promise.then(
    () => expect.fail('must fail'),
    (error: FastWeightsError) => error,
  );
}

const savedData = (dir: string): TextData =>
  (JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as { data: TextData }).data;

describe('runs on texts', () => {
  it('write down what they are bound to, and refuse another text by name', async () => {
    await withFolder(async (folder) => {
      const [text, dir] = [join(folder, 'book.txt'), join(folder, 'run')];
      writeFileSync(text, BODY);
      const run = await startRun(textConfig(text), dir);
      await losses(run, 4);
      close(run);
      const bound = savedData(dir);
      expect(bound).to.include({ tokens: 'characters', bytes: BODY.length }).and.to.have.property('sha256');
      expect(run.config.data).to.eql(bound);
      for (const changed of [BODY.replaceAll('q', 'B'), `!${BODY}`, BODY.slice(1), `${BODY}§`]) {
        writeFileSync(text, changed);
        const tokenizer = await loadTokenizer(run.folder.checkpointPath(4));
        for (const attempt of [
          () => resumeRun(dir),
          () => startRun(checkRunConfig(run.config, 'config'), join(folder, 'other')),
          () => openData(run.config.data, 0, { tokenizer }),
        ]) {
          const { message, argument } = await failure(attempt());
          expect(message).to.include(`${text} has changed`).and.to.include('put that text back');
          if (changed.length !== BODY.length) expect(message).to.match(/holds \d+ bytes, not 1800/);
          expect(argument).to.equal('data.text');
        }
      }
      expect(readdirSync(folder).sort()).to.eql(['book.txt', 'run']);
      writeFileSync(text, BODY);
      const again = await resumeRun(dir);
      expect(await losses(again)).to.have.length(4);
      close(again);
    });
  });

  it('go on where their text was moved to, and say how', async () => {
    await withFolder(async (folder) => {
      const [text, dir, moved] = ['book.txt', 'run', 'moved.txt'].map((name) => join(folder, name));
      writeFileSync(text, BODY);
      const run = await startRun(textConfig(text), dir);
      await losses(run, 4);
      close(run);
      renameSync(text, moved);
      const { code, message } = await failure(resumeRun(dir));
      expect(code).to.equal('IO');
      expect(message).to.include(`cannot read ${text}`).and.to.include('--text');
      writeFileSync(join(folder, 'wrong.txt'), `${BODY}!`);
      expect((await failure(resumeRun(dir, {}, { text: join(folder, 'wrong.txt') }))).message).to.include('wrong.txt');
      close(await resumeRun(dir, {}, { text: moved }));
      expect(savedData(dir).text).to.equal(moved);
      close(await resumeRun(dir));
    });
  });

  it('of earlier versions, without a hash, go on with the tokenizer of their checkpoint', async () => {
    await withFolder(async (folder) => {
      const [text, dir] = [join(folder, 'book.txt'), join(folder, 'run')];
      writeFileSync(text, BODY);
      const run = await startRun(textConfig(text), dir);
      await losses(run, 4);
      close(run);
      const { sha256: _, bytes: __, ...data } = savedData(dir);
      writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...run.config, data }));
      writeFileSync(text, BODY.replaceAll('b', ' ').repeat(2));
      const again = await resumeRun(dir);
      expect(again.data.vocabSize).to.equal(run.data.vocabSize);
      expect(again.data.decode([1, 2])).to.equal(run.data.decode([1, 2]));
      expect(savedData(dir)).to.not.have.property('sha256');
      close(again);
      writeFileSync(text, `${BODY}\nB§`);
      const { message } = await failure(resumeRun(dir));
      expect(message).to.include("'\\n' U+000A at line 1, column 1801").and.to.include(text);
    });
  });

  it('train on a tokenizer of another folder, and refuse texts that it lacks tokens for', async () => {
    await withFolder(async (folder) => {
      const [text, dir, tokenizer] = ['book.txt', 'run', 'tokenizer'].map((name) => join(folder, name));
      writeFileSync(text, BODY);
      mkdirSync(tokenizer);
      await saveTokenizer(tokenizer, characterTokenizer('zyxwvutsrqponmlkjihgfedcba .!?'));
      const run = await startRun(textConfig(text, { tokenizer }), dir);
      expect(run.data.vocabSize).to.equal(30);
      await losses(run, 4);
      close(run);
      rmSync(tokenizer, { recursive: true });
      const again = await resumeRun(dir);
      expect(again.data.vocabSize).to.equal(30);
      await losses(again);
      close(again);
      mkdirSync(tokenizer);
      await saveTokenizer(tokenizer, characterTokenizer('abc'));
      for (const memoryLimit of [0, 10_000]) {
        const refused = await failure(startRun(textConfig(text, { tokenizer }), join(folder, 'no'), { memoryLimit }));
        expect(refused.message).to.include("'t' U+0074 at line 1, column 1");
      }
      expect(existsSync(join(folder, 'no'))).to.equal(false);
      expect(() => checkRunConfig(textConfig(text, { tokenizer, tokens: 'bytes' }), 'config')).to.throw(
        'data.tokenizer',
      );
      expect(() => checkRunConfig(textConfig(text, { encoding: 'x' as 'utf8' }), 'config')).to.throw('data.encoding');
    });
  });

  it('keep the ids of a large text in a file, and resume on it bit for bit', async () => {
    await withFolder(async (folder) => {
      const text = join(folder, 'book.txt');
      writeFileSync(text, BODY);
      const small = await startRun(textConfig(text), join(folder, 'small'));
      const expected = await losses(small);
      const dir = join(folder, 'large');
      const large = await startRun(textConfig(text), dir, { memoryLimit: 100 });
      expect(await losses(large, 4)).to.eql(expected.slice(0, 4));
      const { mtimeNs } = statSync(large.folder.tokens, { bigint: true });
      const again = await resumeRun(dir, {}, { memoryLimit: 100 });
      expect(await losses(again)).to.eql(expected.slice(4));
      expect(weights(again)).to.eql(weights(small));
      expect(statSync(large.folder.tokens, { bigint: true }).mtimeNs).to.equal(mtimeNs);
      for (const run of [small, large, again]) {
        close(run);
        run.data.close?.();
      }
    });
  });

  it('leave nothing behind where opening them is stopped', async () => {
    await withFolder(async (folder) => {
      const text = join(folder, 'book.txt');
      writeFileSync(text, BODY.repeat(1000));
      const controller = new AbortController();
      const seen = new Set<string>();
      const options = {
        memoryLimit: 0,
        signal: controller.signal,
        onText: ({ stage }: { stage: string }): void => {
          seen.add(stage);
          if (stage === 'encoding') controller.abort();
        },
      };
      const error = await failure(startRun(textConfig(text), join(folder, 'run'), options));
      expect([error.code, ...seen]).to.eql(['ABORTED', 'reading', 'encoding']);
      expect(readdirSync(folder)).to.eql(['book.txt']);
    });
  });
});
