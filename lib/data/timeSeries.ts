// Labelled series in the text formats of the UEA archive (Bagnall et al. 2018): .ts, and .arff with relational attributes.
import { argumentError, describe, FastWeightsError } from '../core';

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
  if (typeof text !== 'string') throw argumentError('INVALID_ARGUMENT', where, 'text', 'a string', describe(text));
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
