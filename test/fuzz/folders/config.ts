// Mutations of config.json and generation_config.json.
import { lstatSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as fw from '../../../lib';
import { inEitherSpelling, keysOf } from '../../../lib/models/common/configuration';
import { findModel, type ModelDefinition } from '../../../lib/models/common/registry';
import type { Random } from '../random';
import { DEEP, type Folder, type JsonRecord, type Value } from './folder';

/** Changes a folder and says how; undefined where it has nothing of the kind. */
export type Mutation = (folder: Folder, random: Random) => string | undefined;

/** A value that stands somewhere in a configuration. */
interface Place {
  within: JsonRecord | Value[];
  key: string;
  path: string;
}

function placesIn(value: JsonRecord | Value[], prefix = ''): Place[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = prefix ? `${prefix}.${key}` : key;
    const own: Place = { within: value, key, path: at };
    return inner !== null && typeof inner === 'object' ? [own, ...placesIn(inner as JsonRecord, at)] : [own];
  });
}

const get = ({ within, key }: Place): Value => (within as JsonRecord)[key];
const put = ({ within, key }: Place, value: Value): void => void ((within as JsonRecord)[key] = value);

function show(value: Value): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

const VALUES: readonly Value[] = [
  null, true, false, 0, -0, 1, 2, 3, 5, 7, 8, 64, -1, -7, 0.5, 1.5, 1e-30, 1e3, 65536, 2 ** 20, 2 ** 24, 1e9,
  2 ** 31, 2 ** 32 + 1, 2 ** 53, 1e300, -1e9, NaN, Infinity, -Infinity, '', 'x', '3', 'auto', 'silu', 'swish', 'relu',
  'default', 'chunk', 'full_attention', 'linear_attention', 'yarn', 'dynamic', [], {}, [[]], [null], [1, 2], [0, 1e9],
  ['x'], { x: 1 }, { __proto__x: 1 }, { type: 'linear', factor: 2 }, { type: 'dynamic', factor: 2 },
  { layers: [0], num_heads: 2 }, DEEP,
  'x'.repeat(100_000), Array.from({ length: 20_000 }, (_, i) => i),
]; // prettier-ignore

/** A weird value, or one that is nearly right. */
function other(value: Value, random: Random): Value {
  if (typeof value === 'number' && random.chance(0.5)) {
    const near = [value + 1, value - 1, 2 * value, value / 2, -value, 3 * value, value * 1e6, String(value), [value]];
    return random.pick<Value>(near);
  }
  if (typeof value === 'boolean' && random.chance(0.7)) return !value;
  return structuredClone(random.pick(VALUES));
}

const OTHER_KEYS = [
  ...[
    'text_config',
    'quantization_config',
    'rope_scaling',
    'rope_parameters',
    'layer_types',
    '__proto__',
    'constructor',
  ],
  ...['hidden_dropout', 'attn', 'torch_dtype', 'model_type', 'architectures', 'vision_config', 'hiddenSize'],
];

/** Keys of a family as files spell them. */
function fileKeys(family: ModelDefinition): string[] {
  return Object.keys(inEitherSpelling({ ...keysOf(family) })).filter((key) => !/(?!^)[A-Z]/.test(key));
}

