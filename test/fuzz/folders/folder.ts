// Model folders in memory, where mutations find every part of them, and on the disk.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../../lib';
import { goldenFolder } from '../../support/golden';

export type Value = unknown;
export type JsonRecord = Record<string, Value>;

/** An entry of a header as it may stand there, right or wrong. */
export interface Entry {
  name: Value;
  info: Value;
}

/** A weight file before it is bytes. */
export interface WeightFile {
  entries: Entry[];
  data: Uint8Array;
}

export interface Folder {
  readonly name: string;
  config: JsonRecord;
  generation: JsonRecord | undefined;
  index: JsonRecord | undefined;
  weights: Map<string, WeightFile>;
  /** What happens to the files when all else is done. */
  last: ((dir: string) => void)[];
}

const CONFIG = 'config.json';
const GENERATION = 'generation_config.json';
export const INDEX = 'model.safetensors.index.json';
const WEIGHTS = /^model.*\.safetensors$/;

/** Stands for text that JSON.stringify does not write: deeper than its stack, NaN and infinities as bare words. */
export const DEEP = '@@deep';
const DEPTH = 100_000;

function jsonText(value: Value): string {
  const text = JSON.stringify(value, (_, v: Value) => (typeof v === 'number' && !Number.isFinite(v) ? `@@${v}` : v));
  return text
    .replaceAll(`"${DEEP}"`, () => '['.repeat(DEPTH) + ']'.repeat(DEPTH))
    .replace(/"@@(-?Infinity|NaN)"/g, '$1');
}

export function fileBytes({ entries, data }: WeightFile): Uint8Array {
  const members = entries.map(({ name, info }) => `${JSON.stringify(name)}:${jsonText(info)}`);
  const json = Buffer.from(`{${members.join(',')}}`);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

function weightFile(bytes: Buffer): WeightFile {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as JsonRecord;
  return {
    entries: Object.entries(header).map(([name, info]) => ({ name, info })),
    data: bytes.subarray(8 + length),
  };
}

/** Reads a folder that is right. */
export function readFolder(name: string, dir: string): Folder {
  const json = (file: string): JsonRecord => JSON.parse(readFileSync(path.join(dir, file), 'utf8')) as JsonRecord;
  const optional = (file: string): JsonRecord | undefined =>
    existsSync(path.join(dir, file)) ? json(file) : undefined;
  const files = readdirSync(dir).filter((file) => WEIGHTS.test(file));
  return {
    name,
    config: json(CONFIG),
    generation: optional(GENERATION),
    index: optional(INDEX),
    weights: new Map(files.map((file) => [file, weightFile(readFileSync(path.join(dir, file)))])),
    last: [],
  };
}

export function writeFolder(folder: Folder, dir: string): void {
  const { config, generation, index, weights, last } = folder;
  writeFileSync(path.join(dir, CONFIG), jsonText(config));
  if (generation) writeFileSync(path.join(dir, GENERATION), jsonText(generation));
  if (index) writeFileSync(path.join(dir, INDEX), jsonText(index));
  for (const [file, weight] of weights) writeFileSync(path.join(dir, file), fileBytes(weight));
  for (const change of last) change(dir);
}

/** A fresh copy; the bytes of tensors are shared, and copied by what changes them. */
export function copyOf({ name, config, generation, index, weights }: Folder): Folder {
  return {
    name,
    ...structuredClone({ config, generation, index }),
    weights: new Map(
      [...weights].map(([file, { entries, data }]) => [file, { entries: structuredClone(entries), data }]),
    ),
    last: [],
  };
}

/** Calls `use` with a folder of the disk that is there until it returns. */
export async function inTemporary<T>(use: (dir: string) => T | Promise<T>): Promise<T> {
  const dir = mkdtempSync(path.join(tmpdir(), 'fast-weights-fuzz-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The published models beside the repository where they are; else tiny ones of each family that the library saves. */
export function folderNames(): string[] {
  const models = path.join(goldenFolder ?? '', 'models');
  if (goldenFolder && existsSync(models)) return readdirSync(models).sort();
  return fw.models.modelFamilies.map(({ name }) => name);
}

const known = new Map<string, Folder>();

/** One of them by its name. */
export async function folderOf(name: string): Promise<Folder> {
  const found = known.get(name);
  if (found) return copyOf(found);
  const published = path.join(goldenFolder ?? '', 'models', name);
  const folder =
    goldenFolder && existsSync(published) ? readFolder(name, published) : await inTemporary((dir) => saved(name, dir));
  known.set(name, folder);
  return copyOf(folder);
}

async function saved(name: string, dir: string): Promise<Folder> {
  fw.manualSeed(1);
  const sizes = { vocabSize: 24, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'cpu' } as const;
  const model = fw.createModel(name as fw.ModelName, sizes);
  // Half of them in shards.
  await model.savePretrained(dir, { maxShardBytes: name.length % 2 === 0 ? 5e9 : 4000 });
  model.dispose();
  return readFolder(name, dir);
}
