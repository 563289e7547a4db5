// The thread that makes ids of long prompts, beside the one of the model.
import { loadTokenizer } from '../../io';
import { breathe, giveWay, thisThread } from '../../platform';
import { toWire, type WireError } from '../errors';
import { loadChatTemplate } from './chatTemplate';
import { type Codec, encodePrompt, type Encoded, type From } from './encoding';
import type { Prompt } from './protocol';

/** What it is started with. */
export interface EncodingSettings {
  folder: string;
  chatTemplate?: string;
  maxPromptTokens: number;
}

/** What it is asked; `skip` takes back what has not begun. */
export type EncodingRequest = { id: number; prompt: Prompt; from: From } | { skip: number };
export type EncodingAnswer = { id: number; encoded: Encoded } | { id: number; error: WireError };

const { data, post, listen } = thisThread();
const { folder, chatTemplate, maxPromptTokens } = data as EncodingSettings;

async function codec(): Promise<Codec> {
  return {
    tokenizer: await loadTokenizer(folder),
    template: await loadChatTemplate(folder, chatTemplate),
    maxPromptTokens,
  };
}

function answer(codec: Codec, id: number, prompt: Prompt, from: From): EncodingAnswer {
  try {
    return { id, encoded: encodePrompt(codec, prompt, from) };
  } catch (error) {
    return { id, error: toWire(error) };
  }
}

giveWay();
const loaded = codec();
const waiting = new Set<number>();
let last: Promise<unknown> = loaded;

async function take(id: number, prompt: Prompt, from: From): Promise<void> {
  // What was taken back meanwhile is heard first.
  await breathe();
  if (waiting.delete(id)) post(answer(await loaded, id, prompt, from));
}

listen((message) => {
  const request = message as EncodingRequest;
  if ('skip' in request) {
    waiting.delete(request.skip);
    return;
  }
  const { id, prompt, from } = request;
  waiting.add(id);
  last = last.then(() => take(id, prompt, from));
});
