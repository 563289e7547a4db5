// 8-bit floats in files: every bit pattern, and what scales make of them.
import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { scaledSource } from '../../lib/io';
import { expectError } from '../support/errors';
import { fileOf, type Stored } from '../support/fileBytes';

const floats = (values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const PATTERNS = Uint8Array.from({ length: 256 }, (_, i) => i);

/** The bits of a number with 4 bits of exponent and 3 of fraction, read as text. */
function e4m3(bits: number): number {
  const text = bits.toString(2).padStart(8, '0');
  const sign = text[0] === '1' ? -1 : 1;
  const [exponent, fraction] = [text.slice(1, 5), text.slice(5)];
  if (exponent === '1111' && fraction === '111') return NaN;
  const part = [...fraction].reduce((sum, bit, i) => sum + Number(bit) / 2 ** (i + 1), 0);
  return exponent === '0000' ? sign * part * 2 ** -6 : sign * (1 + part) * 2 ** (Number.parseInt(exponent, 2) - 7);
}

describe('8-bit floats', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fast-weights-float8-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  async function written(tensors: Record<string, Stored>): Promise<string> {
    const path = join(dir, 'a.safetensors');
    await writeFile(path, fileOf(tensors));
    return path;
  }

  it('have the value of each of their 256 bit patterns', async () => {
    // float16 has the exponent of E5M2 and eight more bits of fraction.
    const halves = Uint8Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 0 : i >> 1));
    const path = await written({
      a: { dtype: 'F8_E4M3', shape: [256], bytes: PATTERNS },
      b: { dtype: 'F8_E5M2', shape: [256], bytes: PATTERNS },
      c: { dtype: 'F16', shape: [256], bytes: halves },
    });
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const { a, b, c } = await fw.loadSafetensors(path, { dtype });
      const [e4, e5, half] = [a, b, c].map((t) => Array.from(t.dataSync()));
      expect(a.dtype).to.equal(dtype);
      // Both formats fit into bfloat16 without a loss.
      expect(e4).to.deep.equal(Array.from(PATTERNS, e4m3));
      expect(e5).to.deep.equal(half);
      expect([0x7e, 0x01, 0x08, 0xfe, 0xb8].map((i) => e4[i])).to.deep.equal([448, 2 ** -9, 2 ** -6, -448, -1]);
      expect([0x7b, 0x7c, 0xfc, 0x01].map((i) => e5[i])).to.deep.equal([57344, Infinity, -Infinity, 2 ** -16]);
      expect(Object.is(e4[0x80], -0) && Object.is(e5[0x80], -0)).to.equal(true);
    }
    expect((await fw.loadSafetensors(path)).a.dtype).to.equal('float32');
    const { entries } = await fw.readSafetensors(path);
    expect(entries.get('a')!.dtype).to.equal('F8_E4M3');
    expect(await entries.get('b')!.equals(entries.get('c')!)).to.equal(true);
  });

  it('are multiplied by scales: of all, of rows, of blocks, of the matrices of a stack', async () => {
    const one = 0x38;
    const ones = (count: number): Uint8Array => new Uint8Array(count).fill(one);
    const path = await written({
      w: { dtype: 'F8_E4M3', shape: [3, 5], bytes: ones(15) },
      stack: { dtype: 'F8_E4M3', shape: [2, 3, 5], bytes: ones(30) },
      whole: { dtype: 'F32', shape: [], bytes: floats([2]) },
      single: { dtype: 'F32', shape: [1], bytes: floats([4]) },
      rows: { dtype: 'F32', shape: [3, 1], bytes: floats([1, 2, 3]) },
      flat: { dtype: 'F32', shape: [3], bytes: floats([1, 2, 3]) },
      blocks: { dtype: 'F32', shape: [2, 3], bytes: floats([1, 2, 3, 4, 5, 6]) },
      stacks: { dtype: 'F32', shape: [2, 2, 3], bytes: floats([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) },
      bad: { dtype: 'F32', shape: [2, 2], bytes: floats([1, 2, 3, 4]) },
      whole_numbers: { dtype: 'I32', shape: [], bytes: new Uint8Array(4) },
    });
    const { entries } = await fw.readSafetensors(path);
    const source = (weight: string, scales: string): fw.TensorSource =>
      scaledSource(entries.get(weight)!, entries.get(scales)!, [2, 2]);
    const read = async (weight: string, scales: string): Promise<number[]> => [
      ...(await source(weight, scales).read()),
    ];
    const rows = [1, 2, 3].flatMap((x) => new Array<number>(5).fill(x));
    const blocks = [1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6];
    expect(await read('w', 'whole')).to.deep.equal(new Array<number>(15).fill(2));
    expect(await read('stack', 'single')).to.deep.equal(new Array<number>(30).fill(4));
    expect(await read('w', 'rows')).to.deep.equal(rows);
    expect(await read('w', 'flat')).to.deep.equal(rows);
    expect(await read('w', 'blocks')).to.deep.equal(blocks);
    expect(await read('stack', 'stacks')).to.deep.equal([...blocks, ...blocks.map((x) => x + 6)]);
    const pieces: number[] = [];
    for await (const { at, data } of source('stack', 'stacks').pieces('float32', 7)) {
      expect(at).to.equal(pieces.length);
      pieces.push(...data);
    }
    expect(pieces).to.deep.equal([...blocks, ...blocks.map((x) => x + 6)]);
    for (const scales of ['bad', 'whole_numbers']) {
      expectError(
        'FORMAT',
        new RegExp(`${scales}: shape must be floats that scale \\[3, 5\\] in blocks of \\[2, 2\\]`),
        () => source('w', scales),
      );
    }
  });
});
