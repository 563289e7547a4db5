// Model folders in the layout of the Python libraries: config.json, generation_config.json, model.safetensors or shards.
import { join, readdir, rm } from '../../platform';
import {
  argumentError,
  checkInteger,
  checkOptions,
  FastWeightsError,
  formatShape,
  isFloat,
  nearest,
  type OptionNames,
  sameShape,
  type Tensor,
} from '../../core';
import {
  isJsonObject,
  type Json,
  readInto,
  readJson,
  readOptionalJson,
  saveShards,
  type StorageOptions,
  type TensorSource,
  writeJson,
  createFolder,
} from '../../io';
import { activeLora, LORA_CONFIG, LORA_WEIGHTS, type Module, saveLora } from '../../nn';
import type { Configuration, JsonObject } from './configuration';
import type { GenerationDefaults } from './generation';

/** What `savePretrained` takes: `dtype` is what the weights are stored as, by default what they are. */
export interface SaveOptions extends StorageOptions {
  /** A weight file holds at most this many bytes, 5e9 by default; a larger model is split. */
  maxShardBytes?: number;
}

const SAVE: OptionNames<SaveOptions> = { maxShardBytes: true, dtype: true };

export const CONFIG = 'config.json';
export const GENERATION = 'generation_config.json';
/** Numbers of generation_config.json that need not be whole. */
const GENERATION_FRACTIONS: ReadonlySet<string> = new Set(['temperature', 'top_p', 'min_p', 'repetition_penalty']);

const WEIGHT_FILE = /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/;

/** Tensors of some published files that are no parameters. */
const NO_WEIGHT = /(^|\.)rotary_emb\.inv_freq$/;

/** A model as its folder sees it. */
interface Described extends Module {
  readonly config: Configuration;
  readonly generation: GenerationDefaults;
}

/** A module with a head, which may be its embedding. */
interface Headed {
  readonly lm_head: { readonly weight: Tensor };
  readonly weightNames: { readonly head: string };
  stateDict(): Record<string, Tensor>;
}

async function onDisk<T>(where: string, dir: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    if (cause instanceof FastWeightsError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FastWeightsError('IO', `${where}: ${dir}: ${reason}`, { argument: 'dir', found: dir, cause });
  }
}

/**
 * Replaces each file atomically, the weights first. Weight files of an earlier saving that would be read in place of the
 * new ones are removed; other files stay. For a folder that is old or new as a whole, fill one of `writeFolderAtomic`.
 */
export async function savePretrained(dir: string, model: Described, options: SaveOptions): Promise<void> {
  const where = 'savePretrained';
  const { config, generation } = model;
  const weights = model.stateDict();
  const adapters = activeLora(model);
  checkOptions(where, options, SAVE);
  const maxShardBytes = checkInteger(where, 'maxShardBytes', options.maxShardBytes ?? 5e9, 1);
  const { dtype: stored } = options;
  await onDisk(where, dir, createFolder(dir));
  const current = await saveShards(dir, weights, { maxShardBytes, dtype: stored });
  if (adapters) await saveLora(model, dir, { taskType: 'CAUSAL_LM' });
  for (const name of await onDisk(where, dir, readdir(dir))) {
    const adapter = !adapters && (name === LORA_CONFIG || name === LORA_WEIGHTS);
    if (adapter || (WEIGHT_FILE.test(name) && !current.includes(name))) await onDisk(where, dir, rm(join(dir, name)));
  }
  const dtype = stored ?? Object.values(weights)[0].dtype;
  const description = {
    ...config.source,
    architectures: [config.architecture],
    model_type: config.modelType,
    tie_word_embeddings: config.tieWordEmbeddings,
    dtype,
    torch_dtype: dtype,
  };
  await writeJson(join(dir, CONFIG), description, config.fractions);
  await writeJson(join(dir, GENERATION), generation.source, GENERATION_FRACTIONS);
}

/** The configuration of a folder, as it stands there; `fractions` are those of `readJson`. */
export async function readConfig(folder: string, fractions: Set<string>): Promise<JsonObject> {
  const path = join(folder, CONFIG);
  return objectIn(path, await readJson(path, fractions));
}

/** Reads what a folder says of generation; undefined where it says nothing. */
export async function readGenerationConfig(folder: string): Promise<JsonObject | undefined> {
  const path = join(folder, GENERATION);
  const content = await readOptionalJson(path);
  return content === undefined ? undefined : objectIn(path, content);
}

