// Reading safetensors: the header at once, then one tensor at a time by its place in the file.
import { open, type FileHandle } from '../../platform';
import {
  argumentError,
  checkChoice,
  checkOptions,
  FastWeightsError,
  isFloat,
  newArray,
  outsideScopes,
  sameShape,
  sizeOf,
  Storage,
  Tensor,
} from '../../core';
import type { Device, DType, OptionNames, TypedArray } from '../../core';
import { defaultDevice, getBackend } from '../../backends';
import { checkPath, formatError, ioError } from '../failure';
import { convert, nativeDType } from './convert';
import { fileDTypeBytes, headerLength, parseHeader, type FileDType } from './header';

/** Bytes in flight of a tensor that is read or written, so that memory does not grow with its size. */
export const PIECE_BYTES = 16 * 1024 * 1024;

/** A file, or the shards of a model as one: what is in it, and how to read it. */
export interface SafetensorsFile {
  /** The strings under `__metadata__`; empty where there are none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Tensors by name. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

/** One tensor of a file. Nothing is held open between reads. */
export class SafetensorsEntry {
  /** Number of elements, the product of `shape`. */
  readonly size: number;

  constructor(
    private readonly source: Source,
    /** Its key in the header. */
    readonly name: string,
    /** As it is stored; `nativeDType` is what it becomes. */
    readonly dtype: FileDType,
    /** Row-major; [] for a single number. */
    readonly shape: readonly number[],
    /** Of its first byte in the file. */
    readonly position: number,
  ) {
    this.size = sizeOf(shape);
  }

  /** The library's dtype that `read` gives unless asked for another. */
  get nativeDType(): DType {
    return nativeDType(this.dtype);
  }

  /** The elements in the storage format of `dtype`: any float as any float, integers as int32, bool as either. */
  async read(dtype: DType = this.nativeDType): Promise<TypedArray> {
    let out: TypedArray | undefined;
    for await (const { at, data } of this.pieces(dtype)) {
      if (data.length === this.size) return data;
      out ??= newArray(dtype, this.size);
      out.set(data, at);
    }
    return out ?? newArray(dtype, 0);
  }

  /** The same in order, piece by piece, each a fresh array of so many elements. */
  async *pieces(
    dtype: DType,
    elements: number = PIECE_BYTES / fileDTypeBytes(this.dtype),
  ): AsyncGenerator<{ at: number; data: TypedArray }, undefined> {
    const where = `${this.source.path}: entry ${JSON.stringify(this.name)}`;
    const native = this.nativeDType;
    if (isFloat(dtype) !== isFloat(native) || (dtype === 'bool' && native !== 'bool')) {
      const expected = isFloat(native) ? 'a floating-point dtype' : native === 'bool' ? 'bool or int32' : 'int32';
      throw argumentError('DTYPE', where, 'dtype', expected, dtype);
    }
    if (this.size === 0) return;
    const width = fileDTypeBytes(this.dtype);
    const file = await this.source.open();
    try {
      for (let at = 0; at < this.size; at += elements) {
        const bytes = new Uint8Array(Math.min(this.size - at, elements) * width);
        await readFully(this.source.path, file, bytes, this.position + at * width);
        yield { at, data: convert(where, this.dtype, bytes.buffer, dtype) };
      }
    } finally {
      await file.close();
    }
  }

  /** The elements of `shape` from `offset` on, as a tensor of its own. */
  part(name: string, offset: number, shape: readonly number[]): SafetensorsEntry {
    const position = this.position + offset * fileDTypeBytes(this.dtype);
    return new SafetensorsEntry(this.source, name, this.dtype, shape, position);
  }

  /** Whether another tensor holds the same values, floats in whatever dtype; NaN equals NaN. */
  async equals(other: SafetensorsEntry): Promise<boolean> {
    const floats = isFloat(this.nativeDType);
    if (!sameShape(this.shape, other.shape) || floats !== isFloat(other.nativeDType)) return false;
    const dtype = floats ? 'float64' : 'int32';
    const elements = PIECE_BYTES / 8;
    const pieces = other.pieces(dtype, elements);
    try {
      for await (const { data } of this.pieces(dtype, elements)) {
        const { data: others } = (await pieces.next()).value!;
        if (!data.every((x, i) => x === others[i] || (Number.isNaN(x) && Number.isNaN(others[i])))) return false;
      }
      return true;
    } finally {
      await pieces.return(undefined);
    }
  }
}

/** A path and what stood there when its header was read. */
class Source {
  private constructor(
    readonly path: string,
    readonly bytes: number,
    private readonly identity: string,
  ) {}

  static async of(path: string, file: FileHandle): Promise<Source> {
    const { size } = await file.stat();
    return new Source(path, size, await identify(file));
  }

