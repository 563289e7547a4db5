// Configurations: reading the values of a config.json with their defaults, and what every model's has in common.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
} from '../../core';
import { isJsonObject, type Json } from '../../io';
import { COMMON_KEYS } from './keys';
import type { ModelDefinition } from './registry';

/** An object as a JSON file holds it: nulls, booleans, numbers, strings, and lists and objects of them. */
export type JsonObject = { [key: string]: Json };

/** The configuration of a published folder, which may hold keys that nobody here knows; they are saved again. */
export class PublishedConfiguration {
  constructor(
    readonly json: JsonObject,
    /** Names of numbers that its file writes as 1.0, see `readJson`. */
    readonly fractions: ReadonlySet<string> = new Set(),
  ) {}
}

/** What every configuration has. */
export interface Configuration {
  /** `model_type` of config.json, by which `AutoModelForCausalLM` finds the class. */
  readonly modelType: string;
  /** The class's name in `architectures` of config.json. */
  readonly architecture: string;
  /** Rows of the embedding and of the head (`vocab_size`, at most 2 ** 24). */
  readonly vocabSize: number;
  /** Width of the vectors that pass from block to block (`hidden_size`, at most 2 ** 20). */
  readonly hiddenSize: number;
  /** Blocks between embedding and head (`num_hidden_layers`, at most 4096). */
  readonly numHiddenLayers: number;
  /** Standard deviation of new weights. */
  readonly initializerRange: number;
  /** Whether embedding and head are one tensor (`tie_word_embeddings`, false by default). */
  readonly tieWordEmbeddings: boolean;
  /** Tokens that end a text. */
  readonly eosTokenId: readonly number[];
  /** Everything that was given, under the keys of config.json; saved again as it is. */
  readonly source: Readonly<JsonObject>;
  /** Keys of numbers that need not be whole: 1 is saved as 1.0, which programs that check types ask for. */
  readonly fractions: ReadonlySet<string>;
}

/** No published model is wider or deeper; larger numbers in a file would only exhaust the memory. */
export const MAX_WIDTH = 2 ** 20;
const MAX_VOCABULARY = 2 ** 24;
const MAX_LAYERS = 4096;

/** hiddenSize -> hidden_size, DHasHdim -> D_has_hdim; keys of config.json stay. */
function fileKey(key: string): string {
  return key.replace(/(?!^)[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function toJson(key: string, value: unknown): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string')
    return value;
  if (Array.isArray(value)) return value.map((item) => toJson(key, item));
  if (typeof value === 'object' && value !== undefined) return withFileKeys(value);
  throw argumentError('INVALID_ARGUMENT', 'configuration', key, 'a JSON value', describe(value));
}

/** A configuration under the keys of config.json; undefined counts as not given. */
export function withFileKeys(input: object): JsonObject {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw argumentError('INVALID_ARGUMENT', 'configuration', 'config', 'an object', describe(input));
  }
  checkSpellings('configuration', input);
  const given = Object.entries(input).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [fileKey(key), toJson(key, value)]));
}

/** Requires that no key is given in both spellings: neither would go before the other. */
export function checkSpellings(where: string, input: object): void {
  const given: Record<string, string> = {};
  for (const [key, value] of Object.entries(input)) {
    if (value === undefined) continue;
    const name = fileKey(key);
    if (Object.hasOwn(given, name)) {
      throw argumentError('INVALID_ARGUMENT', where, name, 'given in one spelling', `${given[name]} and ${key}`);
    }
    given[name] = key;
  }
}

/** The names of keys in camelCase and as in config.json. */
export function inEitherSpelling(names: Readonly<Record<string, unknown>>): OptionNames<object> {
  return { ...names, ...Object.fromEntries(Object.entries(names).map(([key, kind]) => [fileKey(key), kind])) };
}

/** All keys of a family's configuration. */
export function keysOf({ keys }: ModelDefinition): OptionNames<object> {
  return { ...COMMON_KEYS, ...keys };
}

/**
 * Reads values with their defaults. A value of null counts as missing: it means "derive it". Only published folders may
 * hold keys beside those of `known`.
 */
export class ConfigurationReader {
  /** What was given, under the keys of config.json: hiddenSize is hidden_size here. No defaults are filled in. */
  readonly source: JsonObject;

  private readonly published: boolean;
  private readonly fractions: Set<string>;

  constructor(
    input: object,
    private readonly where: string,
    known: object,
    fractions?: Set<string>,
  ) {
    this.fractions = fractions ?? new Set(input instanceof PublishedConfiguration ? input.fractions : []);
    this.published = input instanceof PublishedConfiguration;
    if (input instanceof PublishedConfiguration) this.source = input.json;
    else {
      this.source = withFileKeys(input);
      checkObject(where, 'known', known);
      checkOptions(where, input, inEitherSpelling(known as Readonly<Record<string, unknown>>));
    }
  }

  /** Reads the configuration of a family. */
  static of(input: object, family: ModelDefinition): ConfigurationReader {
    return new ConfigurationReader(input, family.modelType, keysOf(family));
  }

