// The registry: every family that `createModel`, `AutoModelForCausalLM`, training and the command line know, the published
// ones and those of programs.
import { argumentError, checkOptions, describe, FastWeightsError, nearest, type OptionNames } from '../../core';
import { isJsonObject } from '../../io';
import type { TensorOptions } from '../../ops';
import { CausalLM } from './causalLM';
import type { JsonObject, PublishedConfiguration } from './configuration';
import type { CommonKeys } from './keys';
import type { Entries } from './pretrained';

/** The sizes that `createModel` takes for every family, whatever its configuration calls them. */
export interface ModelSizes {
  /** Ids that the model knows, from 0 on; the only size without a default. */
  vocabSize: number;
  /** 256 by default. */
  hiddenSize?: number;
  /** 4 by default. */
  numLayers?: number;
  /** A divisor of the hidden size; 4 by default. */
  numHeads?: number;
  /**
   * Width of the feed-forward, at most 2 ** 20; 8/3 of the hidden size, rounded up to a multiple of 64, by default. Samba rounds
   * it up to a multiple of 256.
   */
  intermediateSize?: number;
}

/** The sizes of a new model with their defaults. */
export type FilledSizes = Required<Omit<ModelSizes, 'intermediateSize'>> & {
  /** As it was asked for. */
  intermediateSize?: number;
  /** Of a gated feed-forward: what was asked for, or the default. */
  feedForward: number;
  headDim: number;
};

/** A class that `registerModel` takes: a `CausalLM` made of a configuration, and of device and dtype. */
export type ModelClass = new (config: PublishedConfiguration, options?: TensorOptions) => CausalLM;

/** A family of models. K are the keys of its configuration, N is its name. */
export interface ModelDefinition<K extends CommonKeys = CommonKeys, N extends string = string> {
  /** `model_type` of its config.json. */
  modelType: NonNullable<K['modelType']>;
  /**
   * Whether a config.json is this family's, for a `modelType` that it shares with another family, or that is another one's
   * name; that one is taken where no other claims it. None by default.
   */
  claims?(config: JsonObject): boolean;
  /** What `createModel` and the command line call it; modelType with hyphens for underscores by default. */
  name?: N;
  /** The name of its class in `architectures` of config.json; that of `model` by default. */
  architecture?: string;
  /** What it is, in half a line. */
  description?: string;
  /** Whether its layers have heads; by default whether a key is called numHeads or numAttentionHeads. */
  heads?: boolean;
  /** The keys of its configuration beside those that every family has: true, or 'flag' for those that are true or false. */
  keys: OptionNames<Omit<K, keyof CommonKeys>>;
  /** What `createModel` makes of its sizes: values of these keys. Nothing by default. */
  configuration?(sizes: FilledSizes): Partial<K>;
  /** Keys of a folder's configuration, as in config.json, that the names of its weights decide; none by default. */
  fromWeights?(names: Iterable<string>): JsonObject;
  /** The weights of a folder under the names and in the pieces that the model has, where files differ in that; as they are by default. */
  fromFolder?(entries: Entries, config: JsonObject): Entries;
  /** Names of what stands among the weights of published folders and is not read. */
  ignored?: RegExp;
  /** The class; it is given a configuration, which `ConfigurationReader.of` reads, and place and dtype. */
  model: ModelClass;
}

const DEFINITION: OptionNames<ModelDefinition> = {
  modelType: true,
  claims: true,
  name: true,
  architecture: true,
  description: true,
  heads: 'flag',
  keys: true,
  configuration: true,
  fromWeights: true,
  fromFolder: true,
  ignored: true,
  model: true,
};

/** An entry of the registry. */
export interface RegisteredModel {
  readonly name: string;
  readonly modelType: string;
  readonly description: string;
  /** Whether its layers have heads. */
  readonly heads: boolean;
}

interface Entry extends RegisteredModel {
  readonly definition: ModelDefinition;
}

const entries: Entry[] = [];

/** All of them, in the order in which they were registered. */
export const registeredModels: readonly RegisteredModel[] = entries;

/** Goes into lists and names of folders. */
const NAME = /^[A-Za-z0-9][\w.-]*$/;

