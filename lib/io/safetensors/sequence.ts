// One long list of whole numbers as a safetensors file, written and read in pieces: its length is known at the end only.
import type { FileHandle } from '../../platform';
import { writeFileAtomic } from '../atomic';
import { type FileDType, fileDTypeBytes, formatHeader } from './header';
import { readSafetensors } from './read';

/** A list in a file: where its elements begin, and how many there are. */
export interface StoredSequence {
  /** The safetensors file. */
  path: string;
  /** Byte of the file at which the first element begins. */
  position: number;
  /** Number of elements, not bytes. */
  length: number;
}

function header(
  name: string,
  dtype: FileDType,
  length: number,
  metadata: Record<string, string>,
  least = 0,
): Uint8Array {
  const end = length * fileDTypeBytes(dtype);
  return formatHeader([[name, { dtype, shape: [length], begin: 0, end }]], metadata, least);
}

/** More elements than any file has. */
const MOST = 2 ** 50;

/** Writes what `fill` puts, elements of `dtype`, under `name`; atomic. */
export async function saveSequence(
  path: string,
  name: string,
  dtype: FileDType,
  metadata: Record<string, string>,
  fill: (put: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  await writeFileAtomic(path, async (file: FileHandle) => {
    const room = header(name, dtype, MOST, metadata).length;
    let size = 0;
    await file.writeFile(new Uint8Array(room));
    await fill(async (bytes) => {
      await file.writeFile(bytes);
      size += bytes.length;
    });
    await file.write(header(name, dtype, size / fileDTypeBytes(dtype), metadata, room), 0, room, 0);
  });
}

/** Finds the list that `saveSequence` wrote with the same arguments; undefined where there is another file, or none. */
export async function findSequence(
  path: string,
  name: string,
  dtype: FileDType,
  metadata: Record<string, string>,
): Promise<StoredSequence | undefined> {
  const file = await readSafetensors(path).catch(() => undefined);
  const entry = file?.entries.get(name);
  const same = Object.entries(metadata).every(([key, value]) => file?.metadata[key] === value);
  if (!entry || !same || entry.dtype !== dtype || entry.shape.length !== 1) return undefined;
  return { path, position: entry.position, length: entry.size };
}