/** One letter less, twice, or another; or in the spelling of programs. */
export function misspelt(name: string, random: Random): string {
  if (name.includes('_') && random.chance(0.3)) {
    return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
  const at = random.int(0, Math.max(0, name.length - 1));
  const letter = random.pick([...'aeiou_.0/']);
  return name.slice(0, at) + random.pick(['', name.slice(at, at + 1).repeat(2), letter]) + name.slice(at + 1);
}

const pickPlace = (folder: Folder, random: Random): Place | undefined => {
  const places = placesIn(folder.config);
  return places.length > 0 ? random.pick(places) : undefined;
};

/** Changes the bytes of a file that stands in the folder. */
export function onBytes(file: string, change: (bytes: Uint8Array) => Uint8Array): (dir: string) => void {
  return (dir) => {
    const at = path.join(dir, file);
    // Another mutation may have put something else there.
    if (lstatSync(at, { throwIfNoEntry: false })?.isFile()) writeFileSync(at, change(readFileSync(at)));
  };
}

/** Bytes that are cut, changed, put in or put twice. */
export function garbled(random: Random): { text: string; change: (bytes: Uint8Array) => Uint8Array } {
  const [kind, where, what] = [random.int(0, 3), random.next(), random.int(0, 255)];
  const text = `${['cut at', 'changed at', 'with a byte more at', 'repeated from'][kind]} ${where.toFixed(4)} (${what})`;
  const change = (bytes: Uint8Array): Uint8Array => {
    const at = Math.floor(where * bytes.length);
    if (kind === 0) return bytes.subarray(0, at);
    if (kind === 3) return Buffer.concat([bytes, bytes.subarray(at)]);
    const rest = bytes.subarray(kind === 1 ? at + 1 : at);
    return Buffer.concat([bytes.subarray(0, at), Uint8Array.of(what), rest]);
  };
  return { text, change };
}

export const CONFIG_MUTATIONS: Record<string, { weight: number; apply: Mutation }> = {
  value: {
    weight: 12,
    apply(folder, random) {
      const place = pickPlace(folder, random);
      if (!place) return undefined;
      const value = other(get(place), random);
      put(place, value);
      return `${place.path}: ${show(value)}`;
    },
  },
  missing: {
    weight: 3,
    apply(folder, random) {
      const place = pickPlace(folder, random);
      if (!place) return undefined;
      if (Array.isArray(place.within)) place.within.splice(Number(place.key), 1);
      else delete place.within[place.key];
      return `no ${place.path}`;
    },
  },
  extra: {
    weight: 4,
    apply(folder, random) {
      const family = findModel(folder.config.model_type);
      const own = family && random.chance(0.8);
      const key = random.pick(own ? fileKeys(family.definition) : OTHER_KEYS);
      const value = structuredClone(random.pick(VALUES));
      Object.defineProperty(folder.config, key, { value, enumerable: true, configurable: true, writable: true });
      return `with ${key}: ${show(value)}`;
    },
  },
  spelling: {
    weight: 2,
    apply(folder, random) {
      const key = random.pick(['model_type', ...Object.keys(folder.config)]);
      const name = misspelt(key, random);
      const value = folder.config[key];
      delete folder.config[key];
      folder.config[name] = value;
      return `${key} spelt ${name}`;
    },
  },
  exchanged: {
    weight: 2,
    apply(folder, random) {
      const [a, b] = [pickPlace(folder, random), pickPlace(folder, random)];
      if (!a || !b || a.path.startsWith(b.path) || b.path.startsWith(a.path)) return undefined;
      const value = get(a);
      put(a, get(b));
      put(b, value);
      return `${a.path} exchanged with ${b.path}`;
    },
  },
  list: {
    weight: 2,
    apply(folder, random) {
      const places = placesIn(folder.config).filter((place) => Array.isArray(get(place)));
      if (places.length === 0) return undefined;
      const place = random.pick(places);
      const list = get(place) as Value[];
      put(place, random.pick<Value>([list.slice(1), [...list, ...list], [...list, null], [list], list.toReversed()]));
      return `${place.path}: ${show(get(place))}`;
    },
  },
  family: {
    weight: 1,
    apply(folder, random) {
      const type = random.pick(fw.models.modelFamilies).modelType;
      folder.config.model_type = type;
      return `model_type: ${type}`;
    },
  },
  inner: {
    weight: 1,
    apply(folder, random) {
      const config: JsonRecord = { model_type: 'multimodal', text_config: folder.config };
      if (random.chance(0.3)) config.tie_word_embeddings = structuredClone(random.pick(VALUES));
      folder.config = config;
      return `inside text_config (${show(config.tie_word_embeddings)})`;
    },
  },
  text: {
    weight: 1,
    apply(folder, random) {
      const { text, change } = garbled(random);
      folder.last.push(onBytes('config.json', change));
      return `config.json ${text}`;
    },
  },
  generation: {
    weight: 1,
    apply(folder, random) {
      const key = random.pick(['eos_token_id', 'bos_token_id', 'temperature', 'top_k', 'top_p', 'do_sample', 'x']);
      const value = structuredClone(random.pick(VALUES));
      folder.generation = { ...folder.generation, [key]: value };
      return `generation_config.json: ${key}: ${show(value)}`;
    },
  },
};
