// What the folder of an experiment keeps from run to run, and whether it belongs to the run at hand.
import { readFile, sha256 } from '../platform';
import { FastWeightsError } from '../core';
import { isJsonObject, type Json, readOptionalJson } from '../io';
import type { TrialResult } from './experiment';

/** The SHA-256 of a file, which tells it from others of its name. */
export async function fingerprint(path: string): Promise<string> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FastWeightsError('IO', `cannot read ${path}: ${(cause as Error).message}`, { argument: 'data', cause });
  });
  const hash = sha256();
  hash.update(bytes);
  return hash.hex();
}

/** The results that a folder holds, of this experiment and kind. */
export async function readResults(file: string, name: string, quick: boolean): Promise<TrialResult[]> {
  const record = await readOptionalJson(file);
  if (record === undefined) return [];
  if (!isJsonObject(record) || record.experiment !== name || record.quick !== quick || !Array.isArray(record.results)) {
    const kind = quick ? 'quick ' : '';
    throw new FastWeightsError('FORMAT', `${file} is not of a ${kind}run of ${name}; name another folder`);
  }
  record.results.forEach((result: Json, i) => {
    if (isResult(result)) return;
    const message = `${file} is damaged: results[${i}] is not { trial, seed, seconds, found }`;
    throw new FastWeightsError('FORMAT', `${message}; delete it or name another folder`, { argument: file });
  });
  return record.results as unknown as TrialResult[];
}

function isResult(result: Json): boolean {
  if (!isJsonObject(result)) return false;
  const { trial, seed, seconds, found, source } = result;
  const named = typeof trial === 'string' && Number.isSafeInteger(seed) && (seed as number) > 0;
  const timed = typeof seconds === 'number' && seconds >= 0;
  return named && timed && found !== undefined && ['string', 'undefined'].includes(typeof source);
}