function checkName(argument: string, value: unknown, shared = false): string {
  if (typeof value !== 'string' || !NAME.test(value)) {
    const expected = 'a name of letters, digits, hyphens and underscores';
    throw argumentError('INVALID_ARGUMENT', 'registerModel', argument, expected, describe(value));
  }
  if (findModel(value) && !shared) {
    const expected = 'one that is not registered yet';
    throw argumentError('INVALID_ARGUMENT', 'registerModel', argument, expected, describe(value));
  }
  return value;
}

/** Makes a family known by its name and its `model_type`. */
export function registerModel<K extends CommonKeys = CommonKeys>(definition: ModelDefinition<K>): void {
  const where = 'registerModel';
  checkOptions<object>(where, definition, DEFINITION);
  const { model, keys, configuration = null } = definition;
  const modelType = checkName('modelType', definition.modelType, definition.claims !== undefined);
  const name = checkName('name', definition.name ?? modelType.replaceAll('_', '-'));
  if (typeof model !== 'function' || !(model.prototype instanceof CausalLM)) {
    const expected = 'a class that extends models.CausalLM of this fast-weights';
    throw argumentError('INVALID_ARGUMENT', where, 'model', expected, describe(model));
  }
  if (configuration !== null && typeof configuration !== 'function') {
    throw argumentError('INVALID_ARGUMENT', where, 'configuration', 'a function', describe(configuration));
  }
  checkKeys(keys);
  const heads = definition.heads ?? ('numHeads' in keys || 'numAttentionHeads' in keys);
  entries.push({ name, modelType, description: definition.description ?? '', heads, definition });
}

function checkKeys(keys: unknown): asserts keys is Record<string, unknown> {
  const kinds = typeof keys === 'object' && keys !== null ? Object.values(keys) : [null];
  if (kinds.every((kind) => kind === true || kind === 'flag')) return;
  const expected = "an object of keys: true, or 'flag' for those that are true or false";
  throw argumentError('INVALID_ARGUMENT', 'registerModel', 'keys', expected, describe(keys));
}

/** The family of a name or a `model_type`; where several share a type, the first of them. */
export function findModel(name: unknown): Entry | undefined {
  return entries.find((entry) => entry.name === name) ?? entries.find((entry) => entry.modelType === name);
}

/** The family that a config.json describes. */
function familyOf(config: JsonObject): Entry | undefined {
  const { model_type: type } = config;
  const alike = entries.filter(({ modelType }) => modelType === type);
  return (
    alike.find(({ definition }) => definition.claims?.(config)) ??
    entries.find(({ name, modelType }) => name === type && modelType !== type) ??
    alike.find(({ definition }) => !definition.claims)
  );
}

/** What a name that no family has should have been, for messages: the nearest one, or `'deltanet' | 'gla' | ...`. */
export function knownModels(unknown?: unknown): string {
  const names = entries.map(({ name }) => name);
  const both = [...names, ...entries.map(({ definition }) => definition.modelType)];
  const near = typeof unknown === 'string' ? nearest(unknown, both) : undefined;
  return near === undefined
    ? names.map((name) => `'${name}'`).join(' | ')
    : `one of the known; did you mean '${near}'?`;
}

/**
 * The configuration of the language model in that of a multimodal one, which has it as `text_config`; any other as it is.
 */
export function languageConfig(config: JsonObject): JsonObject {
  const { text_config: inner, tie_word_embeddings = false } = config;
  return !familyOf(config) && isJsonObject(inner) && familyOf(inner) ? { tie_word_embeddings, ...inner } : config;
}

/** The family of a config.json. A file only names it; it is looked up. */
export function familyFor(where: string, config: JsonObject): ModelDefinition {
  const entry = familyOf(config);
  if (entry) return entry.definition;
  const types = [...new Set(entries.map((each) => each.modelType))];
  const type = config.model_type;
  const near = typeof type === 'string' ? nearest(type, types) : undefined;
  const expected = near ?? types.join(', ');
  const found = describe(type);
  const known = near ? `did you mean ${near}?` : `known are ${expected}`;
  const own = 'one of your own wants registerModel, or --import at the command line, first';
  const message = `${where}: model_type ${found} is not supported; ${known}; ${own}`;
  throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model_type', expected, found });
}
