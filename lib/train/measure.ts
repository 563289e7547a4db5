// What a comparison measures of a run beside its loss: how much its model remembers a sequence in, and how many bytes of
// text a token stands for.
import { bytesPerElement } from '../core';
import { IGNORED } from '../data';
import { tensorsOf } from '../inference';
import type { CausalLM } from '../models';
import type { RunData } from './data';

/** Bytes of the state of one sequence after the first one of the evaluation set; caches grow with its length. */
export async function stateBytesOf(model: CausalLM, data: RunData, signal?: AbortSignal): Promise<number> {
  const [batch] = data.evaluation(1);
  using session = model.createSession();
  (await session.read(batch.inputs, { signal })).dispose();
  using snapshot = session.snapshot();
  return tensorsOf(snapshot.state).reduce((sum, t) => sum + t.size * bytesPerElement(t.dtype), 0);
}

/** Sequences of the evaluation set that are looked at. */
const SAMPLED = 64;

/** UTF-8 bytes that a label of the evaluation set stands for, on average; null for a task, whose tokens are no text. */
export function bytesPerToken(data: RunData): number | null {
  if (!('tokenizer' in data)) return null;
  if (data.tokenizer.kind === 'byte') return 1;
  const encoder = new TextEncoder();
  let [tokens, bytes, sequences] = [0, 0, 0];
  for (const { labels } of data.evaluation(1, true)) {
    const ids = labels.filter((label) => label !== IGNORED);
    tokens += ids.length;
    bytes += encoder.encode(data.decode(ids)).length;
    if (++sequences === SAMPLED) break;
  }
  return bytes / tokens;
}