  private nested(value: JsonObject, where: string, known: object): ConfigurationReader {
    const input = this.published ? new PublishedConfiguration(value) : value;
    return new ConfigurationReader(input, where, known, this.fractions);
  }

  private get(key: string): Json | undefined {
    return Object.hasOwn(this.source, key) ? (this.source[key] ?? undefined) : undefined;
  }

  /** A value that is a number, or made of numbers, which need not be whole. A file has told already how it writes it. */
  private real(key: string): Json | undefined {
    if (!this.published) this.fractions.add(key);
    return this.get(key);
  }

  /** A size: a whole number from 1 on. */
  size(key: string, fallback?: number, max = MAX_WIDTH): number {
    return checkInteger(this.where, key, this.get(key) ?? fallback, 1, max);
  }

  /** A size from 1 to 2 ** 20, or null where the key is missing or null; INVALID_ARGUMENT for anything else. */
  optionalSize(key: string): number | null {
    return this.get(key) === undefined ? null : this.size(key);
  }

  /** A size, or null where the key is missing, null or 'auto': it is derived then. */
  autoSize(key: string): number | null {
    return this.get(key) === 'auto' ? null : this.optionalSize(key);
  }

  /** As many finite numbers as `fallback` has. */
  numbers(key: string, fallback: readonly number[]): number[] {
    const value = this.real(key) ?? [...fallback];
    if (Array.isArray(value) && value.length === fallback.length) {
      return value.map((item) => checkNumber(this.where, key, item));
    }
    const expected = `a list of ${fallback.length} numbers`;
    throw argumentError('INVALID_ARGUMENT', this.where, key, expected, describe(value));
  }

  /** A list of so many numbers above 0, which must be given. */
  positives(key: string, count: number): number[] {
    const value = this.real(key);
    const above0 = (item: Json): item is number => typeof item === 'number' && item > 0 && item < Infinity;
    if (Array.isArray(value) && value.length === count && value.every(above0)) return value;
    const expected = `a list of ${count} numbers above 0`;
    throw argumentError('INVALID_ARGUMENT', this.where, key, expected, describe(value));
  }

  /** The least and the largest value of what is not negative; the largest may be infinite. */
  limits(key: string, fallback: readonly [number, number]): [number, number] {
    const value = this.real(key) ?? [...fallback];
    const [low, high, ...more] = Array.isArray(value) ? value : [];
    const numbers = typeof low === 'number' && typeof high === 'number' && more.length === 0;
    if (numbers && 0 <= low && low < Infinity && low <= high) return [low, high];
    const expected = '[least, largest] with 0 <= least <= largest';
    throw argumentError('INVALID_ARGUMENT', this.where, key, expected, describe(value));
  }

  /** A whole number of at least `min`, 0 by default; INVALID_ARGUMENT for anything else. */
  count(key: string, fallback: number, min = 0): number {
    return checkInteger(this.where, key, this.get(key) ?? fallback, min);
  }

  /** A finite number from `min`, 0 by default, to `max`; INVALID_ARGUMENT for anything else. */
  number(key: string, fallback: number, min = 0, max = Infinity): number {
    return checkNumber(this.where, key, this.real(key) ?? fallback, min, max);
  }

  /** How many times as wide, from 0 on: files write a whole one as such. */
  expansion(key: string, fallback: number): number {
    return checkNumber(this.where, key, this.get(key) ?? fallback, 0);
  }

  /** A number above 0, at most `max`. */
  positive(key: string, fallback: number, max = Infinity): number {
    const value = this.number(key, fallback, 0, max);
    if (value === 0) throw argumentError('INVALID_ARGUMENT', this.where, key, 'above 0', '0');
    return value;
  }

  /** A bound of a logarithmic gate, which is never positive. */
  optionalBound(key: string): number | null {
    const value = this.real(key);
    return value === undefined ? null : checkNumber(this.where, key, value, -Infinity, 0);
  }

