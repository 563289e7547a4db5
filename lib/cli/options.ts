// Parsers of option values, options that several commands share, and what they set up.
import { existsSync, statSync } from '../platform';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  defaultDevice,
  expectedDevice,
  getBackend,
  parseDevice,
  setDefaultDevice,
  setNumThreads,
  WEIGHT_FORMATS,
  type WeightFormat,
} from '../backends';
import { type Device, FastWeightsError, scope } from '../core';
import { TEXT_ENCODINGS, type TextEncoding } from '../data';
import { full, matmul, withPrecision } from '../ops';
import { resolveCheckpoint } from '../train';
import { UsageError } from './flags';

/** A parser of whole numbers in [min, max]. */
export function wholeNumber(min = 0, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** A parser of numbers in [min, max], or above min with `open`. */
export function decimal(min = 0, max = Infinity, open = false): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    if (Number.isFinite(value) && value <= max && (open ? value > min : value >= min)) return value;
    if (min === -Infinity) throw new InvalidArgumentError('It must be a finite number.');
    const upper = max === Infinity ? '' : open ? ` and at most ${max}` : ` to ${max}`;
    throw new InvalidArgumentError(`It must be a number ${open ? 'above' : 'from'} ${min}${upper}.`);
  };
}

/** A parser of `name=number` pairs: `pairs=16,replaced=8`. */
export function assignments(text: string): Record<string, number> {
  const pairs = text.split(',').map((part) => /^([A-Za-z]\w*)=(\d+)$/.exec(part.trim()));
  if (pairs.some((pair) => !pair)) throw new InvalidArgumentError('It must look like pairs=16,replaced=8.');
  const names = pairs.map((pair) => pair![1]);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new InvalidArgumentError(`It gives ${twice} twice.`);
  return Object.fromEntries(pairs.map((pair) => [pair![1], Number(pair![2])]));
}

/** A parser of `id=number` pairs: `50256=-Infinity,11=1.5`. */
export function biases(text: string): Record<number, number> {
  const pairs = text.split(',').map((part) => part.trim().split('='));
  for (const [id, added, ...rest] of pairs) {
    const value = added === undefined || added.trim() === '' ? NaN : Number(added);
    if (/^\d+$/.test(id) && rest.length === 0 && (Number.isFinite(value) || value === -Infinity)) continue;
    throw new InvalidArgumentError('It must look like 11=1.5,198=-Infinity.');
  }
  const ids = pairs.map(([id]) => Number(id));
  const twice = ids.find((id, i) => ids.indexOf(id) < i);
  if (twice !== undefined) throw new InvalidArgumentError(`It gives ${twice} twice.`);
  return Object.fromEntries(pairs.map(([id, added]) => [Number(id), Number(added)]));
}

/** A parser of texts that are not empty. */
export function someText(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It is empty.');
}

/** A parser of paths: an empty one, as an unset variable of a shell leaves it, would be the working folder. */
export function somePath(text: string): string {
  if (text.trim() !== '') return text;
  throw new InvalidArgumentError('It is empty: it must be a path.');
}

/** What `--checkpoint` takes. */
export const CHECKPOINT = 'a run folder (its newest checkpoint), a checkpoint, or a pretrained model';

/** The model that a command reads. */
export function addCheckpointOption(command: Command): Command {
  return command.requiredOption('--checkpoint <dir>', CHECKPOINT, somePath);
}

/** The folder of the model that --checkpoint, or another flag, names. */
export function checkpointFolder(path: string, flag = '--checkpoint'): Promise<string> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return resolveCheckpoint(path);
  throw new FastWeightsError('IO', `${flag} must be ${CHECKPOINT}; there is no folder ${path}`);
}

export interface DeviceOptions {
  device?: Device;
  threads?: number;
}

export function addDeviceOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--device <name>',
        'where to compute: cuda, cuda:1 for the second card, cpu or js (default: the fastest there is)',
      ).argParser(deviceName),
    )
    .addOption(
      new Option('--threads <n>', 'threads of the cpu device (default: all cores)').argParser(wholeNumber(1, 1024)),
    );
}

/** A parser of names of devices. */
function deviceName(text: string): Device {
  if (parseDevice(text)) return text as Device;
  throw new InvalidArgumentError(`It must be ${expectedDevice()}.`);
}

export interface WeightsOptions {
  weights?: WeightFormat;
}

/** For commands that only read a model. */
export function addWeightsOption(command: Command): Command {
  const what = 'keep the weights of projections in fewer bits, for speed and memory (default: as floats of 32)';
  return command.addOption(new Option('--weights <format>', what).choices([...WEIGHT_FORMATS]));
}

/** Applies --device and --threads; returns the device, `usual` where none is given. */
export function chooseDevice({ device, threads }: DeviceOptions, usual?: Device): Device {
  const wanted = device ?? usual;
  if (wanted) setDefaultDevice(wanted);
  const chosen = defaultDevice();
  if (threads === undefined) return chosen;
  if (chosen !== 'cpu') throw new UsageError(`--threads cannot be given on ${chosen}, only on the cpu device`);
  setNumThreads(threads);
  return chosen;
}

/** `cpu (AMD EPYC ... (avx512))` */
export function describeDevice(device: Device): string {
  return `${device} (${getBackend(device).name})`;
}

/** Whether the device rounds products of matrices in 'medium': 1 + 1 / 4096 is 1 in bfloat16. */
export function roundsProducts(device: Device): boolean {
  const n = 64;
  return scope(() => {
    const shape = [n, n];
    const [a, b] = [full(shape, 1 + 1 / 4096, { device }), full(shape, 1, { device })];
    const product = withPrecision('medium', () => matmul(a, b));
    return product.dataSync()[0] < n * (1 + 1 / 8192);
  });
}

/** `UTF-8`, `utf16le`, `cp1252`: the spellings that people use. */
function textEncoding(text: string): TextEncoding {
  const name = text.toLowerCase().replace(/[-_ ]/g, '');
  const found = TEXT_ENCODINGS.find((each) => each === (ALIASES[name] ?? name));
  if (found) return found;
  throw new InvalidArgumentError(`It must be one of ${TEXT_ENCODINGS.join(', ')}.`);
}

const ALIASES: Readonly<Record<string, TextEncoding>> = { iso88591: 'latin1', cp1252: 'windows1252' };

export function addEncodingOption(command: Command): Command {
  const what = `of the text: ${TEXT_ENCODINGS.join(', ')} (default: UTF-8, or UTF-16 if a byte order mark says so)`;
  return command.addOption(new Option('--encoding <name>', what).argParser(textEncoding));
}

/** The first of base, base-2, base-3, ... that does not exist yet. */
export function freeFolder(base: string): string {
  for (let n = 1; ; n++) {
    const dir = n === 1 ? base : `${base}-${n}`;
    if (!existsSync(dir)) return dir;
  }
}