  /** Refuses a file that replaced the one whose header is known. */
  async open(): Promise<FileHandle> {
    const file = await openFile(this.path);
    if ((await identify(file)) === this.identity) return file;
    await file.close();
    throw new FastWeightsError('IO', `readSafetensors: ${this.path} changed since its header was read`);
  }
}

async function identify(file: FileHandle): Promise<string> {
  const { ino, size, mtimeNs } = await file.stat({ bigint: true });
  return `${ino} ${size} ${mtimeNs}`;
}

async function openFile(path: string): Promise<FileHandle> {
  checkPath('readSafetensors', path);
  try {
    return await open(path, 'r');
  } catch (error) {
    throw ioError('readSafetensors', path, error);
  }
}

async function readFully(path: string, file: FileHandle, out: Uint8Array, position: number): Promise<void> {
  try {
    for (let at = 0; at < out.length;) {
      const { bytesRead } = await file.read(out, at, out.length - at, position + at);
      if (bytesRead === 0)
        throw formatError(`${path}: the file`, `at least ${position + out.length} bytes long`, `${position + at}`);
      at += bytesRead;
    }
  } catch (error) {
    throw ioError('readSafetensors', path, error);
  }
}

/** Reads and checks the header of one file. */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openFile(path);
  try {
    const source = await Source.of(path, file);
    const prefix = new Uint8Array(8);
    await readFully(path, file, prefix.subarray(0, Math.min(8, source.bytes)), 0);
    const length = headerLength(path, prefix, source.bytes);
    const json = new Uint8Array(length);
    await readFully(path, file, json, 8);
    const { metadata, tensors } = parseHeader(path, json, source.bytes - 8 - length);
    const entries = new Map<string, SafetensorsEntry>();
    for (const [name, { dtype, shape, begin }] of tensors) {
      entries.set(name, new SafetensorsEntry(source, name, dtype, shape, 8 + length + begin));
    }
    return { metadata, entries };
  } finally {
    await file.close();
  }
}

/** The strings under `__metadata__` of a file, of which only the header is read. */
export async function readSafetensorsMetadata(path: string): Promise<Readonly<Record<string, string>>> {
  return (await readSafetensors(path)).metadata;
}

/** Options of `loadSafetensors` and its kin. */
export interface LoadOptions {
  /** Where the tensors go; the default device as it is at the call. */
  device?: Device;
  /** Of the floating-point tensors; by default the file's own (float64 becomes float32 except on `js`). */
  dtype?: 'float32' | 'bfloat16' | 'float64';
}

const LOAD: OptionNames<LoadOptions> = { device: true, dtype: true };

/** One tensor of a file on a device. */
export async function loadEntry(entry: SafetensorsEntry, options: LoadOptions = {}): Promise<Tensor> {
  checkOptions('loadSafetensors', options, LOAD);
  const backend = getBackend(options.device ?? defaultDevice());
  const dtype = dtypeOnDevice(entry, backend.device, options.dtype);
  // The caller's scope may close meanwhile.
  const tensor = outsideScopes(() => new Tensor(new Storage(backend, dtype, entry.size), entry.shape));
  try {
    for await (const { at, data } of entry.pieces(dtype)) backend.write(tensor.storage.handle, at, data);
    return tensor;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}

function dtypeOnDevice(entry: SafetensorsEntry, device: Device, asked: LoadOptions['dtype']): DType {
  if (asked !== undefined) {
    checkChoice('loadSafetensors', 'dtype', asked, ['float32', 'bfloat16', 'float64']);
    if (asked === 'float64' && device !== 'js') {
      throw argumentError('DTYPE', 'loadSafetensors', 'dtype', `float32 or bfloat16 on ${device}`, asked);
    }
  }
  const native = entry.nativeDType;
  if (!isFloat(native)) return native;
  return asked ?? (native === 'float64' && device !== 'js' ? 'float32' : native);
}

/** All tensors of a file that is already open, by name. */
export async function loadEntries(file: SafetensorsFile, options: LoadOptions = {}): Promise<Record<string, Tensor>> {
  checkOptions('loadSafetensors', options, LOAD);
  const place = placeOf(options);
  const tensors: [string, Tensor][] = [];
  try {
    for (const [name, entry] of file.entries) tensors.push([name, await loadEntry(entry, place)]);
  } catch (error) {
    for (const [, tensor] of tensors) tensor.dispose();
    throw error;
  }
  return Object.fromEntries(tensors);
}

/** All tensors of a file by name. */
export async function loadSafetensors(path: string, options: LoadOptions = {}): Promise<Record<string, Tensor>> {
  checkOptions('loadSafetensors', options, LOAD);
  const place = placeOf(options);
  return loadEntries(await readSafetensors(path), place);
}

/** The default device as it is at the beginning: others may set it meanwhile. */
export function placeOf(options: LoadOptions): LoadOptions {
  return { ...options, device: options.device ?? defaultDevice() };
}
