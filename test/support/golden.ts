// Vectors computed with the authors' own programs, read when they lie beside the repository (../shared/golden).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { devices, type Device, tensor, type DType, type Tensor } from '../../lib';

const root = path.resolve(__dirname, '../../../shared/golden');

/** The folder with the vectors, or undefined where they are not installed. */
export const goldenFolder = existsSync(root) ? root : undefined;

export interface Array64 {
  shape: number[];
  data: Float64Array;
  integer: boolean;
}

export interface GoldenFile {
  name: string;
  metadata: Record<string, string>;
  tensors: Map<string, Array64>;
}

/** Reads a safetensors file whole; deliberately not the library's reader. */
export function readGolden(file: string): GoldenFile {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Array64>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = entry.data_offsets.map((o) => o + 8 + length);
    const part = bytes.subarray(begin, end);
    const raw = part.buffer.slice(part.byteOffset, part.byteOffset + part.length);
    tensors.set(name, { shape: entry.shape, data: decode(entry.dtype, raw), integer: entry.dtype.startsWith('I') });
  }
  return {
    name: path.basename(file, '.safetensors'),
    metadata: (header.__metadata__ ?? {}) as unknown as Record<string, string>,
    tensors,
  };
}

function decode(dtype: string, raw: ArrayBuffer): Float64Array {
  switch (dtype) {
    case 'F64':
      return new Float64Array(raw);
    case 'F32':
      return Float64Array.from(new Float32Array(raw));
    case 'I32':
      return Float64Array.from(new Int32Array(raw));
    case 'I64':
      return Float64Array.from(new BigInt64Array(raw), Number);
    default:
      throw new Error(`no reader for ${dtype}`);
  }
}

/** All cases of one folder. */
export function goldenCases(folder: string): GoldenFile[] {
  if (!goldenFolder) return [];
  const dir = path.join(goldenFolder, folder);
  return readdirSync(dir)
    .filter((f) => f.endsWith('.safetensors'))
    .sort()
    .map((f) => readGolden(path.join(dir, f)));
}

export interface Target {
  device: Device;
  dtype: Exclude<DType, 'int32' | 'bool'>;
}

/**
 * Where and in which precision vectors are tested: float64 and float32 on `js`, float32 on every native device; with
 * FAST_WEIGHTS_DEVICE=cuda or cuda-emulation there only. With `bfloat16` also that, on devices that compute in it.
 */
export function targets({ bfloat16 = false } = {}): Target[] {
  const card = devices().find(({ device }) => device === process.env.FAST_WEIGHTS_DEVICE && device.startsWith('cuda'));
  if (card) {
    const dtypes = bfloat16 ? (['float32', 'bfloat16'] as const) : (['float32'] as const);
    return dtypes.map((dtype) => ({ device: card.device, dtype }));
  }
  const native = devices().filter((d) => d.available && d.device !== 'js');
  return [
    { device: 'js', dtype: 'float64' },
    { device: 'js', dtype: 'float32' },
    ...native.map((d) => ({ device: d.device, dtype: 'float32' as const })),
  ];
}

/** A tensor from a stored array; integers stay int32. */
export function toTensor(a: Array64, where: Target, requiresGrad = false): Tensor {
  return tensor(a.data, {
    shape: a.shape,
    device: where.device,
    dtype: a.integer ? 'int32' : where.dtype,
    requiresGrad,
  });
}
