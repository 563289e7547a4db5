// Writing safetensors: header, then tensor after tensor, through a temporary file that replaces the target at once.
import type { FileHandle } from '../../platform';
import {
  argumentError,
  bytesPerElement,
  checkChoice,
  checkObject,
  checkOptions,
  describe,
  newArray,
  type OptionNames,
  Tensor,
} from '../../core';
import { writeFileAtomic } from '../atomic';
import { checkPath } from '../failure';
import { fileDType, STORED_FLOATS, type StoredFloat, toFile } from './convert';
import { fileDTypeBytes, formatHeader, MAX_HEADER_BYTES, type TensorInfo } from './header';
import { PIECE_BYTES } from './source';

/** Tensors by name, in a plain object or a map. */
export type NamedTensors = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

/** The pairs of a map or a plain object, checked. */
export function namedTensors(where: string, tensors: NamedTensors): [string, Tensor][] {
  if (!(tensors instanceof Map)) checkObject(where, 'tensors', tensors);
  const pairs = (tensors instanceof Map ? [...tensors] : Object.entries(tensors)) as [string, Tensor][];
  for (const [name, tensor] of pairs as [unknown, unknown][]) {
    if (typeof name !== 'string' || name === '__metadata__') {
      throw argumentError('INVALID_ARGUMENT', where, 'a name', "a string other than '__metadata__'", describe(name));
    }
    if (!(tensor instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', where, JSON.stringify(name), 'a tensor', describe(tensor));
    }
    tensor.checkAlive(where);
  }
  return pairs;
}

/** What `saveSafetensors` takes beside tensors and metadata. */
export interface StorageOptions {
  /**
   * What floating-point tensors are stored as; by default as they are. Rounded to nearest, ties to even; a finite value that
   * float16 has not, above 65504 in magnitude, is refused (PyTorch stores infinity).
   */
  dtype?: StoredFloat;
}

const STORAGE: OptionNames<StorageOptions> = { dtype: true };

/** Requires a way to store floats, or none. */
export function checkStored(where: string, dtype: StoredFloat | undefined): StoredFloat | undefined {
  return dtype === undefined ? undefined : checkChoice(where, 'dtype', dtype, STORED_FLOATS);
}

/** Bytes of a tensor in a file. */
export function tensorBytes(tensor: Tensor, stored?: StoredFloat): number {
  return tensor.size * fileDTypeBytes(fileDType(tensor.dtype, stored));
}

/** Wider elements first, then by name: every tensor then starts on a multiple of its element. */
function inFileOrder(pairs: [string, Tensor][], stored: StoredFloat | undefined): [string, Tensor][] {
  const width = (t: Tensor): number => fileDTypeBytes(fileDType(t.dtype, stored));
  return pairs.sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : 1));
}

/** Tensors in the order of a file, and its header. */
interface Plan {
  pairs: [string, Tensor][];
  header: Uint8Array;
  stored: StoredFloat | undefined;
  /** Of header and tensors. */
  bytes: number;
}

function planOf(where: string, tensors: NamedTensors, metadata: Record<string, string>, options: StorageOptions): Plan {
  checkObject(where, 'metadata', metadata);
  checkOptions(where, options, STORAGE);
  const stored = checkStored(where, options.dtype);
  const pairs = inFileOrder(namedTensors(where, tensors), stored);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') {
      throw argumentError('INVALID_ARGUMENT', where, `metadata.${key}`, 'a string', describe(value));
    }
  }
  const infos: [string, TensorInfo][] = [];
  let begin = 0;
  for (const [name, tensor] of pairs) {
    const end = begin + tensorBytes(tensor, stored);
    infos.push([name, { dtype: fileDType(tensor.dtype, stored), shape: [...tensor.shape], begin, end }]);
    begin = end;
  }
  const header = formatHeader(infos, metadata);
  if (header.length - 8 > MAX_HEADER_BYTES) {
    const expected = `at most ${MAX_HEADER_BYTES} bytes`;
    throw argumentError('INVALID_ARGUMENT', where, 'the header', expected, `${header.length - 8} bytes`);
  }
  return { pairs, header, stored, bytes: header.length + begin };
}

/** What takes the bytes of a file one after the other. */
type Sink = Pick<FileHandle, 'writeFile'>;

async function writePlan(file: Sink, { header, pairs, stored }: Plan): Promise<void> {
  await file.writeFile(header);
  for (const [name, tensor] of pairs) await writeTensor(file, name, tensor, stored);
}

/** Holds the memory of tensors that their owner may dispose of while they wait their turn. */
async function holding<T>({ pairs }: Plan, write: () => Promise<T>): Promise<T> {
  const storages = pairs.map(([, tensor]) => tensor.storage);
  for (const storage of storages) storage.retain();
  try {
    return await write();
  } finally {
    for (const storage of storages) storage.release();
  }
}

/** Saves tensors under their names, atomically; the tensors must not change until the promise resolves. */
export async function saveSafetensors(
  path: string,
  tensors: NamedTensors,
  metadata: Record<string, string> = {},
  options: StorageOptions = {},
): Promise<void> {
  checkPath('saveSafetensors', path);
  const plan = planOf('saveSafetensors', tensors, metadata, options);
  await holding(plan, () => writeFileAtomic(path, (file) => writePlan(file, plan)));
}

/** The bytes of a file of tensors, which must not change until the promise resolves. */
export async function encodeSafetensors(
  tensors: NamedTensors,
  metadata: Record<string, string> = {},
): Promise<Uint8Array> {
  const plan = planOf('encodeSafetensors', tensors, metadata, {});
  const bytes = new Uint8Array(plan.bytes);
  let at = 0;
  const writeFile = async (piece: Uint8Array): Promise<void> => {
    bytes.set(piece, at);
    at += piece.length;
  };
  await holding(plan, () => writePlan({ writeFile }, plan));
  return bytes;
}

async function writeTensor(file: Sink, name: string, tensor: Tensor, stored?: StoredFloat): Promise<void> {
  const where = `saveSafetensors: ${JSON.stringify(name)}`;
  const dtype = fileDType(tensor.dtype, stored);
  const view = new Tensor(tensor.storage, tensor.shape, tensor.strides, tensor.offset);
  const source = view.isContiguous ? view : view.contiguous();
  try {
    const step = PIECE_BYTES / bytesPerElement(source.dtype);
    for (let at = 0; at < source.size; at += step) {
      const piece = newArray(source.dtype, Math.min(step, source.size - at));
      await source.storage.memory.readAsync(source.storage.handle, source.offset + at, piece);
      await file.writeFile(toFile(where, source.dtype, piece, dtype));
    }
  } finally {
    source.dispose();
    view.dispose();
  }
}
