// Mutations of weight files: their headers, their bytes, the index of shards, and what stands in the place of files.
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '../random';
import { garbled, misspelt, type Mutation, onBytes } from './config';
import { DEEP, type Entry, type Folder, INDEX, type JsonRecord, type Value, type WeightFile } from './folder';

const FILE = 'model.safetensors';

const fileName = (folder: Folder, random: Random): string => random.pick([...folder.weights.keys()]);

interface Picked {
  file: WeightFile;
  entry: Entry;
  info: JsonRecord;
}

function pickEntry(folder: Folder, random: Random): Picked | undefined {
  const file = folder.weights.get(fileName(folder, random))!;
  const tensors = file.entries.filter(
    ({ name, info }) => name !== '__metadata__' && typeof info === 'object' && info !== null && 'shape' in info,
  );
  if (tensors.length === 0) return undefined;
  const entry = random.pick(tensors);
  return { file, entry, info: entry.info as JsonRecord };
}

const DTYPES: readonly Value[] = [
  'F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'I64', 'U64', 'I32', 'U32', 'I16', 'U16', 'I8', 'U8', 'BOOL',
  'F4', 'f32', 'toString', '', null, 5, [],
]; // prettier-ignore

const SIZES: readonly Value[] = [0, 1, 2, -1, 0.5, 2 ** 31, 2 ** 53, 1e300, NaN, '3', null, [], DEEP];

function mutatedShape(shape: Value[], random: Random): Value {
  const at = random.int(0, Math.max(0, shape.length - 1));
  const value = Number(shape[at]);
  const one = [random.pick(SIZES), value + 1, 2 * value, value / 2];
  const changed = shape.with.length && shape.length > 0 ? shape.with(at, random.pick<Value>(one)) : [1];
  const size = shape.reduce<number>((product, d) => product * Number(d), 1);
  return random.pick<Value>([
    changed,
    shape.toReversed(),
    [size],
    [1, ...shape],
    [...shape, 1],
    [],
    [...shape, 0],
    [0, 2 ** 53],
    null,
    'x',
    Array.from({ length: 1000 }, () => 1),
  ]);
}

function mutatedOffsets([begin, end]: number[], random: Random): Value {
  const by = random.pick([1, -1, 4, -4, 64]);
  return random.pick<Value>([
    [begin + by, end + by],
    [begin, end + by],
    [begin + by, end],
    [0, end - begin],
    [end, begin],
    [begin, 2 ** 53],
    [-by, end],
    [begin],
    [begin, end, end],
    null,
    [String(begin), end],
    [begin + 0.5, end + 0.5],
    [NaN, Infinity],
    [],
  ]);
}

/** Takes a tensor out and closes the hole; the file is right again. */
function removeTensor(file: WeightFile, entry: Entry): void {
  const [begin, end] = (entry.info as { data_offsets: [number, number] }).data_offsets;
  file.entries = file.entries.filter((each) => each !== entry);
  file.data = Buffer.concat([file.data.subarray(0, begin), file.data.subarray(end)]);
  for (const { info } of file.entries) {
    const offsets = (info as JsonRecord | null)?.data_offsets;
    if (!Array.isArray(offsets) || (offsets[0] as number) < end) continue;
    (info as JsonRecord).data_offsets = offsets.map((at) => (at as number) - (end - begin));
  }
}

/** Adds a tensor behind all others; the file stays right. */
function addTensor(file: WeightFile, name: string, shape: number[]): void {
  const [begin, bytes] = [file.data.length, 4 * shape.reduce((a, b) => a * b, 1)];
  file.entries.push({ name, info: { dtype: 'F32', shape, data_offsets: [begin, begin + bytes] } });
  file.data = Buffer.concat([file.data, new Uint8Array(bytes)]);
}

const isRight = ({ info }: Picked, file: WeightFile): boolean => {
  const offsets = info.data_offsets;
  return Array.isArray(offsets) && offsets.length === 2 && offsets.every((at) => Number.isInteger(at)) &&
    offsets[0] >= 0 && offsets[0] <= offsets[1] && offsets[1] <= file.data.length; // prettier-ignore
};

