// Adapters as files: adapter_config.json and adapter_model.safetensors, as peft writes and reads them.
import { join, sha256 } from '../platform';
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  isFloat,
  type OptionNames,
  sameShape,
  type Tensor,
} from '../core';
import { noGrad } from '../autograd';
import {
  createFolder,
  findFolder,
  isJsonObject,
  type Json,
  loadEntry,
  readOptionalJson,
  readSafetensors,
  type SafetensorsEntry,
  saveSafetensors,
  writeJson,
} from '../io';
import { Linear } from './layers';
import { attachLora, LoraAdapter, loraLayers } from './lora';
import { checkModule, type Module } from './module';
import { type ServedLayer, ServedLora } from './servedLora';

/** @internal Name of the file of settings. */
export const LORA_CONFIG = 'adapter_config.json';
/** @internal Name of the file of weights. */
export const LORA_WEIGHTS = 'adapter_model.safetensors';
const PREFIX = 'base_model.model.';

/** What a folder of adapters says of the model they belong to. */
export interface SaveLoraOptions {
  /** Name or path of the model without adapters; peft looks there. Not said by default. */
  baseModel?: string | null;
  /** peft's kind of task, for instance 'CAUSAL_LM'. Not said by default. */
  taskType?: string | null;
}

const SAVE: OptionNames<SaveLoraOptions> = { baseModel: true, taskType: true };

/** Writes the adapters of a model, and nothing else of it, into a folder, which is made where it is missing. */
export async function saveLora(model: Module, dir: string, options: SaveLoraOptions = {}): Promise<void> {
  const where = 'saveLora';
  checkOptions(where, options, SAVE);
  const layers = [...loraLayers(where, model)];
  if (layers.length === 0) throw argumentError('INVALID_ARGUMENT', where, 'model', 'one with adapters', 'none');
  const [, { lora: first }] = layers[0];
  const weights: Record<string, Tensor> = {};
  const [ranks, alphas]: Record<string, number>[] = [{}, {}];
  for (const [path, { lora }] of layers) {
    for (const part of ['lora_A', 'lora_B'] as const) weights[`${PREFIX}${path}.${part}.weight`] = lora[part].weight;
    if (lora.rank !== first.rank) ranks[path] = lora.rank;
    // peft divides by the rank; a scale of its own comes from a file that divided by its root.
    const alpha = lora.scale * lora.rank;
    if (alpha !== first.scale * first.rank) alphas[path] = alpha;
    if (lora.dropout.p !== first.dropout.p) {
      const expected = 'one dropout for all adapters, which is all that the file can say';
      throw argumentError('UNSUPPORTED', where, path, expected, `${lora.dropout.p} beside ${first.dropout.p}`);
    }
  }
  await createFolder(dir);
  await saveSafetensors(join(dir, LORA_WEIGHTS), weights, { format: 'pt' });
  await writeJson(join(dir, LORA_CONFIG), {
    peft_type: 'LORA',
    base_model_name_or_path: options.baseModel ?? null,
    task_type: options.taskType ?? null,
    r: first.rank,
    lora_alpha: first.scale * first.rank,
    lora_dropout: first.dropout.p,
    target_modules: layers.map(([path]) => path),
    rank_pattern: ranks,
    alpha_pattern: alphas,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    inference_mode: true,
    modules_to_save: null,
    use_dora: false,
    use_rslora: false,
  });
}

type Config = { [key: string]: Json };

/** Settings of peft that change what an adapter computes; their values without effect. */
const PLAIN: Readonly<Record<string, readonly Json[]>> = {
  bias: ['none'],
  fan_in_fan_out: [false],
  modules_to_save: [null],
  use_dora: [false],
  lora_bias: [false],
  layer_replication: [null],
  trainable_token_indices: [null],
};

function checkConfig(path: string, config: Json | undefined): Config {
  if (!isJsonObject(config)) throw argumentError('FORMAT', path, 'the file', 'an object', describe(config));
  if (config.peft_type !== 'LORA')
    throw argumentError('UNSUPPORTED', path, 'peft_type', '"LORA"', describe(config.peft_type));
  for (const [key, values] of Object.entries(PLAIN)) {
    const value = config[key] ?? null;
    if (value === null || values.includes(value) || (Array.isArray(value) && value.length === 0)) continue;
    throw argumentError('UNSUPPORTED', path, key, values.map((v) => describe(v)).join(' | '), describe(value));
  }
  return config;
}

/** A layer's own value, where a pattern that ends its name says one. */
function ownValue(patterns: Json | undefined, path: string, otherwise: Json | undefined): Json | undefined {
  if (!isJsonObject(patterns)) return otherwise;
  const key = Object.keys(patterns).find((name) => path === name || path.endsWith(`.${name}`));
  return key === undefined ? otherwise : patterns[key];
}

/** Whether a folder holds adapters. */
export async function hasLora(dir: string): Promise<boolean> {
  return (await readOptionalJson(join(await findFolder(dir), LORA_CONFIG))) !== undefined;
}

/** A bad value in a file is an error of the file. */
function asFormat<T>(check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (!(cause instanceof FastWeightsError) || cause.code !== 'INVALID_ARGUMENT') throw cause;
    const { argument, expected, found } = cause;
    throw new FastWeightsError('FORMAT', cause.message, { argument, expected, found, cause });
  }
}

