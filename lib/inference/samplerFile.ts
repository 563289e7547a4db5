// A sampler's state in the file of a snapshot: numbers among the metadata, and the ids as a tensor.
import { argumentError } from '../core';
import { isJsonObject, type Json, parseJson, type SafetensorsFile } from '../io';
import type { SamplerState } from './samplerState';

/** The name of the ids, and of the numbers. */
export const SAMPLER = 'sampler';

/** What a sampler goes by beside its ids. */
export function drawsOf({ seed, stream, position, prompt }: SamplerState): Omit<SamplerState, 'ids'> {
  return { seed, stream, position, prompt };
}

/** What the next draw depends on, where the last token is one of a generation. */
export async function loadSampler(
  path: string,
  file: SafetensorsFile,
  text: string,
  { batch, length }: { batch: number; length: number },
  vocabulary: number,
): Promise<SamplerState | null> {
  const entry = file.entries.get(SAMPLER);
  const refuse = (expected: string, found: string): never => {
    throw argumentError('FORMAT', path, SAMPLER, expected, found);
  };
  if (text === '') return entry ? refuse('no ids without its numbers', `${entry.size}`) : null;
  if (entry?.dtype !== 'I32' || entry.shape.length !== 1 || entry.size > length || batch !== 1) {
    return refuse(`at most ${length} int32 ids of one sequence`, entry ? `${entry.size} of ${entry.dtype}` : 'none');
  }
  const json: Json = parseJson(text, `${path}: ${SAMPLER}`);
  const most = {
    seed: Number.MAX_SAFE_INTEGER,
    stream: Number.MAX_SAFE_INTEGER,
    position: entry.size,
    prompt: entry.size,
  };
  const names = Object.keys(most).sort().join(' ');
  if (!isJsonObject(json) || Object.keys(json).sort().join(' ') !== names) return refuse(`the numbers ${names}`, text);
  for (const [name, max] of Object.entries(most)) {
    const value = json[name];
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > max) {
      refuse(`${name} from 0 to ${max}`, JSON.stringify(value));
    }
  }
  const { seed, stream, position, prompt } = json as unknown as Omit<SamplerState, 'ids'>;
  const ids = (await entry.read()) as Int32Array;
  if (position > ids.length - prompt) refuse(`at most ${ids.length - prompt} random numbers`, `${position}`);
  const outside = ids.find((id) => id < 0 || id >= vocabulary);
  if (outside !== undefined) refuse(`ids below ${vocabulary}`, `${outside}`);
  return { seed, stream, position, prompt, ids };
}