export const WEIGHT_MUTATIONS: Record<string, { weight: number; apply: Mutation }> = {
  dtype: {
    weight: 2,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked) return undefined;
      picked.info.dtype = random.pick(DTYPES);
      return `dtype of ${picked.entry.name}: ${JSON.stringify(picked.info.dtype)}`;
    },
  },
  shape: {
    weight: 3,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked || !Array.isArray(picked.info.shape)) return undefined;
      picked.info.shape = mutatedShape(picked.info.shape, random);
      return `shape of ${picked.entry.name}: ${JSON.stringify(picked.info.shape).slice(0, 60)}`;
    },
  },
  offsets: {
    weight: 2,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked || !isRight(picked, picked.file)) return undefined;
      picked.info.data_offsets = mutatedOffsets(picked.info.data_offsets as number[], random);
      return `data_offsets of ${picked.entry.name}: ${JSON.stringify(picked.info.data_offsets)}`;
    },
  },
  entry: {
    weight: 1,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked) return undefined;
      picked.entry.info = structuredClone(random.pick<Value>([null, [], {}, 'x', 3, DEEP, { dtype: 'F32' }]));
      return `entry ${picked.entry.name}: ${JSON.stringify(picked.entry.info)}`;
    },
  },
  name: {
    weight: 2,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked) return undefined;
      const before = String(picked.entry.name);
      const others = ['', '__proto__', '__metadata__', 'constructor', 'x'.repeat(10_000), before.replace(/\d/, '7')];
      picked.entry.name = random.chance(0.5) ? misspelt(before, random) : random.pick(others);
      return `${before} called ${String(picked.entry.name).slice(0, 60)}`;
    },
  },
  lost: {
    weight: 2,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked || !isRight(picked, picked.file)) return undefined;
      removeTensor(picked.file, picked.entry);
      return `without ${picked.entry.name}`;
    },
  },
  twice: {
    weight: 1,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked) return undefined;
      picked.file.entries.push(structuredClone(picked.entry));
      return `${picked.entry.name} twice`;
    },
  },
  added: {
    weight: 1,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked) return undefined;
      const name = random.pick(['x', `${picked.entry.name}_scale`, `${picked.entry.name}_scale_inv`, 'lm_head.weight']);
      const shape = random.pick([[], [0], [1], [3, 2], (picked.info.shape as number[]) ?? []]);
      if (!Array.isArray(shape) || !shape.every((d) => Number.isInteger(d) && d >= 0 && d < 1000)) return undefined;
      addTensor(picked.file, name, shape);
      return `with ${name} ${JSON.stringify(shape)}`;
    },
  },
  quantised: {
    weight: 1,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked || !isRight(picked, picked.file)) return undefined;
      const { shape } = picked.info as { shape: number[] };
      if (!Array.isArray(shape)) return undefined;
      const name = String(picked.entry.name);
      removeTensor(picked.file, picked.entry);
      const [begin, size] = [picked.file.data.length, shape.reduce((a, b) => a * b, 1)];
      if (!(size >= 0 && size < 1e6)) return undefined;
      picked.file.entries.push({ name, info: { dtype: 'F8_E4M3', shape, data_offsets: [begin, begin + size] } });
      picked.file.data = Buffer.concat([picked.file.data, new Uint8Array(size).fill(0x38)]);
      const scales = random.pick<number[]>([[], [1], [shape[0] ?? 1], [shape[0] ?? 1, 1], [1, 1], [2, 2], [0]]);
      addTensor(
        picked.file,
        `${name}_scale_inv`,
        scales.filter((d) => d < 1000),
      );
      folder.config.quantization_config = random.pick<Value>([
        { quant_method: 'fp8', weight_block_size: [128, 128] },
        { quant_method: 'fp8', weight_block_size: random.pick<Value>([[1, 1], [0, 1], 'x', [2 ** 53, 1], [1e308, 1]]) },
        { quant_method: random.pick<Value>(['gptq', 5, null, 'compressed-tensors']) },
        'fp8',
      ]);
      return `${name} of 8 bits, scales ${JSON.stringify(scales)}, ${JSON.stringify(folder.config.quantization_config)}`;
    },
  },
  numbers: {
    weight: 1,
    apply(folder, random) {
      const picked = pickEntry(folder, random);
      if (!picked || !isRight(picked, picked.file)) return undefined;
      const [begin, end] = picked.info.data_offsets as [number, number];
      const byte = random.pick([0, 0x7f, 0xff, 0x80]);
      picked.file.data = Uint8Array.from(picked.file.data).fill(byte, begin, end);
      return `${picked.entry.name} of bytes ${byte}`;
    },
  },
  metadata: {
    weight: 1,
    apply(folder, random) {
      const file = folder.weights.get(fileName(folder, random))!;
      const info = random.pick<Value>([null, 5, [], { format: 5 }, { format: 'tf' }, 'x', { format: DEEP }]);
      file.entries = [{ name: '__metadata__', info }, ...file.entries.filter(({ name }) => name !== '__metadata__')];
      return `__metadata__: ${JSON.stringify(info)}`;
    },
  },
  length: {
    weight: 1,
    apply(folder, random) {
      const file = fileName(folder, random);
      const length = random.pick([0n, 1n, 7n, 2n ** 63n, 2n ** 64n - 1n, 100_000_001n, 4_000_000_000n, 2n ** 32n]);
      folder.last.push(
        onBytes(file, (bytes) => {
          const changed = Buffer.from(bytes);
          if (changed.length >= 8) changed.writeBigUInt64LE(length);
          return changed;
        }),
      );
      return `header of ${file} said to have ${length} bytes`;
    },
  },
  bytes: {
    weight: 2,
    apply(folder, random) {
      const file = fileName(folder, random);
      const { text, change } = garbled(random);
      folder.last.push(onBytes(file, change));
      return `${file} ${text}`;
    },
  },
  header: {
    weight: 1,
    apply(folder, random) {
      const file = fileName(folder, random);
      const json = random.pick([
        '{}',
        '[]',
        'null',
        '',
        ' {}',
        '\ufeff{}',
        '['.repeat(1e5),
        '{"a":'.repeat(1e5),
        '{"\ud800":1}',
      ]);
      const head = Buffer.from(json);
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(head.length));
      folder.last.push(onBytes(file, () => Buffer.concat([length, head])));
      return `header of ${file}: ${JSON.stringify(json.slice(0, 20))}`;
    },
  },
  gone: {
    weight: 1,
    apply(folder, random) {
      const file = random.pick(['config.json', INDEX, ...folder.weights.keys()]);
      const kind = random.pick([
        'nothing',
        'a folder',
        'a link to itself',
        'a link to nothing',
        'a device without end',
      ]);
      folder.last.push((dir) => {
        const at = path.join(dir, file);
        rmSync(at, { recursive: true, force: true });
        if (kind === 'a folder') mkdirSync(at);
        if (kind === 'a link to itself') symlinkSync(at, at);
        if (kind === 'a link to nothing') symlinkSync(path.join(dir, 'nowhere'), at);
        if (kind === 'a device without end') symlinkSync('/dev/zero', at);
      });
      return `${kind} in the place of ${file}`;
    },
  },
  index: {
    weight: 4,
    apply(folder, random) {
      if (!folder.index) {
        // One file as the only shard.
        const file = folder.weights.get(FILE);
        if (!file) return undefined;
        const shard = 'model-00001-of-00001.safetensors';
        folder.weights = new Map([[shard, file]]);
        const names = file.entries.map(({ name }) => String(name)).filter((name) => name !== '__metadata__');
        folder.index = { weight_map: Object.fromEntries(names.map((name) => [name, shard])) };
        if (random.chance(0.3)) return 'one shard';
      }
      const map = folder.index.weight_map;
      if (typeof map !== 'object' || map === null || Array.isArray(map) || random.chance(0.1)) {
        folder.index = structuredClone(
          random.pick<JsonRecord>([
            {},
            { weight_map: null },
            { weight_map: [] },
            { weight_map: {} },
            { weight_map: DEEP },
          ]),
        );
        return `index ${JSON.stringify(folder.index)}`;
      }
      const names = Object.keys(map);
      if (names.length === 0) return undefined;
      const name = random.pick(names);
      const others: Value[] = [
        ...folder.weights.keys(),
        ...['../model.safetensors', '/etc/passwd', INDEX, 'config.json', '', '.', '..', 'model\0.safetensors'],
        ...['nowhere.safetensors', 'a/b.safetensors', 'C:\\x.safetensors', 'x'.repeat(5000) + '.safetensors'],
        ...[null, 5, {}, [], '.safetensors', 'MODEL-00001-of-00001.safetensors', '..\\x.safetensors'],
      ];
      if (random.chance(0.2)) delete (map as JsonRecord)[name];
      else (map as JsonRecord)[random.chance(0.8) ? name : `${name}x`] = random.pick(others);
      return `index: ${name}: ${JSON.stringify((map as JsonRecord)[name] ?? null).slice(0, 60)}`;
    },
  },
};
