// Texts of any size: ids in memory and in a file, in turns, bound to the text and its tokenizer.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { FastWeightsError } from '../../lib/core';
import { openTextDataset, prepareText, textDataset, type TextDataset } from '../../lib/data';
import { byteTokenizer, characterTokenizer, loadSafetensors } from '../../lib/io';

/** Every window of it is another one. */
const TEXT = Array.from({ length: 30_000 }, (_, i) => `${i} é\u{1F600}${i % 7 ? ' ' : '\n'}`).join('');

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  return promise.then(
    () => expect.fail('must fail'),
    (error: FastWeightsError) => error,
  );
}

/** Training batches, the evaluation set in both orders, and the tokens at the seam. */
function contentOf(data: TextDataset): unknown {
  return {
    batches: [0, 1, 77].map((step) => data.batch(step, 3)),
    evaluation: [...data.evaluation(50)].slice(-2),
    spread: [...data.evaluation(64, true)].slice(0, 2),
    seam: [...data.training.slice(data.training.length - 5, data.training.length + 9), ...data.validation.slice(0, 5)],
    described: data.description,
  };
}

describe('texts of any size', () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fast-weights-'));
    writeFileSync(at('text'), TEXT);
    // More than 2^8, and more than 2^16 different characters.
    writeFileSync(at('wide'), String.fromCodePoint(...Array.from({ length: 3000 }, (_, i) => 0x4e00 + (i % 900))));
    const planes = Array.from({ length: 70_000 }, (_, i) => String.fromCodePoint(0x20000 + i));
    writeFileSync(at('wider'), planes.join(''));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('gives the same batches from memory, from a file, and all at once', async () => {
    for (const name of ['text', 'wide', 'wider']) {
      for (const tokenizer of ['bytes', 'characters'] as const) {
        const options = { path: at(name), tokenizer, sequenceLength: 33, seed: 5 };
        const expected = contentOf(textDataset(options));
        using inMemory = await openTextDataset(options);
        using inFile = await openTextDataset({ ...options, memoryLimit: 100 });
        expect(inFile.training).to.not.be.instanceOf(inMemory.training.constructor);
        expect(contentOf(inMemory)).to.eql(expected);
        expect(contentOf(inFile)).to.eql(expected);
      }
    }
  });

  it('keeps ids as narrow as the vocabulary allows', () => {
    const bytesOf = (name: string, tokenizer: 'bytes' | 'characters'): number =>
      textDataset({ path: at(name), tokenizer }).training.BYTES_PER_ELEMENT;
    expect([bytesOf('wide', 'bytes'), bytesOf('wide', 'characters'), bytesOf('wider', 'characters')]).to.eql([1, 2, 4]);
    const lies = { ...byteTokenizer(), kind: 'huggingface' as const, vocabSize: 100 };
    expect(() => textDataset({ text: 'zzz', tokenizer: lies })).to.throw(
      "the tokenizer's ids must be below 100, got 122",
    );
  });

  it('writes the file of ids once, and again for another text or tokenizer', async () => {
    const ids = at('ids.safetensors');
    const open = async (name: string, tokenizer: 'bytes' | 'characters'): Promise<bigint> => {
      const prepared = await prepareText({ path: at(name), tokenizer, memoryLimit: 0, sequenceLength: 8 });
      (await prepared.open(ids)).close();
      return statSync(ids, { bigint: true }).mtimeNs;
    };
    const first = await open('wide', 'characters');
    expect(Object.keys(await loadSafetensors(ids, { device: 'js' }))).to.eql(['ids']);
    expect(await open('wide', 'characters')).to.equal(first);
    const second = await open('wide', 'bytes');
    expect(second).to.not.equal(first);
    const third = await open('text', 'bytes');
    expect(third).to.not.equal(second);
    writeFileSync(ids, 'cut short');
    expect(await open('text', 'bytes')).to.not.equal(third);
    expect(statSync(ids).size).to.be.above(statSync(at('text')).size);
  });

  it('leaves no temporary file, and says so when it is read after its end', async () => {
    const { TMPDIR } = process.env;
    process.env.TMPDIR = at('temporary');
    mkdirSync(at('temporary'));
    try {
      const data = await openTextDataset({ path: at('text'), memoryLimit: 0 });
      expect(data.batch(0, 1).inputs.length).to.equal(256);
      expect(readdirSync(at('temporary'))).to.eql([]);
      data.close();
      data.close();
      expect(() => data.batch(0, 1))
        .to.throw()
        .with.property('code', 'DISPOSED');
    } finally {
      process.env.TMPDIR = TMPDIR;
      if (TMPDIR === undefined) delete process.env.TMPDIR;
    }
  });

  it('lets others have their turn, tells how far it is, and stops at once', async () => {
    const path = at('long');
    writeFileSync(path, TEXT.repeat(6));
    const seen: string[] = [];
    const stages = new Set<string>();
    const timer = setInterval(() => seen.push('timer'), 1);
    const onProgress = ({ stage, done, total }: { stage: string; done: number; total: number }): void => {
      expect(done).to.be.within(0, total);
      stages.add(stage);
      seen.push('text');
    };
    await openTextDataset({ path, tokenizer: 'characters', onProgress });
    clearInterval(timer);
    expect([...stages]).to.eql(['reading', 'encoding']);
    const first = seen.indexOf('timer');
    expect(first).to.be.above(-1);
    expect(seen.slice(first).join()).to.match(/text,timer.*text,timer/);

    const controller = new AbortController();
    const stop = ({ stage }: { stage: string }): void => {
      if (stage === 'encoding') controller.abort();
    };
    const prepared = await prepareText({ path, memoryLimit: 0, signal: controller.signal, onProgress: stop });
    const error = await failure(prepared.open(at('stopped')));
    expect(error.code).to.equal('ABORTED');
    expect(readdirSync(folder).filter((name) => name.startsWith('stopped'))).to.eql([]);
    const aborted = openTextDataset({ path, signal: AbortSignal.abort() });
    expect((await failure(aborted)).code).to.equal('ABORTED');
  });

  it('refuses a text that changes while it is read', async () => {
    for (const [changed, code] of [
      [TEXT.replaceAll('7', '8'), /changed while it was read/],
      [TEXT.slice(0, 100_000), /became shorter while it was read/],
    ] as const) {
      writeFileSync(at('moving'), TEXT);
      const prepared = await prepareText({ path: at('moving'), tokenizer: 'characters' });
      writeFileSync(at('moving'), changed);
      const error = await failure(prepared.open());
      expect(error.message).to.match(code);
      expect(error.code).to.equal('IO');
    }
  });

  it('names the first part that a tokenizer lacks with its place, or counts such parts and leaves them out', async () => {
    const head = 'line\r\nline \u{1F600}\rxx';
    const tail = '\u200b§ § \ud7ff';
    writeFileSync(at('odd'), `${'x\n'.repeat(70_000)}${head}`);
    writeFileSync(at('odd2'), tail);
    const path = [at('odd'), at('odd2')];
    const tokenizer = characterTokenizer('line\r\n x\u{1F600}');
    for (const open of [textDataset, openTextDataset]) {
      const error = await failure(Promise.resolve().then<unknown>(() => open({ path, tokenizer })));
      expect(error.message).to.include(`'\\u{200b}' U+200B at line 70003, column 3`).and.to.include(at('odd'));
      expect(error.argument).to.equal('text');
    }
    writeFileSync(at('marked'), '\ufeff');
    writeFileSync(at('foreign'), 'éé\u0444');
    for (const [name, message] of [
      ['marked', /must be not empty, got .*marked that holds only a byte order mark/],
      ['foreign', /0 validation tokens \(left out were 3 characters that have no token\)/],
    ] as const) {
      const options = {
        path: at(name),
        tokenizer: name === 'marked' ? 'characters' : tokenizer,
        skipUnknown: true,
      } as const;
      expect(() => textDataset(options)).to.throw(message);
    }
    const skipping = { path, tokenizer, skipUnknown: true, validationFraction: 0, sequenceLength: 4 };
    const expected = textDataset({
      text: `${'x\n'.repeat(70_000)}${head}  `,
      tokenizer,
      validationFraction: 0,
    }).training;
    for (const data of [textDataset(skipping), await openTextDataset({ ...skipping, memoryLimit: 0 })]) {
      expect([...data.skipped]).to.eql([
        ['\u200b', 1],
        ['§', 2],
        ['\ud7ff', 1],
      ]);
      expect(data.training.slice(0, data.training.length)).to.eql(expected);
    }
  });

  it('chooses characters where there are few of them or the text is no UTF-8, and bytes elsewhere', async () => {
    const kinds = async (bytes: Uint8Array): Promise<string[]> => {
      writeFileSync(at('chosen'), bytes);
      const options = { path: at('chosen'), tokenizer: 'auto', sequenceLength: 2 } as const;
      return [textDataset(options), await openTextDataset(options)].map(({ tokenizer }) => tokenizer.kind);
    };
    const different = (count: number): string =>
      String.fromCodePoint(...Array.from({ length: count }, (_, i) => 0x100 + i));
    expect(await kinds(Buffer.from(different(255)))).to.eql(['character', 'character']);
    expect(await kinds(Buffer.from(different(256)))).to.eql(['byte', 'byte']);
    expect(await kinds(Buffer.from(`\ufeff${different(256)}`, 'utf16le'))).to.eql(['character', 'character']);
  });

  it('measures all of a text whose validation part is all of it', () => {
    const data = textDataset({ text: 'abcdef', validationFraction: 1, sequenceLength: 100 });
    expect([...data.evaluation(1)].map(({ labelCount }) => labelCount)).to.eql([5]);
    expect(() => data.batch(0, 1))
      .to.throw()
      .with.property('argument', 'validationFraction');
  });
});
