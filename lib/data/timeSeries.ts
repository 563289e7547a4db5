// Labelled series in the text formats of the UEA archive (Bagnall et al. 2018): .ts, and .arff with relational attributes.
import {
  argumentError,
  checkInteger,
  checkList,
  checkNumber,
  checkObject,
  checkOptions,
  checkString,
  describe,
  FastWeightsError,
} from '../core';
import { MAX_STEP, trainingRandom } from './dataset';
import type { SeriesBatch, SeriesDataset } from './tasks';

/** Series with their classes. */
export interface LabelledSeries {
  /** The names of the classes, in the order of the file's header. */
  classes: string[];
  /** Of each series its channels, of which one may be shorter than another's; NaN where a value is missing. */
  series: Float32Array[][];
  /** The class of each series. */
  labels: Int32Array;
}

/**
 * Reads the text of a .ts or .arff file of the UEA archive, such as EigenWorms: which of the two it is its header says. In a
 * .ts file a line is a series, `v,v,...:v,v,...:class`, channels between colons; in an .arff file it is
 * `'v,v,...\nv,v,...',class`, with \n written out. `?` and NaN are missing values. What is no such text is FORMAT and names
 * the line.
 */
export function parseTimeSeries(text: string): LabelledSeries {
  const where = 'parseTimeSeries';
  checkString(where, 'text', text);
  const refuse = (line: number, expected: string, found: string): never => {
    const message = `${where}: line ${line + 1} must be ${expected}, found ${found}`;
    throw new FastWeightsError('FORMAT', message, { argument: 'text', expected, found });
  };
  const lines = text.split(/\r?\n/);
  const start = lines.findIndex((line) => /^\s*@data\s*$/i.test(line));
  if (start < 0) refuse(lines.length - 1, '@data, or behind it', 'the end');
  const header = lines.slice(0, start);
  const isArff = header.some((line) => /^\s*@relation\b/i.test(line));
  const classes = isArff ? arffClasses(header) : tsClasses(header);
  if (classes.length === 0) refuse(start, 'behind a line of class names', '@data without one');
  const series: Float32Array[][] = [];
  const labels: number[] = [];
  lines.slice(start + 1).forEach((line, i) => {
    if (/^\s*([%#].*)?$/.test(line)) return;
    const at = start + 1 + i;
    const [, body = '', name = ''] =
      (isArff ? /^\s*['"](.*)['"]\s*,\s*(.*?)\s*$/ : /^(.*):\s*(.*?)\s*$/).exec(line) ?? [];
    const label = classes.indexOf(name.replace(/^(['"])(.*)\1$/, '$2'));
    if (body === '') refuse(at, 'a series and its class', describe(line.slice(0, 40)));
    if (label < 0) refuse(at, `of a class ${classes.join(' | ')}`, describe(name));
    const channels = body.split(isArff ? '\\n' : ':');
    if (series.length > 0 && channels.length !== series[0].length) {
      refuse(at, `of ${series[0].length} channels like the first`, String(channels.length));
    }
    series.push(
      channels.map((channel) => Float32Array.from(channel.split(','), (value) => numberOf(value, at, refuse))),
    );
    labels.push(label);
  });
  return { classes, series, labels: Int32Array.from(labels) };
}

function numberOf(
  text: string,
  line: number,
  refuse: (line: number, expected: string, found: string) => never,
): number {
  const word = text.trim();
  if (word === '?' || word.toLowerCase() === 'nan') return NaN;
  const value = Number(word);
  return word === '' || Number.isNaN(value) ? refuse(line, 'of numbers', describe(word)) : value;
}

function tsClasses(header: readonly string[]): string[] {
  const line = header.find((one) => /^\s*@classLabel\s+true\b/i.test(one)) ?? '';
  return line.trim().split(/\s+/).slice(2);
}

/** Of the last attribute with names in braces. */
function arffClasses(header: readonly string[]): string[] {
  const line = header.filter((one) => /^\s*@attribute\b.*\{.*\}/i.test(one)).at(-1) ?? '';
  const names = /\{(.*)\}/.exec(line)?.[1].split(',') ?? [];
  return names.map((name) => name.trim().replace(/^(['"])(.*)\1$/, '$2'));
}

/** Options of `seriesDataset`. */
export interface SeriesDatasetOptions {
  /** Of the split and of the order; 0 by default. */
  seed?: number;
  /** The share of the series that is for evaluation, 0.3 by default. */
  held?: number;
}

/**
 * Labelled series split at random for training and evaluation; a batch has them at times from 0 to 1, the time in front of
 * their channels, which have mean 0 and deviation 1 over the training series. At least one series is on either side.
 */
export function seriesDataset(data: LabelledSeries, options: SeriesDatasetOptions = {}): SeriesDataset {
  const where = 'seriesDataset';
  checkObject(where, 'data', data);
  checkOptions(where, options, { seed: true, held: true });
  const { classes, series, labels } = data;
  for (const [key, list] of Object.entries({ classes, series })) checkList(where, `data.${key}`, list);
  const seed = checkInteger(where, 'seed', options.seed ?? 0);
  const held = checkNumber(where, 'held', options.held ?? 0.3, 0, 1);
  if (series.length < 2) throw argumentError('INVALID_ARGUMENT', where, 'series', 'at least 2', String(series.length));
  // The one step whose numbers no batch draws from.
  const random = trainingRandom(seed, MAX_STEP);
  const order = random.shuffle(series.map((_, i) => i));
  const evaluationSize = Math.min(Math.max(Math.round(held * series.length), 1), series.length - 1);
  const [evaluated, trained] = [order.slice(0, evaluationSize), order.slice(evaluationSize)];
  const channels = series[0].length;
  const lengths = series.map((one) => Math.max(...one.map((channel) => channel.length)));
  const L = Math.max(...lengths, 2);
  const scales = series[0].map((_, c) => scaleOf(trained.map((i) => series[i][c])));

  const make = (chosen: readonly number[]): SeriesBatch => {
    const times = Float64Array.from({ length: L }, (_, i) => i / (L - 1));
    const values = new Float32Array(chosen.length * L * (channels + 1)).fill(NaN);
    chosen.forEach((index, b) => {
      for (let i = 0; i < L; i++) {
        const at = (b * L + i) * (channels + 1);
        values[at] = times[i];
        series[index].forEach((channel, c) => {
          if (i < channel.length) values[at + 1 + c] = (channel[i] - scales[c].mean) / scales[c].deviation;
        });
      }
    });
    const finalIndex = Int32Array.from(chosen, (index) => Math.max(lengths[index] - 1, 0));
    return { times, values, finalIndex, labels: Int32Array.from(chosen, (index) => labels[index]) };
  };

  return {
    classes: classes.length,
    channels: channels + 1,
    evaluationSize,
    batch(step, batchSize) {
      const draw = trainingRandom(seed, checkInteger(where, 'step', step, 0, MAX_STEP - 1));
      const size = checkInteger(where, 'batchSize', batchSize, 1);
      return make(Array.from({ length: size }, () => trained[draw.below(trained.length)]));
    },
    *evaluation(batchSize) {
      checkInteger(where, 'batchSize', batchSize, 1);
      for (let first = 0; first < evaluationSize; first += batchSize)
        yield make(evaluated.slice(first, first + batchSize));
    },
  };
}

/** Mean and deviation of what is there; 1 where nothing varies. */
function scaleOf(channels: readonly Float32Array[]): { mean: number; deviation: number } {
  let [count, sum, squares] = [0, 0, 0];
  for (const channel of channels) {
    for (const value of channel) {
      if (Number.isNaN(value)) continue;
      count++;
      sum += value;
      squares += value * value;
    }
  }
  const mean = count > 0 ? sum / count : 0;
  const variance = count > 0 ? squares / count - mean * mean : 0;
  return { mean, deviation: variance > 0 ? Math.sqrt(variance) : 1 };
}