function objectIn(path: string, content: Json): JsonObject {
  if (isJsonObject(content)) return content;
  throw argumentError('FORMAT', path, 'the file', 'an object', Array.isArray(content) ? 'a list' : String(content));
}

/** The weights of a folder by name. */
export type Entries = ReadonlyMap<string, TensorSource>;

/** The head's name in files, also where it is not stored because the embedding serves as it. */
export function headWeight(module: Pick<Headed, 'weightNames'>): string {
  return `${module.weightNames.head}.weight`;
}

/** The name of the parameter that also serves as the head; the head's own where it is not tied. */
function headName(module: Headed): string {
  return Object.entries(module.stateDict()).find(([, parameter]) => parameter === module.lm_head.weight)![0];
}

/** The name of the embedding if a folder holds another matrix beside it as head, though its configuration ties the two. */
export async function untiedName(module: Headed, entries: Entries): Promise<string | undefined> {
  const name = headName(module);
  const [own, head] = [entries.get(name), entries.get(headWeight(module))];
  return own && head && own !== head && !(await own.equals(head)) ? name : undefined;
}

/** How far the reading of a folder has come: called with it after each tensor. */
export interface LoadProgress {
  /** Bytes of the files that have been read, and of all that will be. */
  done: number;
  total: number;
  /** The weight that was read last. */
  name: string;
}

/**
 * Fills every parameter and saved buffer from the weights of a folder, cast to its dtype, one tensor at a time, each of which
 * `onTensor` then gets. Nothing is read before all names and shapes are known to fit. Of a tied pair either may stand there.
 */
export async function loadWeights(
  module: Headed,
  dir: string,
  entries: Entries,
  onProgress?: (progress: LoadProgress) => void,
  onTensor?: (parameter: Tensor) => Promise<void>,
): Promise<void> {
  const parameters = new Map(Object.entries(module.stateDict()));
  const shared = headName(module);
  const head = headWeight(module);
  const entryOf = (name: string): TensorSource | undefined =>
    entries.get(name) ?? (name === shared ? entries.get(head) : undefined);
  const unknown = [...entries.keys()].filter((name) => !parameters.has(name) && !NO_WEIGHT.test(name) && name !== head);
  const missing = [...parameters.keys()].filter((name) => !entryOf(name));
  if (missing.length > 0 || unknown.length > 0) {
    const found =
      listed('without', missing, unknown.length ? unknown : [...entries.keys()]) +
      listed('with unknown', unknown, missing.length ? missing : [...parameters.keys()]);
    const message = `${dir}: the weights do not fit the configuration:${found}`;
    throw new FastWeightsError('FORMAT', message, { argument: dir, expected: `${parameters.size} weights` });
  }
  for (const [name, parameter] of parameters) checkEntry(dir, name, parameter, entryOf(name)!);
  let total = 0;
  for (const name of parameters.keys()) total += entryOf(name)!.bytes;
  let done = 0;
  for (const [name, parameter] of parameters) {
    const entry = entryOf(name)!;
    await readInto(parameter, entry);
    await onTensor?.(parameter);
    done += entry.bytes;
    onProgress?.({ done, total, name });
  }
}

/** Up to four names, each with the nearest of the others. */
function listed(title: string, names: readonly string[], others: readonly string[]): string {
  if (names.length === 0) return '';
  const hints = names.slice(0, 4).map((name) => {
    const near = nearest(name, others);
    return near === undefined ? name : `${name} (nearest: ${near})`;
  });
  return ` ${title} ${hints.join(', ')}${names.length > 4 ? ', ...' : ''}`;
}

function checkEntry(dir: string, name: string, parameter: Tensor, entry: TensorSource): void {
  const where = `${dir}: ${name}`;
  if (!sameShape(entry.shape, parameter.shape)) {
    throw argumentError('FORMAT', where, 'shape', formatShape(parameter.shape), formatShape(entry.shape));
  }
  if (isFloat(entry.nativeDType) ? isFloat(parameter.dtype) : entry.nativeDType === parameter.dtype) return;
  const expected = isFloat(parameter.dtype) ? 'floating-point' : parameter.dtype;
  throw argumentError('FORMAT', where, 'dtype', expected, entry.dtype);
}
