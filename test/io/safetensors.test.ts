// Safetensors: round trips, conversions, and files whose header lies.
import { expect } from 'chai';
import fc from 'fast-check';
import { readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getBackend } from '../../lib/backends';
import {
  FastWeightsError,
  memory,
  scope,
  sizeOf,
  Storage,
  Tensor,
  toBfloat16,
  type DType,
  type TypedArray,
} from '../../lib/core';
import { loadEntries, loadSafetensors, readSafetensors, readSafetensorsMetadata, saveSafetensors } from '../../lib/io';
import { goldenFolder } from '../support/golden';
import { rejection, temporaryFolder } from './folder';
import { collectGarbage } from '../support/garbage';

function make(dtype: DType, shape: readonly number[], data: TypedArray): Tensor {
  const backend = getBackend('js');
  const tensor = new Tensor(new Storage(backend, dtype, sizeOf(shape)), shape);
  backend.write(tensor.storage.handle, 0, data);
  return tensor;
}

/** A file with a header of one's own. */
function file(header: unknown, dataBytes = 0, length?: bigint): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, Buffer.alloc(dataBytes, 1)]);
}

const F32 = (shape: unknown, begin: unknown, end: unknown): unknown => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

describe('io: safetensors', () => {
  const at = temporaryFolder();

  const read = async (bytes: Buffer): Promise<unknown> => {
    writeFileSync(at('case.safetensors'), bytes);
    const { entries } = await readSafetensors(at('case.safetensors'));
    for (const entry of entries.values()) await entry.read();
    return entries;
  };

  it('round-trips every dtype and shape', async () => {
    const tensors: Record<string, Tensor> = {
      scalar: make('float32', [], Float32Array.of(Math.PI)),
      empty: make('float32', [3, 0, 5], new Float32Array(0)),
      nothing: make('bfloat16', [0], new Uint16Array(0)),
      odd: make(
        'float32',
        [1, 7, 3],
        Float32Array.from({ length: 21 }, (_, i) => i / 3),
      ),
      truth: make('bool', [3], Uint8Array.of(1, 0, 1)),
      half: make('bfloat16', [5], Uint16Array.from([1.5, -0, Infinity, NaN, 3e38], toBfloat16)),
      double: make('float64', [2], Float64Array.of(1e300, -1e-300)),
      '12': make('int32', [3], Int32Array.of(-2147483648, 0, 2147483647)),
      '\u00e9 "quoted"\n': make('int32', [1], Int32Array.of(7)),
    };
    await saveSafetensors(at('a.safetensors'), tensors, { format: 'pt', note: '\u00fc' });
    expect(await readSafetensorsMetadata(at('a.safetensors'))).to.deep.equal({ format: 'pt', note: '\u00fc' });
    const loaded = await loadSafetensors(at('a.safetensors'), { device: 'js' });
    expect(loaded).to.have.all.keys(Object.keys(tensors));
    for (const [name, tensor] of Object.entries(tensors)) {
      expect(loaded[name].shape, name).to.deep.equal(tensor.shape);
      expect(loaded[name].dtype, name).to.equal(tensor.dtype);
      expect(loaded[name].dataSync(), name).to.deep.equal(tensor.dataSync());
    }
    const bytes = readFileSync(at('a.safetensors'));
    expect(Number(bytes.readBigUInt64LE()) % 8).to.equal(0);
  });

  it('stores floats as float16: to nearest, ties to even, subnormal ones too', async () => {
    const given = [
      1,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      2 - 2 ** -12,
      65504,
      65519,
      -0,
      2 ** -24,
      2 ** -25,
      1.5 * 2 ** -24,
    ];
    const stored = [1, 1, 1 + 2 ** -9, 2, 65504, 65504, -0, 2 ** -24, 0, 2 ** -23];
    const edge = [Infinity, -Infinity, NaN, 2 ** -14 * (1 - 2 ** -12), -3e-5, 1e-30];
    const edges = [Infinity, -Infinity, NaN, 2 ** -14, -503 * 2 ** -24, 0];
    const x = make('float32', [16], Float32Array.from([...given, ...edge]));
    // Just above the middle between two neighbours: float32 in between would round it onto the middle.
    const twice = make('float64', [1], Float64Array.of(1 + 2 ** -11 + 2 ** -40));
    const id = make('int32', [1], Int32Array.of(3));
    await saveSafetensors(at('half.safetensors'), { x, twice, id }, {}, { dtype: 'float16' });
    const { entries } = await readSafetensors(at('half.safetensors'));
    expect([...entries].map(([name, { dtype }]) => [name, dtype])).to.have.deep.members([
      ['x', 'F16'],
      ['twice', 'F16'],
      ['id', 'I32'],
    ]);
    expect([...(await entries.get('x')!.read())]).to.deep.equal([...stored, ...edges]);
    expect([...(await entries.get('twice')!.read())]).to.deep.equal([1 + 2 ** -10]);
    const loaded = await loadSafetensors(at('half.safetensors'), { device: 'js', dtype: 'bfloat16' });
    expect([loaded.x.dtype, loaded.id.dtype]).to.deep.equal(['bfloat16', 'int32']);
    await saveSafetensors(at('half.safetensors'), { x: loaded.x }, {}, { dtype: 'float32' });
    expect((await readSafetensors(at('half.safetensors'))).entries.get('x')!.dtype).to.equal('F32');
  });

  it('refuses what float16 cannot hold, and leaves the file as it was', async () => {
    await saveSafetensors(at('kept.safetensors'), { a: make('int32', [1], Int32Array.of(1)) });
    const big = make('float32', [2], Float32Array.of(1, -65520));
    await rejection(
      saveSafetensors(at('kept.safetensors'), { big }, {}, { dtype: 'float16' }),
      'INVALID_ARGUMENT',
      /"big": a value must be within float16.*-65520/,
    );
    expect(Object.keys(await loadSafetensors(at('kept.safetensors'), { device: 'js' }))).to.deep.equal(['a']);
    const options = { dtype: 'int8' as 'float16' };
    await rejection(saveSafetensors(at('x'), { big }, {}, options), 'INVALID_ARGUMENT', /dtype must be 'float32'/);
  });

  it('bool stays bool whatever the floats become, and reads as int32 where that is asked for', async () => {
    await saveSafetensors(at('mask.safetensors'), { mask: make('bool', [2], Uint8Array.of(0, 1)) });
    const { mask } = await loadSafetensors(at('mask.safetensors'), { device: 'js', dtype: 'bfloat16' });
    expect([mask.dtype, mask.tolist()]).to.deep.equal(['bool', [0, 1]]);
    const entry = (await readSafetensors(at('mask.safetensors'))).entries.get('mask')!;
    expect(await entry.read('int32')).to.deep.equal(Int32Array.of(0, 1));
    await rejection(entry.read('float32'), 'DTYPE', /bool or int32/);
  });

  it('takes a map, and names that objects treat specially', async () => {
    const one = make('int32', [1], Int32Array.of(1));
    await saveSafetensors(
      at('map.safetensors'),
      new Map([
        ['__proto__', one],
        ['constructor', one],
      ]),
      {},
    );
    const loaded = await loadSafetensors(at('map.safetensors'), { device: 'js' });
    expect(Object.keys(loaded)).to.deep.equal(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(loaded)).to.equal(Object.prototype);
    await saveSafetensors(at('none.safetensors'), {});
    expect(await loadSafetensors(at('none.safetensors'), { device: 'js' })).to.deep.equal({});
  });

  it('round-trips any set of tensors', async () => {
    const shape = fc.array(fc.nat(4), { maxLength: 4 });
    const dtype = fc.constantFrom<DType>('float32', 'bfloat16', 'int32', 'float64');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.tuple(shape, dtype)), async (spec) => {
        const tensors = new Map(
          Object.entries(spec).map(([name, [s, d]]) => {
            const values = Array.from({ length: sizeOf(s) }, (_, i) => i);
            const data =
              d === 'bfloat16' ? Uint16Array.from(values) : d === 'int32' ? Int32Array.from(values) : undefined;
            return [name, make(d, s, data ?? (d === 'float32' ? Float32Array : Float64Array).from(values))];
          }),
        );
        if (tensors.has('__metadata__')) return;
        await saveSafetensors(at('any.safetensors'), tensors);
        const { entries } = await readSafetensors(at('any.safetensors'));
        expect([...entries.keys()]).to.have.members([...tensors.keys()]);
        for (const [name, tensor] of tensors) {
          expect(entries.get(name)!.shape).to.deep.equal(tensor.shape);
          expect(await entries.get(name)!.read()).to.deep.equal((tensor.storage.handle as TypedArray).slice());
        }
      }),
      { numRuns: 40 },
    );
  });

  it('reads tensors larger than one piece, and frees what a failed load made', async () => {
    const n = 5_000_003;
    const big = make(
      'float32',
      [n],
      Float32Array.from({ length: n }, (_, i) => i),
    );
    await saveSafetensors(at('big.safetensors'), { big });
    const { entries } = await readSafetensors(at('big.safetensors'));
    const back = await entries.get('big')!.read();
    expect(Buffer.compare(Buffer.from(back.buffer), Buffer.from((big.storage.handle as Float32Array).buffer))).to.equal(
      0,
    );
    let reading: Promise<Record<string, Tensor>> | undefined;
    const file = await readSafetensors(at('big.safetensors'));
    scope(() => {
      reading = loadEntries(file, { device: 'js' });
    });
    expect((await reading!).big.size, "in somebody's scope").to.equal(n);
    await collectGarbage();
    const before = memory().devices.find(({ device }) => device === 'js')?.bytes;
    writeFileSync(at('overflow.safetensors'), overflowing());
    await rejection(loadSafetensors(at('overflow.safetensors'), { device: 'js' }), 'FORMAT', /entry "b".*int32/);
    expect(memory().devices.find(({ device }) => device === 'js')?.bytes).to.equal(before);
  });

  function overflowing(): Buffer {
    const bytes = file({ a: F32([1], 0, 4), b: { dtype: 'I64', shape: [1], data_offsets: [4, 12] } }, 12);
    bytes.writeBigInt64LE(2n ** 31n, bytes.length - 8);
    return bytes;
  }

  it('converts the dtypes of files', async () => {
    const cases: [string, number, (b: Buffer, at: number) => void, DType, number][] = [
      ['F64', 8, (b, i) => b.writeDoubleLE(0.1, i), 'float32', Math.fround(0.1)],
      ['F64', 8, (b, i) => b.writeDoubleLE(0.1, i), 'float64', 0.1],
      ['F16', 2, (b, i) => b.writeUInt16LE(0x3555, i), 'float32', 0.333251953125],
      ['F16', 2, (b, i) => b.writeUInt16LE(0x0001, i), 'float32', 2 ** -24],
      ['F16', 2, (b, i) => b.writeUInt16LE(0x83ff, i), 'float32', -1023 * 2 ** -24],
      ['F16', 2, (b, i) => b.writeUInt16LE(0x7bff, i), 'float32', 65504],
      ['F16', 2, (b, i) => b.writeUInt16LE(0xfc00, i), 'float32', -Infinity],
      ['F16', 2, (b, i) => b.writeUInt16LE(0x7e00, i), 'float32', NaN],
      ['BF16', 2, (b, i) => b.writeUInt16LE(0x4049, i), 'float32', 3.140625],
      ['BF16', 2, (b, i) => b.writeUInt16LE(0x4049, i), 'bfloat16', 0x4049],
      ['F32', 4, (b, i) => b.writeFloatLE(Math.PI, i), 'bfloat16', 0x4049],
      ['I64', 8, (b, i) => b.writeBigInt64LE(-(2n ** 31n), i), 'int32', -(2 ** 31)],
      ['U64', 8, (b, i) => b.writeBigInt64LE(2n ** 31n - 1n, i), 'int32', 2 ** 31 - 1],
      ['I32', 4, (b, i) => b.writeInt32LE(-5, i), 'int32', -5],
      ['U32', 4, (b, i) => b.writeUInt32LE(5, i), 'int32', 5],
      ['I16', 2, (b, i) => b.writeInt16LE(-5, i), 'int32', -5],
      ['U16', 2, (b, i) => b.writeUInt16LE(65535, i), 'int32', 65535],
      ['I8', 1, (b, i) => b.writeInt8(-5, i), 'int32', -5],
      ['U8', 1, (b, i) => b.writeUInt8(255, i), 'int32', 255],
      ['BOOL', 1, (b, i) => b.writeUInt8(1, i), 'int32', 1],
    ];
    for (const [dtype, width, write, to, expected] of cases) {
      const bytes = file({ x: { dtype, shape: [], data_offsets: [0, width] } }, width);
      write(bytes, bytes.length - width);
      writeFileSync(at('convert.safetensors'), bytes);
      const { entries } = await readSafetensors(at('convert.safetensors'));
      expect([...(await entries.get('x')!.read(to))], dtype).to.deep.equal([expected]);
      const wrong = to === 'int32' ? 'float32' : 'int32';
      await rejection(entries.get('x')!.read(wrong), 'DTYPE', /entry "x"/);
    }
    for (const [dtype, width] of [
      ['I64', 8],
      ['U64', 8],
      ['U32', 4],
    ] as const) {
      const bytes = file({ x: { dtype, shape: [], data_offsets: [0, width] } }, width);
      bytes.fill(0x7f, bytes.length - width).writeUInt8(dtype === 'I64' ? 0x7f : 0xff, bytes.length - 1);
      await rejection(read(bytes), 'FORMAT', /"x".*int32/);
    }
  });

  it('loads floats in the dtype that is asked for, integers as int32', async () => {
    const double = make('float64', [1], Float64Array.of(0.1));
    await saveSafetensors(at('d.safetensors'), { double, id: make('int32', [1], Int32Array.of(3)) });
    const dtypes = async (options: Parameters<typeof loadSafetensors>[1]): Promise<string[]> => {
      const { double, id } = await loadSafetensors(at('d.safetensors'), options);
      return [double.dtype, id.dtype];
    };
    expect(await dtypes({ device: 'js' })).to.deep.equal(['float64', 'int32']);
    expect(await dtypes({ device: 'js', dtype: 'float32' })).to.deep.equal(['float32', 'int32']);
    expect(await dtypes({ device: 'js', dtype: 'bfloat16' })).to.deep.equal(['bfloat16', 'int32']);
    await rejection(dtypes({ device: 'js', dtype: 'int32' as 'float32' }), 'INVALID_ARGUMENT', /dtype/);
  });

  it('refuses what it cannot save', async () => {
    const one = make('int32', [1], Int32Array.of(1));
    await rejection(saveSafetensors(at('x'), { __metadata__: one }), 'INVALID_ARGUMENT');
    await rejection(saveSafetensors(at('x'), { a: 1 as unknown as Tensor }), 'INVALID_ARGUMENT', /"a"/);
    await rejection(
      saveSafetensors(at('x'), { a: one }, { k: 1 as unknown as string }),
      'INVALID_ARGUMENT',
      /metadata\.k/,
    );
    await rejection(saveSafetensors(at('no/such/folder'), { a: one }), 'IO', /ENOENT/);
    one.dispose();
    await rejection(saveSafetensors(at('x'), { a: one }), 'DISPOSED');
  });

  it('keeps tensors alive while it saves them', async () => {
    const one = make('int32', [2], Int32Array.of(1, 2));
    const saved = saveSafetensors(at('alive.safetensors'), { one });
    one.dispose();
    await saved;
    expect(one.storage.freed).to.equal(true);
    const { entries } = await readSafetensors(at('alive.safetensors'));
    expect(await entries.get('one')!.read()).to.deep.equal(Int32Array.of(1, 2));
  });

  it('refuses a file that changed after its header was read', async () => {
    const save = (n: number): Promise<void> =>
      saveSafetensors(at('moving.safetensors'), { a: make('int32', [n], new Int32Array(n)) });
    await save(4);
    const { entries } = await readSafetensors(at('moving.safetensors'));
    await save(2);
    await rejection(entries.get('a')!.read(), 'IO', /changed/);
    await save(4);
    const again = await readSafetensors(at('moving.safetensors'));
    truncateSync(at('moving.safetensors'), 40);
    await rejection(again.entries.get('a')!.read(), 'IO', /changed/);
    renameSync(at('moving.safetensors'), at('gone.safetensors'));
    await rejection(again.entries.get('a')!.read(), 'IO', /ENOENT/);
    await rejection(readSafetensors(at('.')), 'IO');
    const missing = await rejection(readSafetensors(at('missing')), 'IO');
    expect(missing.cause).to.have.property('code', 'ENOENT');
  });

  it('refuses a file that is cut short while it is read', async () => {
    const pieces = 3;
    const size = (pieces * 16 * 1024 * 1024) / 4;
    await saveSafetensors(at('cut.safetensors'), { a: make('float32', [size], new Float32Array(size)) });
    const { entries } = await readSafetensors(at('cut.safetensors'));
    let seen = 0;
    const reading = async (): Promise<void> => {
      for await (const { data } of entries.get('a')!.pieces('float32')) {
        seen += data.length;
        truncateSync(at('cut.safetensors'), 20_000_000);
      }
    };
    await rejection(reading(), 'FORMAT', /cut\.safetensors: the file must be at least \d+ bytes long/);
    expect(seen).to.equal(size / pieces);
  });

  it('takes a header whose metadata is null for one without any', async () => {
    const header = { __metadata__: null, a: F32([1], 0, 4) };
    writeFileSync(at('null.safetensors'), file(header, 4));
    expect(await readSafetensorsMetadata(at('null.safetensors'))).to.deep.equal({});
    expect([...(await readSafetensors(at('null.safetensors'))).entries.keys()]).to.deep.equal(['a']);
  });

  describe('hostile headers', () => {
    const cases: [string, Buffer, RegExp][] = [
      ['an empty file', Buffer.alloc(0), /at least 8/],
      ['seven bytes', Buffer.alloc(7), /at least 8/],
      ['no header', Buffer.alloc(8), /value/],
      ['a length beyond the file', file({}, 0, 3n), /header length.*at most 2, got 3/],
      ['a length of 2^64 - 1', file({}, 0, 2n ** 64n - 1n), /header length/],
      ['a length of 2^63', file({}, 8, 2n ** 63n), /header length/],
      ['a length in the middle of the JSON', file({ a: F32([1], 0, 4) }, 4, 10n), /line 1/],
      ['an array', file('[]'), /object/],
      ['leading space', file(' {}'), /object/],
      ['a byte order mark', file('\ufeff{}'), /value/],
      ['text behind the object', file('{} x'), /end/],
      ['bytes that are no UTF-8', Buffer.concat([file('', 0, 4n), Buffer.from([0x7b, 0x22, 0xff, 0x7d])]), /UTF-8/],
      ['deep arrays', file('{"a":' + '['.repeat(2e6)), /deep/],
      ['deep objects', file('{"a":'.repeat(1e5)), /deep/],
      ['a name twice', file('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{}}'), /second/],
      ['bare words', file('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}'), /value/],
      ['an entry that is a number', file({ a: 1 }), /entry "a"/],
      ['an entry that is null', file({ a: null }), /entry "a"/],
      ['metadata that is no object', file({ __metadata__: 'x' }), /__metadata__/],
      ['metadata that is no string', file({ __metadata__: { a: 1 } }), /__metadata__/],
      ['a tagged infinity', file({ __metadata__: { __float__: 1 } }), /__metadata__/],
      ['no dtype', file({ a: { shape: [0], data_offsets: [0, 0] } }), /dtype/],
      ['an unknown dtype', file({ a: { dtype: 'toString', shape: [0], data_offsets: [0, 0] } }), /dtype/],
      ['no shape', file({ a: { dtype: 'F32', data_offsets: [0, 0] } }), /shape/],
      ['a negative size', file({ a: F32([-1], 0, 0) }), /shape/],
      ['two negative sizes', file({ a: F32([-1, -1], 0, 4) }, 4), /shape/],
      ['a fractional size', file({ a: F32([0.5, 2], 0, 4) }, 4), /shape/],
      ['a string size', file({ a: F32(['1'], 0, 4) }, 4), /shape/],
      ['a huge size', file({ a: F32([2 ** 53], 0, 4) }, 4), /shape/],
      ['a huge product', file({ a: F32([2 ** 40, 2 ** 40], 0, 4) }, 4), /shape/],
      ['a huge product times 0', file({ a: F32([2 ** 40, 2 ** 40, 0], 0, 0) }), /shape/],
      ['a product of 2^64', file({ a: F32([2 ** 32, 2 ** 32], 0, 0) }), /shape/],
      ['a size that the bytes do not have', file({ a: F32([2 ** 40], 0, 4) }, 4), /bytes apart/],
      ['no offsets', file({ a: { dtype: 'F32', shape: [0] } }), /data_offsets/],
      ['three offsets', file({ a: { dtype: 'F32', shape: [0], data_offsets: [0, 0, 0] } }), /data_offsets/],
      ['offsets in reverse', file({ a: F32([1], 4, 0) }, 4), /data_offsets/],
      ['offsets beyond the file', file({ a: F32([2], 0, 8) }, 4), /data_offsets/],
      ['a negative offset', file({ a: F32([1], -4, 0) }, 4), /data_offsets/],
      ['an overlap', file({ a: F32([2], 0, 8), b: F32([2], 4, 12) }, 12), /overlap/],
      ['one place twice', file({ a: F32([1], 0, 4), b: F32([1], 0, 4) }, 4), /overlap/],
      ['a hole', file({ a: F32([1], 0, 4), b: F32([1], 8, 12) }, 12), /hole/],
      ['a hole at the start', file({ a: F32([1], 4, 8) }, 8), /hole/],
      ['bytes that belong to nothing', file({ a: F32([1], 0, 4) }, 8), /after its header/],
      ['bytes and no entry', file({}, 1), /after its header/],
    ];
    for (const [what, bytes, message] of cases) {
      it(what, async () => {
        const error = await rejection(read(bytes), 'FORMAT', message);
        expect(error.message).to.include('case.safetensors');
      });
    }

    it('leaves prototypes alone', async () => {
      await rejection(read(file('{"__proto__":{"polluted":1}}')), 'FORMAT', /__proto__/);
      await read(
        file('{"__metadata__":{"__proto__":"x"},"__proto__":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
      );
      expect('polluted' in {}).to.equal(false);
    });

    it('gives nothing but FastWeightsError for damaged files', async () => {
      const good = file({ __metadata__: { a: 'b' }, a: F32([2], 0, 8), b: F32([0, 3], 8, 8), c: F32([], 8, 12) }, 12);
      const cut = fc.nat(good.length).map((n) => good.subarray(0, n));
      const flips = fc.array(fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 3,
      });
      const flipped = flips.map((list) => {
        const bytes = Buffer.from(good);
        for (const [position, mask] of list) bytes[position] ^= mask;
        return bytes;
      });
      const noise = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
      await fc.assert(
        fc.asyncProperty(fc.oneof(cut, flipped, noise), async (bytes) => {
          const error: unknown = await read(bytes).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          if (error !== undefined) expect(error).to.be.instanceOf(FastWeightsError).with.property('code', 'FORMAT');
        }),
        { numRuns: 600 },
      );
    });

    it('gives nothing but FastWeightsError for made-up headers', async () => {
      const odd = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(0, 4, 8, 2 ** 53, -0, null, '4', [], {}));
      const entry = fc.record(
        {
          dtype: fc.constantFrom('F32', 'I64', 'BOOL', 'F8', '__proto__', 3),
          shape: fc.oneof(fc.array(odd, { maxLength: 3 }), odd),
          data_offsets: fc.oneof(fc.array(odd, { maxLength: 3 }), odd),
        },
        { requiredKeys: [] },
      );
      const header = fc.dictionary(fc.constantFrom('a', 'b', '__metadata__', 'constructor'), fc.oneof(entry, odd));
      await fc.assert(
        fc.asyncProperty(header, fc.nat(12), async (value, dataBytes) => {
          await read(file(value, dataBytes)).catch((error: unknown) =>
            expect(error).to.be.instanceOf(FastWeightsError),
          );
        }),
        { numRuns: 400 },
      );
    });
  });

  if (goldenFolder) {
    it('reads files of the reference implementation', async () => {
      const path = join(goldenFolder!, 'models/delta_net/expected.safetensors');
      const { entries, metadata } = await readSafetensors(path);
      expect(metadata).to.have.property('source');
      expect(entries.get('input_ids')).to.include({ dtype: 'I64' }).and.have.property('shape').deep.equal([2, 66]);
      const [logits, logits64] = [await entries.get('logits')!.read(), await entries.get('logits64')!.read('float32')];
      for (let i = 0; i < logits64.length; i++) expect(logits[i]).to.be.closeTo(logits64[i], 1e-4);
    });
  }
});
