// Writing safetensors: header, then tensor after tensor, through a temporary file that replaces the target at once.
import type { FileHandle } from '../../platform';
import { argumentError, bytesPerElement, checkObject, describe, newArray, Tensor } from '../../core';
import { writeFileAtomic } from '../atomic';
import { checkPath } from '../failure';
import { fileDType } from './convert';
import { formatHeader, MAX_HEADER_BYTES, type TensorInfo } from './header';
import { PIECE_BYTES } from './read';

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

export function tensorBytes(tensor: Tensor): number {
  return tensor.size * bytesPerElement(tensor.dtype);
}

/** Wider elements first, then by name: every tensor then starts on a multiple of its element. */
function inFileOrder(pairs: [string, Tensor][]): [string, Tensor][] {
  return pairs.sort(([a, x], [b, y]) => bytesPerElement(y.dtype) - bytesPerElement(x.dtype) || (a < b ? -1 : 1));
}

/** Saves tensors under their names, atomically; the tensors must not change until the promise resolves. */
export async function saveSafetensors(
  path: string,
  tensors: NamedTensors,
  metadata: Record<string, string> = {},
): Promise<void> {
  checkPath('saveSafetensors', path);
  checkObject('saveSafetensors', 'metadata', metadata);
  const pairs = inFileOrder(namedTensors('saveSafetensors', tensors));
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') {
      throw argumentError('INVALID_ARGUMENT', 'saveSafetensors', `metadata.${key}`, 'a string', describe(value));
    }
  }
  const infos: [string, TensorInfo][] = [];
  let begin = 0;
  for (const [name, tensor] of pairs) {
    const end = begin + tensorBytes(tensor);
    infos.push([name, { dtype: fileDType(tensor.dtype), shape: [...tensor.shape], begin, end }]);
    begin = end;
  }
  const header = formatHeader(infos, metadata);
  if (header.length - 8 > MAX_HEADER_BYTES) {
    const found = `${header.length - 8} bytes`;
    throw argumentError(
      'INVALID_ARGUMENT',
      'saveSafetensors',
      'the header',
      `at most ${MAX_HEADER_BYTES} bytes`,
      found,
    );
  }
  // The caller may dispose of a tensor while it waits its turn.
  const storages = pairs.map(([, tensor]) => tensor.storage);
  for (const storage of storages) storage.retain();
  try {
    await writeFileAtomic(path, async (file) => {
      await file.writeFile(header);
      for (const [, tensor] of pairs) await writeTensor(file, tensor);
    });
  } finally {
    for (const storage of storages) storage.release();
  }
}

async function writeTensor(file: FileHandle, tensor: Tensor): Promise<void> {
  const view = new Tensor(tensor.storage, tensor.shape, tensor.strides, tensor.offset);
  const source = view.isContiguous ? view : view.contiguous();
  try {
    const step = PIECE_BYTES / bytesPerElement(source.dtype);
    for (let at = 0; at < source.size; at += step) {
      const piece = newArray(source.dtype, Math.min(step, source.size - at));
      await source.storage.memory.readAsync(source.storage.handle, source.offset + at, piece);
      await file.writeFile(new Uint8Array(piece.buffer));
    }
  } finally {
    source.dispose();
    view.dispose();
  }
}
