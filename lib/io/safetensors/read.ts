// Reading safetensors: the header at once, then one tensor at a time by its place in the file.
import { open, type FileHandle } from '../../platform';
import {
  argumentError,
  checkChoice,
  checkInstance,
  checkObject,
  checkOptions,
  FastWeightsError,
  isFloat,
  outsideScopes,
  Storage,
  Tensor,
} from '../../core';
import type { Device, DType, OptionNames } from '../../core';
import { defaultDevice, getBackend } from '../../backends';
import { checkPath, formatError, ioError } from '../failure';
import { regularFile } from '../json';
import { convert } from './convert';
import { fileDTypeBytes, headerLength, parseHeader, type FileDType } from './header';
import { type Piece, TensorSource } from './source';

/** A file, or the shards of a model as one: what is in it, and how to read it. */
export interface SafetensorsFile {
  /** The strings under `__metadata__`; empty where there are none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Tensors by name. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

/** One tensor of a file. Nothing is held open between reads. */
export class SafetensorsEntry extends TensorSource {
  constructor(
    private readonly source: Source,
    name: string,
    dtype: FileDType,
    shape: readonly number[],
    /** Of its first byte in the file. */
    readonly position: number,
  ) {
    super(name, dtype, shape);
  }

  async *pieces(dtype: DType, elements = this.pieceElements): AsyncGenerator<Piece, undefined> {
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
}

/** Where the bytes of a file are. */
interface Source {
  /** The name of the file in errors. */
  readonly path: string;
  readonly bytes: number;
  open(): Promise<Opened>;
}

interface Opened {
  /** Reads so many bytes as `out` holds from a position on, or fewer; none behind the end. */
  read(out: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

/** A path and what stood there when its header was read. */
class FileSource implements Source {
  private constructor(
    readonly path: string,
    readonly bytes: number,
    private readonly identity: string,
  ) {}

  static async of(path: string): Promise<FileSource> {
    const file = await openFile(path);
    try {
      const { size } = await file.stat();
      return new FileSource(path, size, await identify(file));
    } finally {
      await file.close();
    }
  }

  /** Refuses a file that replaced the one whose header is known. */
  async open(): Promise<FileHandle> {
    const file = await openFile(this.path);
    if ((await identify(file)) === this.identity) return file;
    await file.close();
    throw new FastWeightsError('IO', `readSafetensors: ${this.path} changed since its header was read`);
  }
}

/** A file that is held open: what takes its place meanwhile is another one. */
class HeldSource implements Source {
  constructor(
    readonly path: string,
    readonly bytes: number,
    private readonly file: FileHandle,
  ) {}

  async open(): Promise<Opened> {
    return {
      read: (out, offset, length, position) => this.file.read(out, offset, length, position),
      close: async () => undefined,
    };
  }
}

/** Bytes in memory, which stay as they are. */
class BytesSource implements Source {
  constructor(
    readonly path: string,
    private readonly data: Uint8Array,
  ) {}

  get bytes(): number {
    return this.data.length;
  }

  async open(): Promise<Opened> {
    return {
      read: async (out, offset, length, position) => {
        const piece = this.data.subarray(position, position + length);
        out.set(piece, offset);
        return { bytesRead: piece.length };
      },
      close: async () => undefined,
    };
  }
}

async function identify(file: FileHandle): Promise<string> {
  const { ino, size, mtimeNs } = await file.stat({ bigint: true });
  return `${ino} ${size} ${mtimeNs}`;
}

async function openFile(path: string): Promise<FileHandle> {
  checkPath('readSafetensors', path);
  // A pipe would be waited for.
  await regularFile('readSafetensors', path);
  try {
    return await open(path, 'r');
  } catch (error) {
    throw ioError('readSafetensors', path, error);
  }
}

async function readFully(path: string, file: Opened, out: Uint8Array, position: number): Promise<void> {
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
  return readHeader(await FileSource.of(path));
}

/** Reads one file that others may replace meanwhile: it is open until `use` has ended, and its entries are read there alone. */
export async function withSafetensors<T>(path: string, use: (file: SafetensorsFile) => Promise<T>): Promise<T> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    return await use(await readHeader(new HeldSource(path, size, file)));
  } finally {
    await file.close();
  }
}

/** The same of a file's bytes, which must not change; `name` stands for its path in errors. */
export function decodeSafetensors(bytes: Uint8Array, name: string): Promise<SafetensorsFile> {
  return readHeader(new BytesSource(name, bytes));
}

async function readHeader(source: Source): Promise<SafetensorsFile> {
  const { path, bytes } = source;
  const file = await source.open();
  try {
    const prefix = new Uint8Array(8);
    await readFully(path, file, prefix.subarray(0, Math.min(8, bytes)), 0);
    const length = headerLength(path, prefix, bytes);
    const json = new Uint8Array(length);
    await readFully(path, file, json, 8);
    const { metadata, tensors } = parseHeader(path, json, bytes - 8 - length);
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

export const LOAD: OptionNames<LoadOptions> = { device: true, dtype: true };

/** Overwrites a contiguous tensor, in its dtype, piece by piece: no second one of its size is made. */
export async function readInto(tensor: Tensor, source: TensorSource): Promise<void> {
  const backend = getBackend(tensor.device);
  for await (const { at, data } of source.pieces(tensor.dtype)) {
    backend.write(tensor.storage.handle, tensor.offset + at, data);
  }
  tensor.storage.version++;
}

/** One tensor of a file on a device. */
export async function loadEntry(entry: TensorSource, options: LoadOptions = {}): Promise<Tensor> {
  checkInstance('loadEntry', 'entry', entry, TensorSource);
  checkOptions('loadSafetensors', options, LOAD);
  const backend = getBackend(options.device ?? defaultDevice());
  const dtype = dtypeOnDevice(entry, backend.device, options.dtype);
  // The caller's scope may close meanwhile.
  const tensor = outsideScopes(() => new Tensor(new Storage(backend, dtype, entry.size), entry.shape));
  try {
    await readInto(tensor, entry);
    return tensor;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}

function dtypeOnDevice(entry: TensorSource, device: Device, asked: LoadOptions['dtype']): DType {
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
  checkObject('loadEntries', 'file', file);
  checkInstance('loadEntries', 'file.entries', file.entries, Map);
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