/**
 * Gives a model the adapters of a folder, which peft or `saveLora` wrote, and freezes everything else of it; returns the names of
 * their layers. Layers that have adapters already are refused, and so are settings of peft that are not computed here
 * (UNSUPPORTED, named). Nothing is changed unless all of them fit.
 */
export async function loadLora(model: Module, dir: string): Promise<string[]> {
  checkModule('loadLora', 'model', model);
  const plans = await readLora(model, dir, (name, { adapter }) => {
    if (adapter) throw argumentError('INVALID_ARGUMENT', 'loadLora', name, 'without an adapter', 'one with it');
  });
  const loaded: [Tensor, Tensor][] = [];
  for (const plan of plans) loaded.push(await loadPair(plan));
  attachLora(
    model,
    new Map(
      plans.map(({ layer, rank, alpha, dropout, scale }) => [
        layer,
        () => new LoraAdapter(rank, alpha, dropout, layer, scale),
      ]),
    ),
  );
  for (const [i, { layer }] of plans.entries()) {
    const { lora_A, lora_B } = layer.adapter as LoraAdapter;
    noGrad(() => [lora_A.weight.copy_(loaded[i][0]), lora_B.weight.copy_(loaded[i][1])]);
    for (const t of loaded[i]) t.dispose();
  }
  return plans.map(({ name }) => name);
}

/**
 * @internal Reads the adapters of a folder as ones that a model serves beside others; nothing of the model changes. `check` refuses layers.
 */
export async function readServedLora(
  model: Module,
  dir: string,
  check: (name: string, layer: Linear) => void,
): Promise<ServedLora> {
  checkModule('readServedLora', 'model', model);
  const layers = new Map<string, ServedLayer>();
  const hash = sha256();
  try {
    for (const plan of await readLora(model, dir, check)) {
      const { name, scale } = plan;
      const [A, B] = await loadPair(plan);
      for (const t of [A, B]) t.persist();
      layers.set(name, { A, B, scale });
      hash.update(new TextEncoder().encode(`${JSON.stringify([name, scale, A.shape, B.shape])}\n`));
      for (const t of [A, B]) {
        const { buffer, byteOffset, byteLength } = await t.data();
        hash.update(new Uint8Array(buffer, byteOffset, byteLength));
      }
    }
  } catch (error) {
    for (const { A, B } of layers.values()) for (const t of [A, B]) t.dispose();
    throw error;
  }
  return new ServedLora(hash.hex(), layers);
}

/** An adapter in a folder, and the layer that it is for. */
interface Plan {
  name: string;
  layer: Linear;
  A: SafetensorsEntry;
  B: SafetensorsEntry;
  rank: number;
  alpha: number;
  dropout: number;
  scale: number;
}

async function loadPair({ layer, A, B }: Plan): Promise<[Tensor, Tensor]> {
  const { device, dtype } = layer;
  const options = { device, dtype: dtype as 'float32' | 'bfloat16' | 'float64' };
  const a = await loadEntry(A, options);
  try {
    return [a, await loadEntry(B, options)];
  } catch (error) {
    a.dispose();
    throw error;
  }
}

/** What a folder holds for the layers of a model, all of which must fit. */
async function readLora(model: Module, dir: string, check: (name: string, layer: Linear) => void): Promise<Plan[]> {
  const folder = await findFolder(dir);
  const path = join(folder, LORA_CONFIG);
  const config = checkConfig(path, await readOptionalJson(path));
  const { entries } = await readSafetensors(join(folder, LORA_WEIGHTS));
  const linear = new Map([...model.namedModules()].flatMap(([name, m]) => (m instanceof Linear ? [[name, m]] : [])));
  const parts = new Map<string, { A?: SafetensorsEntry; B?: SafetensorsEntry }>();
  for (const [name, entry] of entries) {
    const found = /^(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight$/.exec(name);
    const layer = found ? linear.get(found[1]) : undefined;
    if (!found || !layer)
      throw argumentError('FORMAT', folder, name, 'an adapter of a linear layer of the model', 'none');
    check(found[1], layer);
    parts.set(found[1], { ...parts.get(found[1]), [found[2]]: entry });
  }
  const dropout = asFormat(() => checkNumber(path, 'lora_dropout', config.lora_dropout ?? 0, 0, 1));
  return [...parts].map(([name, { A, B }]) => {
    const layer = linear.get(name)!;
    const rank = asFormat(() => checkInteger(path, 'r', ownValue(config.rank_pattern, name, config.r), 1));
    const alpha = asFormat(() =>
      checkNumber(path, 'lora_alpha', ownValue(config.alpha_pattern, name, config.lora_alpha)),
    );
    const { outFeatures: out, inFeatures: into } = layer;
    checkEntry(folder, `${name}.lora_A.weight`, A, [rank, into]);
    checkEntry(folder, `${name}.lora_B.weight`, B, [out, rank]);
    const scale = alpha / (config.use_rslora === true ? Math.sqrt(rank) : rank);
    return { name, layer, A: A!, B: B!, rank, alpha, dropout, scale };
  });
}

function checkEntry(dir: string, name: string, entry: SafetensorsEntry | undefined, shape: readonly number[]): void {
  if (!entry) throw argumentError('FORMAT', dir, name, formatShape(shape), 'missing');
  if (!sameShape(entry.shape, shape))
    throw argumentError('FORMAT', dir, name, formatShape(shape), formatShape(entry.shape));
  if (!isFloat(entry.nativeDType)) throw argumentError('FORMAT', dir, name, 'floating-point numbers', entry.dtype);
}
