// Text files: their encodings, found or named, and what is said of those that are no text.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import { textDataset, type TextDataset, type TextDatasetOptions, type TextEncoding } from '../../lib/data';

const SAMPLE = 'Größe, “naïve” – 人\u{1F600}!\r\nÜ\u0416\n';

function swapped(bytes: Buffer): Buffer {
  return Buffer.from(bytes).swap16();
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le');
}

describe('text files', () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fast-weights-'));
    path = join(folder, 'text.txt');
  });
  after(() => rmSync(folder, { recursive: true }));

  function open(bytes: Uint8Array, options: TextDatasetOptions = {}): TextDataset {
    writeFileSync(path, bytes);
    return textDataset({ path, tokenizer: 'characters', sequenceLength: 1, validationFraction: 0, ...options });
  }

  function contentOf(bytes: Uint8Array, options: TextDatasetOptions = {}): string {
    const { training, decode } = open(bytes, options);
    return decode(training.slice(0, training.length));
  }

  function refusal(bytes: Uint8Array, options: TextDatasetOptions = {}): FastWeightsError {
    try {
      open(bytes, options);
    } catch (error) {
      if (error instanceof FastWeightsError) return error;
      throw error;
    }
    return expect.fail('must be refused');
  }

  it('reads UTF-8 and, by its byte order mark, UTF-16', () => {
    const marked = '\ufeff' + SAMPLE;
    for (const bytes of [Buffer.from(SAMPLE), Buffer.from(marked), utf16(marked), swapped(utf16(marked))]) {
      expect(contentOf(bytes)).to.equal(SAMPLE);
    }
  });

  it('reads what an option names, with its byte order mark or without', () => {
    const cases: [TextEncoding, Buffer, string][] = [
      ['utf8', Buffer.from('a\u0000é'), 'a\u0000é'],
      ['utf8', Buffer.from('\ufeffé!'), 'é!'],
      ['utf16le', utf16(SAMPLE), SAMPLE],
      ['utf16le', utf16('\ufeffab'), 'ab'],
      ['utf16be', swapped(utf16(SAMPLE)), SAMPLE],
      ['latin1', Buffer.from([0x47, 0xfc, 0x93, 0x0a]), 'Gü\u0093\n'],
      ['windows1252', Buffer.from([0x80, 0x93, 0x9f, 0x81, 0xe9]), '€“Ÿ\u0081é'],
    ];
    for (const [encoding, bytes, text] of cases) expect(contentOf(bytes, { encoding }), encoding).to.equal(text);
  });

  it('cuts no character where a file is read in pieces', () => {
    for (let shift = 0; shift < 4; shift++) {
      const long = 'x'.repeat(shift) + 'aé人\u{1F600}'.repeat(15_000);
      for (const bytes of [Buffer.from(long), utf16('\ufeff' + long), swapped(utf16('\ufeff' + long))]) {
        expect(contentOf(bytes)).to.equal(long);
      }
    }
  });

  it('takes the bytes as they are where tokens are bytes', () => {
    const files = [Buffer.from('\ufeffé'), utf16('\ufeffé!'), Buffer.from([0, 255, 254, 0x80, 10]), Buffer.alloc(99)];
    for (const bytes of files) {
      expect([...open(bytes, { tokenizer: 'bytes' }).training.slice(0, 999)]).to.eql([...bytes]);
    }
  });

  it('refuses what is no text with its place and the remedy', () => {
    const line = 'eine Zeile\r\n';
    const far = Buffer.from(line.repeat(20_000));
    const cases: [string, Buffer, number, number][] = [
      ['latin1', Buffer.from('abc\r\nd\xfc\n', 'latin1'), 6, 2],
      ['far away', Buffer.concat([far, Buffer.from([0xe4])]), far.length, 20_001],
      ['lines that end with CR', Buffer.from('a\rb\r\xff', 'latin1'), 4, 3],
      ['a character cut short', Buffer.from('Größ').subarray(0, 5), 4, 1],
      ['an overlong character', Buffer.from([0x61, 0x0a, 0xe0, 0x80, 0x80]), 2, 2],
      ['half a pair in UTF-8', Buffer.from([0xed, 0xa0, 0x80]), 0, 1],
      ['beyond U+10FFFF', Buffer.from([0x61, 0xf4, 0x90, 0x80, 0x80]), 1, 1],
      ['half a pair in UTF-16', utf16('\ufeffa\n\ud83db'), 6, 2],
      ['half a unit in UTF-16', utf16('\ufeffab').subarray(0, 5), 4, 1],
      ['UTF-16 without a mark', utf16('ab'), 1, 1],
      ['UTF-32', Buffer.from([0xff, 0xfe, 0, 0, 0x61, 0, 0, 0]), 2, 1],
      ['a program', Buffer.from('\x7fELF\x02\x01\x01\0\0'), 7, 1],
      ['NUL in UTF-16', utf16('\ufeffa\n\0'), 6, 2],
    ];
    for (const [what, bytes, offset, lineNumber] of cases) {
      const { code, message, argument } = refusal(bytes);
      expect(code, what).to.equal('FORMAT');
      expect(argument).to.equal(path);
      expect(message, what)
        .to.include(`at offset ${offset}, line ${lineNumber};`)
        .and.to.include('--encoding')
        .and.to.include('--tokens bytes');
    }
    expect(refusal(Buffer.from('d\xfc\n', 'latin1')).message).to.match(/must be UTF-8, got byte 0xfc .*latin1/);
  });

  it('refuses an encoding that the file contradicts, or that could do nothing', () => {
    const cases: [Buffer, TextDatasetOptions][] = [
      [Buffer.from('\ufeffab'), { encoding: 'latin1' }],
      [utf16('\ufeffab'), { encoding: 'utf16be' }],
      [Buffer.from('ab'), { encoding: 'utf7' as 'utf8' }],
      [Buffer.from('ab'), { encoding: 'latin1', tokenizer: 'bytes' }],
      [Buffer.from('ab'), { encoding: 'utf8', text: 'ab', path: undefined }],
    ];
    for (const [bytes, options] of cases) expect(refusal(bytes, options).argument).to.equal('encoding');
  });

  it('refuses what is no regular file', () => {
    expect(() => textDataset({ path: folder }))
      .to.throw(FastWeightsError, 'regular file')
      .with.property('code', 'IO');
  });
});
