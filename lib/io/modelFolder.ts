// The weights of a model folder: model.safetensors, or numbered shards with an index of which tensor is in which.
import { basename, join, readdir } from '../platform';
import { checkInteger, checkOptions, FastWeightsError, type OptionNames, type Tensor } from '../core';
import { findFolder } from './atomic';
import { checkPath, formatError, ioError } from './failure';
import { isJsonObject, readJson, writeJson } from './json';
import {
  LOAD,
  loadEntries,
  placeOf,
  readSafetensors,
  type LoadOptions,
  type SafetensorsEntry,
  type SafetensorsFile,
} from './safetensors/read';
import type { StoredFloat } from './safetensors/convert';
import {
  checkStored,
  namedTensors,
  saveSafetensors,
  type StorageOptions,
  tensorBytes,
  type NamedTensors,
} from './safetensors/write';

const WHOLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** The tensors of a model folder as one file, wherever they lie. */
export async function readModelFolder(dir: string): Promise<SafetensorsFile> {
  const folder = await findFolder(dir);
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw isPickle(dir) ? pickleError(dir) : ioError('readModelFolder', dir, error);
  }
  if (names.includes(WHOLE)) return readSafetensors(join(folder, WHOLE));
  if (names.includes(INDEX)) return readShards(folder);
  const pickle = names.find(isPickle);
  if (pickle !== undefined) throw pickleError(join(dir, pickle));
  const expected = `${WHOLE} or ${INDEX}`;
  throw new FastWeightsError('IO', `readModelFolder: ${dir} holds no ${expected}`, { argument: dir, expected });
}

/** What PyTorch saves: pickled objects, which run code when they are read. */
function isPickle(path: string): boolean {
  return /\.(bin|pth|pt|ckpt)$/.test(path);
}

function pickleError(path: string): FastWeightsError {
  const remedy =
    `write ${WHOLE} in Python: weights = torch.load(path, weights_only=True); ` +
    `safetensors.torch.save_file({k: v.contiguous() for k, v in weights.items()}, '${WHOLE}', {'format': 'pt'})`;
  const message = `readModelFolder: ${path} is pickled, which is not read since it may run any program; ${remedy}`;
  return new FastWeightsError('UNSUPPORTED', message, { argument: path, expected: WHOLE, found: basename(path) });
}

async function readShards(folder: string): Promise<SafetensorsFile> {
  const path = join(folder, INDEX);
  const index = await readJson(path);
  const map = isJsonObject(index) ? index.weight_map : undefined;
  if (!isJsonObject(map)) throw formatError(`${path}: weight_map`, 'an object of file names', 'something else');
  const shards = new Map<string, SafetensorsFile>();
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, shard] of Object.entries(map)) {
    const where = `${path}: weight_map: ${JSON.stringify(name)}`;
    if (typeof shard !== 'string' || basename(shard) !== shard || !/^[^\\:\0]+\.safetensors$/.test(shard)) {
      throw formatError(where, 'the name of a .safetensors file in this folder', JSON.stringify(shard));
    }
    if (!shards.has(shard)) shards.set(shard, await readSafetensors(join(folder, shard)));
    const entry = shards.get(shard)!.entries.get(name);
    if (!entry) throw formatError(where, 'the file that holds it', shard);
    entries.set(name, entry);
  }
  const [first] = shards.values();
  return { metadata: first?.metadata ?? {}, entries };
}

/** All tensors of a model folder by name. */
export async function loadModelFolder(dir: string, options: LoadOptions = {}): Promise<Record<string, Tensor>> {
  checkOptions('loadModelFolder', options, LOAD);
  const place = placeOf(options);
  return loadEntries(await readModelFolder(dir), place);
}

/** What `saveShards` takes beside folder and tensors. */
export interface ShardOptions extends StorageOptions {
  /** A file never exceeds this many bytes of tensors, unless a single tensor does. */
  maxShardBytes?: number;
  /** Of each file; by default that its layout is PyTorch's. */
  metadata?: Record<string, string>;
}

const SHARDS: OptionNames<ShardOptions> = { maxShardBytes: true, metadata: true, dtype: true };

/**
 * Saves a model's tensors into an existing folder, in one file or, when they exceed `maxShardBytes`, in shards with an
 * index, and returns the names of the files. Several files are not one atomic step: fill a folder of `writeFolderAtomic`.
 */
export async function saveShards(dir: string, tensors: NamedTensors, options: ShardOptions = {}): Promise<string[]> {
  checkPath('saveShards', dir, 'dir');
  checkOptions('saveShards', options, SHARDS);
  const limit = checkInteger('saveShards', 'maxShardBytes', options.maxShardBytes ?? 5e9, 1);
  const metadata = options.metadata ?? { format: 'pt' };
  const dtype = checkStored('saveShards', options.dtype);
  const shards = split(namedTensors('saveShards', tensors), limit, dtype);
  if (shards.length <= 1) {
    await saveSafetensors(join(dir, WHOLE), tensors, metadata, { dtype });
    return [WHOLE];
  }
  const weightMap: [string, string][] = [];
  let totalBytes = 0;
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await saveSafetensors(join(dir, file), new Map(shard), metadata, { dtype });
    for (const [name, tensor] of shard) {
      weightMap.push([name, file]);
      totalBytes += tensorBytes(tensor, dtype);
    }
  }
  const weight_map = Object.fromEntries(weightMap);
  await writeJson(join(dir, INDEX), { metadata: { total_size: totalBytes }, weight_map });
  return [INDEX, ...new Set(Object.values(weight_map))];
}

function number(n: number): string {
  return String(n).padStart(5, '0');
}

/** Fills shard after shard in the order given. */
function split(pairs: [string, Tensor][], limit: number, dtype?: StoredFloat): [string, Tensor][][] {
  const shards: [string, Tensor][][] = [];
  let room = 0;
  for (const pair of pairs) {
    const bytes = tensorBytes(pair[1], dtype);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = limit;
    }
    shards.at(-1)!.push(pair);
    room -= bytes;
  }
  return shards;
}