  /** true or false; INVALID_ARGUMENT for anything else, 0 and 1 among it. */
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'boolean') {
      throw argumentError('INVALID_ARGUMENT', this.where, key, 'true or false', describe(value));
    }
    return value;
  }

  /** One of the values that the library computes; another is not supported. */
  supported<T extends string | number | boolean | null>(key: string, fallback: T, values: readonly T[]): T {
    const value = this.get(key) ?? fallback;
    if (values.includes(value as T)) return value as T;
    const [expected, found] = [values.map(describe).join(' | '), describe(value)];
    const message = `${this.where}: ${key} ${found} is not supported, only ${expected}`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: key, expected, found });
  }

  /** One of the strings that mean anything; another is INVALID_ARGUMENT, where `supported` says UNSUPPORTED. */
  choice<T extends string>(key: string, fallback: T, values: readonly T[]): T {
    return checkChoice(this.where, key, this.get(key) ?? fallback, values);
  }

  /** A nested object, itself a configuration. */
  section(key: string, known: object): ConfigurationReader | null {
    const value = this.get(key);
    if (value === undefined) return null;
    if (!isJsonObject(value)) throw argumentError('INVALID_ARGUMENT', this.where, key, 'an object', describe(value));
    return this.nested(value, `${this.where}: ${key}`, known);
  }

  /** One nested object or a list of them. */
  sections(key: string, known: object): ConfigurationReader[] {
    const value = this.get(key);
    const list = value === undefined ? [] : Array.isArray(value) ? value : [value];
    return list.map((item, i) => {
      if (!isJsonObject(item)) throw argumentError('INVALID_ARGUMENT', this.where, key, 'objects', describe(item));
      return this.nested(item, `${this.where}: ${key}[${i}]`, known);
    });
  }

  /** A list of strings that mean something; undefined where the key is missing or null. */
  choices<T extends string>(key: string, values: readonly T[]): T[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw argumentError('INVALID_ARGUMENT', this.where, key, 'a list', describe(value));
    return value.map((item, i) => checkChoice(this.where, `${key}[${i}]`, item, values));
  }

  /** A whole number from 0 on, or a list of them. */
  integers(key: string): number[] {
    return this.list(key).map((item) => checkInteger(this.where, key, item, 0));
  }

  /** Some of the `count` layers of a model, counted from `first`, each at most once; none where the key is missing. */
  layers(key: string, count: number, first: 0 | 1 = 0): number[] {
    const list = this.list(key).map((item) => checkInteger(this.where, key, item, first, first + count - 1));
    const seen = new Set<number>();
    const twice = list.find((layer) => seen.size === seen.add(layer).size);
    if (twice === undefined) return list;
    throw argumentError('INVALID_ARGUMENT', this.where, key, 'layers once each', `${twice} twice`);
  }

  /**
   * Tokens of a vocabulary: one or a list of them. Published folders name some that their model does not have, -1 for
   * none, or those of a larger tokenizer: they never come, and are left out.
   */
  tokens(key: string, vocabSize: number): number[] {
    if (!this.published) return this.list(key).map((item) => checkInteger(this.where, key, item, 0, vocabSize - 1));
    const named = this.list(key).map((item) => checkInteger(this.where, key, item, Number.MIN_SAFE_INTEGER));
    return named.filter((id) => id >= 0 && id < vocabSize);
  }

  private list(key: string): Json[] {
    const value = this.get(key) ?? [];
    return Array.isArray(value) ? value : [value];
  }

  /** A probability of dropout. */
  dropout(key: string): number {
    return checkNumber(this.where, key, this.real(key) ?? 0, 0, 1);
  }

  /** Dropout that no part of the model has would be left out of training in silence. */
  private refuseDropout(honoured: readonly string[]): void {
    for (const key of Object.keys(this.source)) {
      if (/(^|_)(dropout|pdrop|drop_path|drop_rate)/.test(key) && !honoured.includes(key)) this.supported(key, 0, [0]);
    }
  }

  /** What every configuration has; `dropouts` are the keys of those that the model computes. */
  common(
    { modelType, architecture, model }: ModelDefinition,
    defaults: { vocabSize: number; hiddenSize: number; numHiddenLayers: number },
    dropouts: readonly string[] = [],
  ): Configuration {
    this.refuseDropout(dropouts);
    const vocabSize = this.size('vocab_size', defaults.vocabSize, MAX_VOCABULARY);
    return {
      modelType,
      architecture: architecture ?? model.name,
      vocabSize,
      hiddenSize: this.size('hidden_size', defaults.hiddenSize),
      numHiddenLayers: this.size('num_hidden_layers', defaults.numHiddenLayers, MAX_LAYERS),
      initializerRange: this.number('initializer_range', 0.02),
      tieWordEmbeddings: this.flag('tie_word_embeddings', false),
      eosTokenId: this.tokens('eos_token_id', vocabSize),
      source: this.source,
      fractions: this.fractions,
    };
  }

  /** Requires a size that others give already. */
  equals(key: string, value: number, expected: number): void {
    if (value === expected) return;
    throw argumentError('INVALID_ARGUMENT', this.where, key, String(expected), String(value));
  }

  /** Requires a list of as many entries as there are layers. */
  perLayer<T>(key: string, list: readonly T[], layers: number): readonly T[] {
    if (list.length === layers) return list;
    throw argumentError('INVALID_ARGUMENT', this.where, key, `a list of ${layers} layers`, `one of ${list.length}`);
  }

  /** Requires that one size is a multiple of another. */
  divides(value: number, key: string, by: number): number {
    if (value % by !== 0 || value < by) {
      throw argumentError('INVALID_ARGUMENT', this.where, key, `a divisor of ${value}`, String(by));
    }
    return value / by;
  }

  /** Heads of keys and values, a divisor of those of queries: as many where the key is null, `fallback` where it is missing. */
  keyValueHeads(numHeads: number, fallback = numHeads): number {
    const key = 'num_key_value_heads';
    const heads = this.source[key] === null ? numHeads : this.size(key, fallback);
    this.divides(numHeads, key, heads);
    return heads;
  }

  /** A width that a factor gives: hidden size times expansion. */
  scaled(key: string, value: number): number {
    return checkInteger(this.where, key, Math.floor(value + 1e-9), 1, MAX_WIDTH);
  }
}
